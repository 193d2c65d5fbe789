import { HeadwaterError, isHeadwaterError } from "../core/errors.ts";
import type { InputProgress } from "../core/events.ts";
import type { Clock } from "../ports/clock.ts";
import type { GrowingFile, Input, InputFormat } from "../ports/files.ts";
import { isRefusedAlready } from "./intake.ts";
import type { IntakeRecord } from "./intake-record.ts";
import { copyOf, locateInput } from "./located-input.ts";

/** Opens the file that there is at a path. */
type OpenFile = (path: string) => Promise<GrowingFile>;

/** A file that is read, perhaps again and again as it grows, whatever becomes of its name. */
export class WatchedFile {
  /** Where it was found last. */
  path: string;
  readonly identity: string;
  readonly format: InputFormat;
  /** Since when, by the monotonic clock, no name that is looked at stands for it; `undefined`: one does. */
  unnamedSince: number | undefined;
  /** What the door had taken of it when it was left. */
  progress: InputProgress | undefined;
  /** Everything that it had was read, and it is not read again. */
  final = false;
  /** When it gave something last, by the monotonic clock. */
  readAt: number;
  readonly #clock: Clock;
  readonly #open: OpenFile;
  #file: GrowingFile | undefined;
  #input: Input | undefined;
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
    this.path = file.name;
    this.identity = file.identity;
    this.format = file.format;
  }

  /** Throws `BadInput`. */
  static async open(path: string, open: OpenFile, clock: Clock): Promise<WatchedFile> {
    return new WatchedFile(await open(path), open, clock);
  }

  /** It is an input of its own, of which nothing was taken: it was truncated, or came in the place of another one. */
  beginAnew(progress: InputProgress): void {
    this.progress = progress;
    this.#end = 0;
    this.#fresh = true;
    this.#unread = true;
    this.final = false;
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
  }

  /** What became of it since it was read; a file that was not read yet has grown. */
  async look(): Promise<"same" | "grown" | "replaced"> {
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
    return { bytes: this.#input?.bytes ?? 0, read: this.#input?.bytesRead() ?? 0 };
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
