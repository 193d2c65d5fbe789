import { HeadwaterError, isHeadwaterError } from "../core/errors.ts";
import type { InputProgress } from "../core/events.ts";
import { LIMITS } from "../core/limits.ts";
import { type Clock, sleep } from "../ports/clock.ts";
import type { Files, InputFormat } from "../ports/files.ts";
import { copiedFiles } from "./copied-files.ts";
import {
  type Intake,
  type IntakeStep,
  isRefusedAlready,
  type Known,
  type Located,
  NO_BYTES,
} from "./intake.ts";
import { isChanged, type LocatedNotice, mustBegin, newInput } from "./located-input.ts";
import { sameProgress } from "./other-inputs.ts";
import { rotatedFiles } from "./rotated-files.ts";
import { WatchedFile } from "./watched-file.ts";

/** Something about a file that a person should hear of. */
export type FileNotice =
  /** The name stands for another file now. The one before is read to its end, and watched for a while. */
  | { readonly event: "rotated"; readonly file: string }
  /** What was read of it is not there any more: it is read from its beginning. */
  | { readonly event: "truncated"; readonly file: string }
  /** The file that the name stood for in the last run has this name now, and is read on first. */
  | { readonly event: "found-rotated"; readonly file: string }
  | LocatedNotice
  /** A folder in which there is nothing to read. */
  | { readonly event: "empty-folder"; readonly file: string; readonly follow: boolean }
  /** A file of a folder that cannot be read. */
  | { readonly event: "left-out"; readonly file: string; readonly reason: string };

export interface FilesIntakeOptions {
  readonly files: Files;
  readonly clock: Clock;
  /** A folder, or a file that is followed. */
  readonly path: string;
  readonly format: InputFormat | undefined;
  /** Take in again what was taken before. */
  readonly again: boolean;
  /** Wait for what is added when the end of all files is reached. */
  readonly follow: boolean;
  onFile(notice: FileNotice): void;
}

/**
 * The files of a folder, or one that is followed under its name, whatever becomes of it. Each file is an input of its
 * own; they are taken in the order of their names, and then in which they grow. A file that is no more what its name
 * stands for (rotation) is read to its end, and looked at for a while after that: who writes it may be late to notice.
 */
export class FilesIntake implements Intake {
  readonly #options: FilesIntakeOptions;
  readonly #folder: boolean;
  /** In the order in which they are read. */
  #watched: WatchedFile[] = [];
  /** Files that cannot be read, by identity. */
  readonly #leftOut = new Set<string>();
  /** Files of which something was told when they were located, by identity. */
  readonly #told = new Set<string>();
  #current: WatchedFile | undefined;
  /** What kept a file of a folder from being read to its end; told when the others are read. */
  #failure: HeadwaterError | undefined;
  /** A file that the name stands for from now on came while this one looked. */
  #began = false;

  private constructor(options: FilesIntakeOptions, folder: boolean) {
    this.#options = options;
    this.#folder = folder;
  }

  /** Throws `BadInput` for what cannot be begun. */
  static async open(options: FilesIntakeOptions): Promise<FilesIntake> {
    const { files, path, format } = options;
    const found = await files.filesIn(path);
    if (found === undefined) await mustBegin(await files.openInput(path, format));
    else mustNotBeTooMany(path, found.length);
    if (found?.length === 0) options.onFile({ event: "empty-folder", file: path, follow: options.follow });
    const intake = new FilesIntake(options, found !== undefined);
    // From now on it is known what the name stood for, however long it takes until it is read.
    if (found === undefined) await intake.#discover();
    return intake;
  }

  get name(): string {
    return this.#current?.path ?? this.#options.path;
  }

