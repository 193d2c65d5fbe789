import { createHash } from "node:crypto";
import { HeadwaterError } from "../core/errors.ts";
import { LIMITS } from "../core/limits.ts";
import type { Files, OutputFile } from "../ports/files.ts";

/** A record on its way out, with the identity that it has in every run. */
export interface OutputRecord {
  readonly value: unknown;
  /** The same for the same record in any run: root's address, and the path if there is one. */
  readonly key: string;
  /** Logical time; see `ordinalToTime`. */
  readonly ordinal: number;
}

/** What was delivered since the delivery before: it begins at byte `from`. */
export interface DeliveredPart {
  readonly from: number;
  readonly digest: Uint8Array;
}

/** Where a sink delivers to. */
export interface SinkTarget {
  /** Names the target in events: `file:<path>`, `stdout:`, `callback:`, `count:`. */
  readonly id: string;
  /** Whether it wants the records, or only their number. */
  readonly wantsRecords: boolean;
  /** Whether what was delivered before has to be delivered again when the target is new: a file is filled. */
  readonly fills: boolean;
  /** Whether there is something already where it delivers to. */
  hasContent(): Promise<boolean>;
  /** Throws `ForeignOutput` unless its content begins with `bytes` bytes, the last part of which had `digest`. */
  mustHold(bytes: number, last: DeliveredPart | undefined): Promise<void>;
  /**
   * Begins or goes on after `bytes` bytes, the last part of which had `digest`. Throws as {@link mustHold}. Asks
   * `confirm`, which throws if another owner has taken over, before it cuts anything off.
   */
  open(bytes: number, last: DeliveredPart | undefined, confirm: () => Promise<void>): Promise<void>;
  write(records: readonly OutputRecord[]): Promise<void>;
  /** Makes durable what was written; answers the length after it and the digest since the last flush. */
  flush(): Promise<{ readonly bytes: number; readonly digest?: Uint8Array }>;
  close(): Promise<void>;
}

/** Throws `ForeignOutput` for a target with content, of which nothing here knows. */
export async function mustNotBeForeign(target: SinkTarget): Promise<void> {
  if (!(await target.hasContent())) return;
  throw new HeadwaterError(
    "ForeignOutput",
    "the output has content that this pipeline's log knows nothing of",
    {
      where: target.id.slice(target.id.indexOf(":") + 1),
      hint: "Name another file, or move this one away.",
    },
  );
}

/** JSON as sinks write it: BigInt as a number literal, bytes as base64, what JSON has no literal for as text. */
export function toJson(value: unknown): string {
  return JSON.stringify(value, replacer) ?? "null";
}

function replacer(this: unknown, _key: string, value: unknown): unknown {
  switch (typeof value) {
    case "bigint":
      return rawNumber(value);
    case "number":
      return Number.isFinite(value) ? value : String(value);
    case "object":
      return value instanceof Uint8Array ? Buffer.from(value).toString("base64") : value;
    default:
      return value;
  }
}

function rawNumber(value: bigint): unknown {
  const number = Number(value);
  return Number.isSafeInteger(number) ? number : String(value);
}

/** JSON lines into a file, at positions. */
export class FileTarget implements SinkTarget {
  readonly id: string;
  readonly wantsRecords = true;
  readonly fills = true;
  readonly #files: Files;
  readonly #path: string;
  #file: OutputFile | undefined;
  #position = 0;
  #buffer: string[] = [];
  #buffered = 0;
  #hash = createHash("sha256");

  /** `path` is absolute. */
  constructor(files: Files, path: string) {
    this.#files = files;
    this.#path = path;
    this.id = `file:${path}`;
  }

  hasContent(): Promise<boolean> {
    return this.#files.hasContent(this.#path);
  }

  async mustHold(bytes: number, last: DeliveredPart | undefined): Promise<void> {
    const file = await this.#files.openOutput(this.#path);
    try {
      await this.#mustBeOurs(file, bytes, last);
    } finally {
      await file.close();
    }
  }

  async open(bytes: number, last: DeliveredPart | undefined, confirm: () => Promise<void>): Promise<void> {
    const file = await this.#files.openOutput(this.#path);
    this.#file = file;
    // What an earlier owner wrote and did not deliver is written again.
    this.#buffer = [];
    this.#buffered = 0;
    this.#hash = createHash("sha256");
    await this.#mustBeOurs(file, bytes, last);
    if ((await file.length()) > bytes) {
      // Who was asleep may find more bytes than it knows of: those of its successor.
      await confirm();
      await file.truncate(bytes);
    }
    this.#position = bytes;
  }

