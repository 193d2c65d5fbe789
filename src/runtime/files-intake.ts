import { type HeadwaterError, isHeadwaterError } from "../core/errors.ts";
import type { InputProgress } from "../core/events.ts";
import { LIMITS } from "../core/limits.ts";
import { sleep } from "../ports/clock.ts";
import { copiedFiles } from "./copied-files.ts";
import { halfCopied } from "./half-copies.ts";
import {
  type Intake,
  type IntakeStep,
  isRefusedAlready,
  type Known,
  type Located,
  NO_BYTES,
} from "./intake.ts";
import { isChanged, mustBegin, newInput } from "./located-input.ts";
import { isBegun, notAmong } from "./other-inputs.ts";
import { FilesBeside } from "./rotated-between.ts";
import { rotatedFiles } from "./rotated-files.ts";
import type { WatchedFile } from "./watched-file.ts";
import { type FilesIntakeOptions, mustNotBeTooMany, WatchedFiles } from "./watched-files.ts";

/**
 * The files of a folder, or one that is followed under its name, whatever becomes of it. Each file is an input of its
 * own; they are taken in the order of their names, and then in which they grow. A file that is no more what its name
 * stands for (rotation) is read to its end, and looked at for a while after that: who writes it may be late to notice.
 */
export class FilesIntake implements Intake {
  readonly #options: FilesIntakeOptions;
  readonly #files: WatchedFiles;
  readonly #beside: FilesBeside;
  #current: WatchedFile | undefined;
  /** What kept a file of a folder from being read to its end; told when the others are read. */
  #failure: HeadwaterError | undefined;
  /** It was found out what was taken of its files; those that the name stands for from now on came while it looked. */
  #began = false;
  /** There was nothing under the name yet. */
  #awaited = false;
  /** How long the files were looked at in this round. */
  #lookedMs = 0;

  private constructor(options: FilesIntakeOptions, folder: boolean) {
    this.#options = options;
    this.#files = new WatchedFiles(options, folder);
    this.#beside = new FilesBeside(options, this.#files);
  }

  /** Throws `BadInput` for what cannot be begun. */
  static async open(options: FilesIntakeOptions): Promise<FilesIntake> {
    const { files, path, format } = options;
    const found = await files.filesIn(path);
    const intake = new FilesIntake(options, found !== undefined);
    if (found !== undefined) {
      mustNotBeTooMany(path, found.length);
      if (found.length === 0) options.onFile({ event: "empty-folder", file: path, follow: options.follow });
    } else if (options.follow && !(await files.isThere(path))) {
      options.onFile({ event: "awaited", file: path });
    } else {
      await mustBegin(await files.openInput(path, format));
      // From now on it is known what the name stood for, however long it takes until it is read.
      await intake.#files.discover(false);
    }
    return intake;
  }

