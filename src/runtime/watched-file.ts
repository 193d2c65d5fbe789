import { HeadwaterError, isHeadwaterError } from "../core/errors.ts";
import type { InputProgress } from "../core/events.ts";
import { LIMITS } from "../core/limits.ts";
import type { Clock } from "../ports/clock.ts";
import type { Beginning, FoundFile, GrowingFile, Input, InputFormat } from "../ports/files.ts";
import { isRefusedAlready } from "./intake.ts";
import type { IntakeRecord } from "./intake-record.ts";
import { copyOf, locateInput } from "./located-input.ts";

/** What a folder says of one of its files. */
export type Size = Pick<FoundFile, "bytes" | "writtenMs">;

export interface Undecided {
  /** How long it was when it was looked into. */
  readonly bytes: number;
  /** Since when, by the monotonic clock, it has been that long. */
  readonly since: number;
  /** When it may be looked into again. */
  readonly again: number;
  /** It has rested, and counts as a copy until it changes. */
  readonly isCopy: boolean;
}

/** Opens the file that there is at a path. */
type OpenFile = (path: string) => Promise<GrowingFile>;

/** A file that is read, perhaps again and again as it grows, whatever becomes of its name. */
export class WatchedFile {
  readonly identity: string;
  readonly format: InputFormat;
  /** Since when, by the monotonic clock, no name that is looked at stands for it; `undefined`: one does. */
  unnamedSince: number | undefined;
  /** What the door had taken of it when it was left. */
  progress: InputProgress | undefined;
  /** Everything that it had was read, and it is not read again. */
  final = false;
  /** So far it is the beginning of what another file has: it is not read until that can be told. */
  undecided: Undecided | undefined;
  /** It was found out that it is no such beginning. */
  decided = false;
  /** When it gave something last, by the monotonic clock. */
  readAt: number;
  readonly #clock: Clock;
  readonly #open: OpenFile;
  #path: string;
  #file: GrowingFile | undefined;
  /** The first of its bytes, once they were asked for. */
  #start: Uint8Array | undefined;
  /** What the folder said of it when it was looked at last: if it says so still, there is nothing new. */
  #seen: Size | undefined;
  #rests = false;
  /** What was read last, until the door has left it: with it go the bytes of which the door may ask a digest. */
  #input: Input | undefined;
  #extent = { bytes: 0, read: 0 };
  #end = 0;
  /** Nothing was read of it since its progress was looked up. */
  #unread = true;
  /** It is a new input, even if it begins as another one does. */
  #fresh = false;

  private constructor(file: GrowingFile, open: OpenFile, clock: Clock) {
    this.#file = file;
    this.#open = open;
    this.#clock = clock;
    this.readAt = clock.monotonic();
    this.#path = file.name;
    this.identity = file.identity;
    this.format = file.format;
  }

  /** Throws `BadInput`. */
  static async open(path: string, open: OpenFile, clock: Clock): Promise<WatchedFile> {
    return new WatchedFile(await open(path), open, clock);
  }

  /** Where it was found last. */
  get path(): string {
    return this.#path;
  }

  moved(path: string): void {
    this.#path = path;
    this.#file?.moved(path);
  }

  /** It is an input of its own, of which nothing was taken: it was truncated, or came in the place of another one. */
  beginAnew(progress: InputProgress): void {
    this.progress = progress;
    this.#end = 0;
    this.#fresh = true;
    this.#unread = true;
    this.#start = undefined;
    this.undecided = undefined;
    this.decided = true;
    this.final = false;
  }

  /** How much of its content was given, or taken before. */
  get taken(): number {
    return this.#end;
  }