  async locate(known: readonly InputProgress[]): Promise<Located> {
    await this.#discover();
    await this.#locate(this.#watched, known, this.#options.again);
    this.#began = true;
    this.#failure = undefined;
    this.#current = undefined;
    if (this.#folder) {
      const taken = this.#watched.reduce((sum, { progress }) => sum + (progress?.read ?? 0), 0);
      return { inputs: this.#inputs(this.#watched), taken };
    }
    await this.#findEarlier(known);
    const [current] = this.#watched;
    this.#current = current;
    if (current?.unnamedSince === undefined) await this.#part(current);
    const input = current?.progress;
    return input === undefined ? { taken: 0 } : { input, taken: input.read };
  }

  /** Finds out how much was taken of files. Of a folder's copies it makes inputs of their own. */
  async #locate(
    files: readonly WatchedFile[],
    known: readonly InputProgress[],
    again: boolean,
  ): Promise<void> {
    for (const watched of files) {
      const progress = await watched.locate(known, again);
      if (!this.#options.follow) await watched.close();
      // What is followed may become another file.
      if (!this.#folder || again || this.#options.follow) continue;
      if (isChanged(watched.path, progress, known))
        this.#tell(watched, { event: "changed", file: watched.path });
    }
    if (!this.#folder) return;
    for (const { copy, of } of copiedFiles(this.#watched)) {
      const { progress } = of;
      if (progress !== undefined) copy.becomeCopyOf(progress);
      if (!(await copy.hasMore())) this.#tell(copy, { event: "same-content", file: copy.path, as: of.path });
      if (!this.#options.follow) await copy.close();
    }
  }

  /** What the name of one file stands for is a copy, if what it is known by has another name that is there. */
  async #part(watched: WatchedFile | undefined): Promise<void> {
    const progress = watched?.progress;
    if (watched === undefined || progress === undefined || progress.name === watched.path) return;
    if ((await this.#options.files.identify(progress.name)) !== undefined) {
      watched.left({ ...progress, name: watched.path });
    }
  }

  /** Says once of a file what is not as it may be expected. */
  #tell(watched: WatchedFile, notice: FileNotice): void {
    if (this.#told.has(watched.identity)) return;
    this.#told.add(watched.identity);
    this.#options.onFile(notice);
  }

  /** What files are known as from now on. What is put into an empty one may be a copy, and is not known yet. */
  #inputs(files: readonly WatchedFile[]): readonly InputProgress[] {
    return files.flatMap((watched) =>
      watched.progress === undefined || watched.extent().bytes === 0 ? [] : [watched.progress],
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
    this.#watched.unshift(...found);
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
    if (own.some((one) => one.bytes > 0 && !known.some((other) => sameProgress(other, one))))
      return undefined;
    for (const watched of this.#watched) {
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
      for (const watched of [...this.#watched]) {
        if (signal.aborted) return;
        yield* this.#visit(watched, known, signal);
      }
      if (signal.aborted) return;
      if (!follow) break;
      yield* this.#letGo(known, signal);
      const before = new Set(this.#watched);
      await this.#discover();
      const found = this.#watched.filter((watched) => !before.has(watched));
      if (found.length === 0) await sleep(clock, LIMITS.followMs, signal);
      else yield* this.#begin(found, known);
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

  /** Gives what a file has that was not given yet. */
  async *#visit(watched: WatchedFile, known: Known, signal: AbortSignal): AsyncIterable<IntakeStep> {
    if (watched.final) return;
    const found = await watched.look();
    if (found === "same") return;
    if (found === "replaced") {
      this.#options.onFile({ event: "truncated", file: watched.path });
      if (watched === this.#current) yield* this.#leave(known);
      const { progress } = watched;
      // Who copied it before it was truncated copied lines, too, that were not read yet.
      const taken = [...known(), ...(progress === undefined ? [] : [progress])];
      const copied = this.#folder ? [] : await this.#readFirst(watched, taken);
      for (const copy of copied) yield* this.#read(copy, true, known, signal);
      watched.beginAnew(newInput(watched.path, nextRound(known()), watched.identity));
    }
    yield* this.#read(watched, this.#options.follow, known, signal);
  }

  /** Files that came while this one looked. */
  async *#begin(found: readonly WatchedFile[], known: Known): AsyncIterable<IntakeStep> {
    if (!this.#folder) {
      for (const watched of found) {
        watched.beginAnew(newInput(watched.path, nextRound(known()), watched.identity));
      }
      return;
    }
    // A copy of a file is known by what was taken of that.
    yield* this.#leave(known);
    await this.#locate(found, known(), false);
    const inputs = this.#inputs(this.#watched).filter(
      (one) => !known().some((other) => sameProgress(other, one)),
    );
    if (inputs.length > 0) yield { kind: "found", inputs };
  }

  /** What was given becomes durable, and the file that it was of remembers how much that is. */
  async *#leave(known: Known): AsyncIterable<IntakeStep> {
    const current = this.#current;
    if (current === undefined) return;
    yield { kind: "left", final: current.final };
    const taken = known().at(-1);
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
  }

  /** A file of a folder that cannot be read to its end must not keep the others from being read. */
  #outlast(watched: WatchedFile, error: unknown): void {
    if (!this.#folder) throw error;
    if (isHeadwaterError(error, "BadInput")) {
      this.#leaveOut(watched.path, watched.identity, error);
      this.#watched = this.#watched.filter((other) => other !== watched);
    } else if (isHeadwaterError(error, "InputFailed")) {
      // Of a file that is followed the rest may still be on its way.
      if (!this.#options.follow) this.#failure ??= error;
    } else throw error;
  }

  #leaveOut(file: string, identity: string, error: HeadwaterError): void {
    this.#leftOut.add(identity);
    this.#options.onFile({ event: "left-out", file, reason: error.message });
  }

  /** Lets go of files that no name stands for, and that have been quiet for long; their last lines end here. */
  async *#letGo(known: Known, signal: AbortSignal): AsyncIterable<IntakeStep> {
    const { clock } = this.#options;
    const unnamed = this.#watched.filter(({ unnamedSince }) => unnamedSince !== undefined);
    for (const [index, watched] of unnamed.entries()) {
      const quietMs = clock.monotonic() - Math.max(watched.unnamedSince ?? 0, watched.readAt);
      const many = unnamed.length - index > LIMITS.rotatedFiles;
      if (quietMs < LIMITS.rotatedWatchMs && !many) continue;
      yield* this.#read(watched, false, known, signal);
      if (!watched.final) return;
      this.#watched = this.#watched.filter((other) => other !== watched);
    }
  }

  /** Notices files that are new, and those that no name stands for any more. */
  async #discover(): Promise<void> {
    const { files, path, format, clock } = this.#options;
    const found = await this.#found();
    // Between a rename and a new file there is none; the old one stands for it until then.
    if (found === undefined) return;
    for (const watched of this.#watched) {
      const now = found.get(watched.identity);
      found.delete(watched.identity);
      if (now !== undefined) watched.path = now;
      watched.unnamedSince = now === undefined ? (watched.unnamedSince ?? clock.monotonic()) : undefined;
    }
    mustNotBeTooMany(path, this.#watched.length + found.size);
    for (const [identity, file] of found) {
      if (this.#leftOut.has(identity)) continue;
      try {
        const open = (at: string) => files.openGrowing(at, format);
        const watched = await WatchedFile.open(file, open, clock);
        this.#watched.push(watched);
        if (this.#folder || this.#watched.length === 1) continue;
        this.#options.onFile({ event: "rotated", file });
      } catch (error) {
        if (!isHeadwaterError(error, "BadInput")) throw error;
        if (this.#folder) this.#leaveOut(file, identity, error);
        else if (!this.#began) throw error;
      }
    }
    if (this.#folder) this.#watched.sort((a, b) => (a.path < b.path ? -1 : a.path > b.path ? 1 : 0));
  }

  /** Identity → path of what there is now. */
  async #found(): Promise<Map<string, string> | undefined> {
    const { files, path } = this.#options;
    if (this.#folder) {
      const listed = (await files.filesIn(path)) ?? [];
      return new Map(listed.map((file) => [file.identity, file.path]));
    }
    const identity = await files.identify(path);
    return identity === undefined ? undefined : new Map([[identity, path]]);
  }
}

function nextRound(known: readonly InputProgress[]): number {
  return 1 + Math.max(0, ...known.map(({ round }) => round));
}

function mustNotBeTooMany(path: string, files: number): void {
  if (files <= LIMITS.filesPerFolder) return;
  throw new HeadwaterError(
    "BadInput",
    `the folder has ${files} files, and at most ${LIMITS.filesPerFolder} can be read`,
    { where: path, hint: "Move those that were taken in to another folder." },
  );
}