  get #folder(): boolean {
    return this.#files.folder;
  }

  /** Whether it is one file that is followed, under its name. */
  get #follows(): boolean {
    return this.#options.follow && !this.#folder;
  }

  get #watched(): readonly WatchedFile[] {
    return this.#files.all;
  }

  get name(): string {
    return this.#current?.path ?? this.#options.path;
  }

  async locate(known: readonly InputProgress[]): Promise<Located> {
    // First: what is rotated meanwhile is to be found when that is noticed.
    if (this.#follows) await this.#beside.note();
    await this.#files.discover(this.#began);
    await this.#locate(this.#watched, known, this.#options.again);
    this.#began = true;
    this.#awaited = this.#watched.length === 0;
    this.#failure = undefined;
    this.#current = undefined;
    if (this.#folder) {
      const taken = this.#watched.reduce((sum, { progress }) => sum + (progress?.read ?? 0), 0);
      return { inputs: this.#inputs(this.#watched), taken };
    }
    const current = await this.#locateName(known);
    this.#current = current;
    const input = current?.progress;
    return input === undefined ? { taken: 0 } : { input, taken: input.read };
  }

  /** Finds out how much was taken of files. Of a folder's copies it makes inputs of their own. */
  async #locate(
    files: readonly WatchedFile[],
    known: readonly InputProgress[],
    again: boolean,
  ): Promise<void> {
    const isNew = notAmong(known.filter(isBegun));
    const unknown: WatchedFile[] = [];
    for (const watched of files) {
      watched.undecided = undefined;
      const progress = await this.#outlasting(watched, () => watched.locate(known, again));
      if (progress === undefined) continue;
      await this.#files.used(watched);
      if (!watched.decided && !again && progress.bytes === 0 && isNew(progress)) unknown.push(watched);
      // What is followed may become another file.
      if (!this.#folder || again || this.#options.follow) continue;
      if (isChanged(watched.path, progress, known))
        this.#files.tell(watched.identity, { event: "changed", file: watched.path });
    }
    if (!this.#folder) return;
    const taken = this.#taken();
    for (const watched of unknown) {
      await this.#outlasting(watched, () => this.#decide(watched, taken));
    }
    for (const { copy, of } of copiedFiles(this.#watched)) {
      const { progress } = of;
      if (progress !== undefined) copy.becomeCopyOf(progress);
      if (!(await copy.hasMore())) this.#tellCopy(copy, of);
      await this.#files.used(copy);
    }
  }

  /** Whether a file of which nothing is known may be a copy that is still being written: it is not read until it is not. */
  async #decide(watched: WatchedFile, taken: readonly WatchedFile[], signal?: AbortSignal): Promise<void> {
    const { clock, follow } = this.#options;
    const began = clock.monotonic();
    const { undecided } = watched;
    const bytes = await watched.length();
    const since = undecided?.bytes === bytes ? undecided.since : began;
    const restedMs = follow ? began - since : Number.POSITIVE_INFINITY;
    const used = (file: WatchedFile) => this.#files.used(file);
    const found = taken.length === 0 ? "own" : await halfCopied(watched, taken, restedMs, used, signal);
    await this.#files.used(watched);
    watched.decided = found === "own" && (bytes > 0 || !follow);
    watched.undecided = undefined;
    if (watched.decided) return;
    const now = clock.monotonic();
    const isCopy = typeof found !== "string" && restedMs >= LIMITS.copyRestMs;
    watched.undecided = { bytes, since, again: now + (now - began) / LIMITS.followShare, isCopy };
    if (typeof found !== "string" && isCopy) this.#tellCopy(watched, found);
  }

  /** Those of which something was taken: others may be copies of them. */
  #taken(): readonly WatchedFile[] {
    return this.#watched.filter(({ taken }) => taken > 0);
  }

  /** `undefined` if a file of a followed folder could not be looked at: it is found again if it can. */
  async #outlasting<T>(watched: WatchedFile, look: () => Promise<T>): Promise<T | undefined> {
    try {
      return await look();
    } catch (error) {
      if (!this.#folder || !this.#options.follow || !isHeadwaterError(error, "InputFailed")) throw error;
      this.#files.remove(watched);
      await watched.close();
      return undefined;
    }
  }

  #tellCopy({ identity, path }: WatchedFile, of: WatchedFile): void {
    this.#files.tell(identity, { event: "same-content", file: path, as: of.path });
  }

  /** What the name of one file stands for, and ahead of it what it stood for in the last run; answers the first of them. */
  async #locateName(known: readonly InputProgress[]): Promise<WatchedFile | undefined> {
    await this.#findEarlier(known);
    const [first] = this.#watched;
    if (first?.unnamedSince === undefined) await this.#part(first);
    return first;
  }

  /** What the name of one file stands for is a copy, if what it is known by has another name that is there. */
  async #part(watched: WatchedFile | undefined): Promise<void> {
    const progress = watched?.progress;
    if (watched === undefined || progress === undefined || progress.name === watched.path) return;
    if ((await this.#options.files.identify(progress.name)) !== undefined) {
      watched.left({ ...progress, name: watched.path });
    }
  }

  /** What files are known as from now on. What is, or will be put into an empty one, may be a copy, and is not known yet. */
  #inputs(files: readonly WatchedFile[]): readonly InputProgress[] {
    return files.flatMap((watched) =>
      watched.progress === undefined || watched.undecided !== undefined || watched.extent().bytes === 0
        ? []
        : [watched.progress],
    );
  }

  /**
   * The name may stand for another file than in the last run: what it stood for, as far as that was not read, comes
   * ahead of what it stands for now.
   */
  async #findEarlier(known: readonly InputProgress[]): Promise<void> {
    const { path, again } = this.#options;
    const watched = this.#watched.find(({ unnamedSince }) => unnamedSince === undefined);
    const progress = watched?.progress;
    if (watched === undefined || progress === undefined || progress.bytes > 0 || again) return;
    const isOpen = this.#watched.some((other) => other !== watched && (other.progress?.bytes ?? 0) > 0);
    if (!isOpen) await this.#readFirst(watched, known);
    const latest = known.at(-1);
    // The last run had noticed the file, and had taken nothing of it: it may begin as an older one does.
    if (latest?.name === path && latest.bytes === 0 && latest.round > progress.round) {
      watched.beginAnew(latest);
    }
  }

  /** Puts what a file was rotated or copied to ahead of it, from the last one on of which something was taken. */
  async #readFirst(watched: WatchedFile, known: readonly InputProgress[]): Promise<readonly WatchedFile[]> {
    const not = new Set(this.#watched.map(({ identity }) => identity));
    const found = await rotatedFiles(this.#options, watched, known, not);
    this.#files.putFirst(found);
    const [oldest] = found;
    if (oldest !== undefined && (found.length > 1 || oldest.extent().bytes > (oldest.progress?.bytes ?? 0))) {
      this.#options.onFile({ event: "found-rotated", file: oldest.path });
    }
    return found;
  }

  async exhausted(known: readonly InputProgress[], signal: AbortSignal): Promise<number | undefined> {
    if (this.#options.follow) return undefined;
    const { inputs = [], input, taken } = await this.locate(known);
    // A copy has to become known: what it is known by does not stay when the other grows.
    const own = input === undefined ? inputs : [input];
    if (own.filter(({ bytes }) => bytes > 0).some(notAmong(known))) return undefined;
    for (const watched of this.#watched) {
      if (watched.undecided !== undefined) continue;
      const more = await watched.hasMore(signal);
      await watched.close();
      if (more) return undefined;
    }
    return this.#watched.length === 0 ? undefined : taken;
  }

  async *steps(
    _from: InputProgress | undefined,
    known: Known,
    signal: AbortSignal,
  ): AsyncIterable<IntakeStep> {
    const { follow, clock } = this.#options;
    for (;;) {
      this.#lookedMs = 0;
      for (const watched of [...this.#watched]) {
        if (signal.aborted) return;
        yield* this.#visit(watched, known, signal);
      }
      if (signal.aborted) return;
      if (!follow) break;
      yield* this.#letGo(known, signal);
      const before = new Set(this.#watched);
      await this.#looking(() => this.#files.discover(true));
      const found = this.#watched.filter((watched) => !before.has(watched));
      const decided = await this.#looking(() => this.#decideOthers(signal));
      if (found.length + decided.length > 0) yield* this.#begin([...found, ...decided], known);
      else {
        const restMs = Math.min(this.#lookedMs / LIMITS.followShare, LIMITS.followMsMost);
        await sleep(clock, Math.max(LIMITS.followMs, restMs), signal);
      }
    }
    if (this.#failure !== undefined) throw this.#failure;
  }

  taken(): void {}

  digestUpTo(end: number): Uint8Array {
    return this.#current?.digestUpTo(end) ?? NO_BYTES;
  }

  extent() {
    let bytes = 0;
    let read = 0;
    for (const watched of this.#watched) {
      const extent = watched.extent();
      bytes += extent.bytes;
      read += extent.read;
    }
    return { bytes: this.#options.follow ? undefined : bytes, read };
  }

  async close(): Promise<void> {
    for (const watched of this.#watched) await watched.close();
  }

  /** Looks for what is new, and notes how long that takes: not how long what is found is being read, or nobody takes it. */
  async #looking<T>(look: () => Promise<T>): Promise<T> {
    const { clock } = this.#options;
    const began = clock.monotonic();
    try {
      return await look();
    } finally {
      this.#lookedMs += clock.monotonic() - began;
    }
  }

  /** Gives what a file has that was not given yet. */
  async *#visit(watched: WatchedFile, known: Known, signal: AbortSignal): AsyncIterable<IntakeStep> {
    if (watched.final || watched.undecided !== undefined) return;
    const found = await this.#looking(() =>
      this.#outlasting(watched, () => watched.look(this.#files.sizeOf(watched))),
    );
    if (found === undefined || found === "same") return;
    if (found === "replaced") {
      this.#options.onFile({ event: "truncated", file: watched.path });
      if (watched === this.#current) yield* this.#leave(known);
      const { progress } = watched;
      // Who copied it before it was truncated copied lines, too, that were not read yet.
      const taken = [...known.all(), ...(progress === undefined ? [] : [progress])];
      const copied = this.#folder ? [] : await this.#readFirst(watched, taken);
      for (const copy of copied) yield* this.#read(copy, true, known, signal);
      watched.beginAnew(newInput(watched.path, nextRound(known.all()), watched.identity));
    }
    yield* this.#read(watched, this.#options.follow, known, signal);
  }

  /** Files that came while this one looked. */
  async *#begin(found: readonly WatchedFile[], known: Known): AsyncIterable<IntakeStep> {
    if (!this.#folder && this.#awaited) {
      this.#awaited = false;
      await this.#locate(found, known.all(), this.#options.again);
      await this.#locateName(known.all());
      return;
    }
    if (!this.#folder) {
      for (const watched of found) {
        this.#files.putBefore(watched, await this.#beside.rotated(known.all()));
        watched.beginAnew(newInput(watched.path, nextRound(known.all()), watched.identity));
      }
      return;
    }
    // A copy of a file is known by what was taken of that.
    yield* this.#leave(known);
    await this.#locate(found, known.all(), false);
    const inputs = this.#inputs(this.#watched).filter(notAmong(known.all()));
    if (inputs.length > 0) yield { kind: "found", inputs };
  }

  /** Those of which it can be told by now that they are inputs of their own, or copies. */
  async #decideOthers(signal: AbortSignal): Promise<readonly WatchedFile[]> {
    const { clock } = this.#options;
    const decided: WatchedFile[] = [];
    for (const watched of this.#watched) {
      const { undecided } = watched;
      if (undecided === undefined || clock.monotonic() < undecided.again) continue;
      const rests = undecided.bytes === (this.#files.sizeOf(watched)?.bytes ?? undecided.bytes);
      const isYoung = clock.monotonic() - undecided.since < LIMITS.copyRestMs;
      if (rests && (undecided.bytes === 0 || undecided.isCopy || isYoung)) continue;
      await this.#outlasting(watched, () => this.#decide(watched, this.#taken(), signal));
      if (watched.undecided === undefined) decided.push(watched);
    }
    return decided;
  }

  /** What was given becomes durable, and the file that it was of remembers how much that is. */
  async *#leave(known: Known): AsyncIterable<IntakeStep> {
    const current = this.#current;
    if (current === undefined) return;
    yield { kind: "left", final: current.final };
    const taken = known.latest();
    if (taken !== undefined) current.left(taken);
    this.#current = undefined;
  }

  /** What a file has that was not given yet; ahead of it, if that changes, which file it is. */
  async *#read(
    watched: WatchedFile,
    growing: boolean,
    known: Known,
    signal: AbortSignal,
  ): AsyncIterable<IntakeStep> {
    if (watched !== this.#current) yield* this.#leave(known);
    const { progress } = watched;
    try {
      for await (const records of watched.read(growing, signal)) {
        if (watched !== this.#current) {
          if (progress === undefined || records.every((record) => isRefusedAlready(record, progress)))
            continue;
          this.#current = watched;
          // One that was moved goes on with what is known under the name that it had.
          yield { kind: "input", input: progress };
        }
        yield { kind: "records", records };
      }
    } catch (error) {
      this.#outlast(watched, error);
    }
    watched.final = !growing && !signal.aborted;
    if (watched.final) await watched.close();
    else await this.#files.used(watched);
  }

  /** A file of a folder that cannot be read to its end must not keep the others from being read. */
  #outlast(watched: WatchedFile, error: unknown): void {
    if (!this.#folder) throw error;
    if (isHeadwaterError(error, "BadInput")) {
      this.#files.leaveOut(watched.path, watched.identity, error);
      this.#files.remove(watched);
    } else if (isHeadwaterError(error, "InputFailed")) {
      // Of a file that is followed the rest may still be on its way.
      if (!this.#options.follow) this.#failure ??= error;
    } else throw error;
  }

  /** Lets go of files that no name stands for, and that have been quiet for long; their last lines end here. */
  async *#letGo(known: Known, signal: AbortSignal): AsyncIterable<IntakeStep> {
    const { clock } = this.#options;
    const unnamed = this.#watched.filter(({ unnamedSince }) => unnamedSince !== undefined);
    for (const [index, watched] of unnamed.entries()) {
      const quietMs = clock.monotonic() - Math.max(watched.unnamedSince ?? 0, watched.readAt);
      const many = unnamed.length - index > LIMITS.rotatedFiles;
      if (quietMs < LIMITS.rotatedWatchMs && !many) continue;
      if (watched.undecided === undefined) {
        yield* this.#read(watched, false, known, signal);
        if (!watched.final) return;
      }
      this.#files.remove(watched);
      await watched.close();
    }
  }
}

function nextRound(known: readonly InputProgress[]): number {
  return 1 + Math.max(0, ...known.map(({ round }) => round));
}