  async #mustBeOurs(file: OutputFile, bytes: number, last: DeliveredPart | undefined): Promise<void> {
    const length = await file.length();
    if (length < bytes) {
      throw new HeadwaterError(
        "ForeignOutput",
        `the output file has ${length} bytes, ${bytes} were written`,
        {
          where: this.#path,
          hint: "It was cut or replaced. Move it away: it is then written anew from the log.",
        },
      );
    }
    if (last === undefined) return;
    const hash = createHash("sha256");
    for (let at = last.from; at < bytes; ) {
      const part = await file.read(at, Math.min(LIMITS.flushBytes, bytes - at));
      if (part.length === 0) break;
      hash.update(part);
      at += part.length;
    }
    if (hash.digest().equals(last.digest)) return;
    throw new HeadwaterError("ForeignOutput", "the output file does not hold what was written to it", {
      where: this.#path,
      hint: "It was edited or replaced. Move it away: it is then written anew from the log.",
    });
  }

  async write(records: readonly OutputRecord[]): Promise<void> {
    for (const record of records) {
      const line = `${toJson(record.value)}\n`;
      this.#buffer.push(line);
      this.#buffered += line.length;
      if (this.#buffered >= LIMITS.chunkBytes) await this.#drain();
    }
  }

  async flush(): Promise<{ bytes: number; digest: Uint8Array }> {
    await this.#drain();
    await this.#opened().sync();
    const digest = this.#hash.digest();
    this.#hash = createHash("sha256");
    return { bytes: this.#position, digest };
  }

  async close(): Promise<void> {
    await this.#file?.close();
    this.#file = undefined;
  }

  async #drain(): Promise<void> {
    if (this.#buffered === 0) return;
    const bytes = Buffer.from(this.#buffer.join(""), "utf8");
    this.#buffer = [];
    this.#buffered = 0;
    await this.#opened().write(this.#position, bytes);
    this.#hash.update(bytes);
    this.#position += bytes.length;
  }

  #opened(): OutputFile {
    if (this.#file === undefined)
      throw new HeadwaterError("Internal", "a file is written before it was opened");
    return this.#file;
  }
}

/** A target without content of its own: nothing to check, nothing to go on after. */
abstract class StreamTarget implements SinkTarget {
  abstract readonly id: string;
  abstract readonly wantsRecords: boolean;
  readonly fills = false;
  #bytes = 0;

  hasContent(): Promise<boolean> {
    return Promise.resolve(false);
  }

  mustHold(): Promise<void> {
    return Promise.resolve();
  }

  open(bytes: number): Promise<void> {
    this.#bytes = bytes;
    return Promise.resolve();
  }

  abstract write(records: readonly OutputRecord[]): Promise<void>;

  flush(): Promise<{ bytes: number }> {
    return Promise.resolve({ bytes: this.#bytes });
  }

  close(): Promise<void> {
    return Promise.resolve();
  }
}

/** JSON lines to standard output; at least once. */
export class StdoutTarget extends StreamTarget {
  readonly id = "stdout:";
  readonly wantsRecords = true;
  readonly #files: Files;

  constructor(files: Files) {
    super();
    this.#files = files;
  }

  override async write(records: readonly OutputRecord[]): Promise<void> {
    const lines = records.map((record) => `${toJson(record.value)}\n`).join("");
    await this.#files.writeStdout(Buffer.from(lines, "utf8"));
  }
}

/** A function of the program; at least once, in order, one at a time. */
export class CallbackTarget extends StreamTarget {
  readonly id = "callback:";
  readonly wantsRecords = true;
  readonly #callback: (record: OutputRecord) => void | Promise<void>;

  constructor(callback: (record: OutputRecord) => void | Promise<void>) {
    super();
    this.#callback = callback;
  }

  override async write(records: readonly OutputRecord[]): Promise<void> {
    for (const record of records) {
      const done = this.#callback(record);
      if (done instanceof Promise) await done;
    }
  }
}

/** Nobody wants the records; they stay in the log and are counted. */
export class CountTarget extends StreamTarget {
  readonly id = "count:";
  readonly wantsRecords = false;

  override write(): Promise<void> {
    return Promise.resolve();
  }
}