  /** How long it is now, as it is stored. */
  async length(): Promise<number> {
    return (await this.#aside()).bytes ?? 0;
  }

  /** The first bytes of its content, see `LIMITS.startBytes`. */
  async start(): Promise<Uint8Array> {
    const known = this.#start?.length ?? 0;
    const needed = this.#end === 0 ? LIMITS.startBytes : Math.min(LIMITS.startBytes, this.#end);
    if (this.#start !== undefined && known >= needed) return this.#start;
    this.#start = await (await this.#aside()).start(LIMITS.startBytes);
    return this.#start;
  }

  /** Its whole records, as far as it has them now; `undefined` if there is none. */
  async beginning(signal?: AbortSignal): Promise<Beginning | undefined> {
    const input = await this.#aside();
    let bytes = 0;
    try {
      for await (const records of input.read({ growing: true, ...(signal && { signal }) })) {
        bytes = records.at(-1)?.end ?? bytes;
      }
    } catch (error) {
      // The rest of it may be on its way.
      if (!isHeadwaterError(error, "InputFailed") && !isHeadwaterError(error, "BadInput")) throw error;
    }
    return bytes === 0 ? undefined : { bytes, digest: input.digestUpTo(bytes) };
  }

  /** Whether its content begins so. */
  async beginsWith(beginning: Beginning): Promise<boolean> {
    const [begins] = await (await this.#aside()).beginsWith([beginning]);
    return begins === true;
  }

  /** Finds out by its content how much of it was taken. */
  async locate(known: readonly InputProgress[], again: boolean): Promise<InputProgress> {
    this.#unread = true;
    this.final = false;
    if (this.progress === undefined || !this.#fresh || this.#end > 0) {
      const located = await locateInput(await this.#content(), known, again, this.identity);
      // What it is known by may have been another file, which was moved from elsewhere, or copied.
      this.progress = { ...located, identity: this.identity };
    }
    this.#end = this.progress.bytes;
    return this.progress;
  }

  /** It has what another input had, of which so much was taken: from here on it is an input of its own. */
  becomeCopyOf(progress: InputProgress): void {
    this.left(copyOf(progress, this.path, this.identity));
  }

  /** Whether it has records that were not taken when it was located, or cannot be read: that is told when it is come to. */
  async hasMore(signal?: AbortSignal): Promise<boolean> {
    const input = await this.#content();
    try {
      for await (const records of input.read({ from: this.#end, ...(signal && { signal }) })) {
        if (records.some((record) => !isRefusedAlready(record, this.progress))) return true;
      }
      return false;
    } catch (error) {
      if (isHeadwaterError(error, "InputFailed") || isHeadwaterError(error, "BadInput")) return true;
      throw error;
    }
  }

  /** So much was taken of it: the door has left it. */
  left(progress: InputProgress): void {
    this.progress = progress;
    this.#end = progress.bytes;
    this.#extent = this.extent();
    this.#input = undefined;
  }

  /**
   * What became of it since it was read; a file that was not read yet has grown. `size`: what its folder says of it; one
   * that rests is looked at if that has changed.
   */
  async look(size: Size | undefined): Promise<"same" | "grown" | "replaced"> {
    const seen = this.#seen;
    const isNew = this.#unread || seen === undefined || (size !== undefined && !sameSize(seen, size));
    if (this.#rests && !isNew) return "same";
    this.#seen = size;
    this.#rests = false;
    const found = await (await this.#opened()).look();
    if (found === "replaced") return "replaced";
    if (found === "empty") return "same";
    return this.#unread ? "grown" : found;
  }

  /** What it has after what was read, in batches. With `growing` a last line without an end is left. */
  async *read(growing: boolean, signal: AbortSignal): AsyncIterable<readonly IntakeRecord[]> {
    this.#unread = false;
    const input = await this.#content();
    for await (const records of input.read({ from: this.#end, growing, signal })) {
      if (records.length === 0) continue;
      this.readAt = this.#clock.monotonic();
      yield records;
      this.#end = records.at(-1)?.end ?? this.#end;
    }
  }

  /** SHA-256 of its content up to the end of a record that was given. */
  digestUpTo(end: number): Uint8Array {
    return this.#input?.digestUpTo(end) ?? new Uint8Array(0);
  }

  extent(): { readonly bytes: number; readonly read: number } {
    const input = this.#input;
    return input === undefined ? this.#extent : { bytes: input.bytes ?? 0, read: input.bytesRead() };
  }

  /**
   * Lets the file itself go until its folder says that it has changed; whether it does. What is in the middle of a line
   * does not rest, because that line is its last one if it is deleted.
   */
  async rest(): Promise<boolean> {
    if (this.#file === undefined) return true;
    if (this.unnamedSince !== undefined) return false;
    const { bytes } = this.extent();
    const whole = this.#unread || this.#end === bytes || /\.gz$/i.test(this.#path) || this.format === "json";
    if (!whole || (!this.#unread && this.#seen === undefined)) return false;
    this.#rests = true;
    await this.#file.rest();
    return true;
  }

  /** Lets the file itself go; it is opened again by its name when it is asked for. */
  async close(): Promise<void> {
    const file = this.#file;
    this.#file = undefined;
    await file?.close();
  }

  async #content(): Promise<Input> {
    this.#input = await (await this.#opened()).input();
    return this.#input;
  }

  /** Its content, of which something is looked at while what was read of it may still be asked for. */
  async #aside(): Promise<Input> {
    return (await this.#opened()).input();
  }

  async #opened(): Promise<GrowingFile> {
    if (this.#file !== undefined) return this.#file;
    const file = await this.#open(this.path);
    if (file.identity !== this.identity) {
      await file.close();
      throw new HeadwaterError("InputFailed", "the file was replaced by another one while it was read", {
        where: this.path,
        hint: "Run again: what was taken in is kept. With --follow files may be replaced at any time.",
      });
    }
    this.#file = file;
    return file;
  }
}

/** Whether a folder says the same of a file as before. */
export function sameSize(a: Size, b: Size): boolean {
  return a.bytes === b.bytes && a.writtenMs === b.writtenMs;
}
