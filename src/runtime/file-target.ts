import { createHash } from "node:crypto";
import { HeadwaterError } from "../core/errors.ts";
import { LIMITS } from "../core/limits.ts";
import type { Files, OutputFile } from "../ports/files.ts";
import {
  type DeliveredPart,
  type OutputBatch,
  type SinkTarget,
  type TargetPlace,
  toJson,
} from "./sink-target.ts";

/** JSON lines into a file, at positions. */
export class FileTarget implements SinkTarget {
  readonly id: string;
  readonly wantsRecords = true;
  readonly fills = true;
  readonly refills = true;
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

  files(): Promise<string> {
    return this.#files.fileAt(this.#path);
  }

  async writes(path: string): Promise<boolean> {
    return (await this.#files.fileAt(path)) === (await this.files());
  }

  async mustHold({ bytes }: TargetPlace, last: DeliveredPart | undefined): Promise<void> {
    const file = await this.#files.openOutput(this.#path);
    try {
      await this.#mustBeOurs(file, bytes, last);
    } finally {
      await file.close();
    }
  }

  async open(
    { bytes }: TargetPlace,
    last: DeliveredPart | undefined,
    confirm: () => Promise<void>,
  ): Promise<void> {
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

  async write({ records }: OutputBatch): Promise<boolean> {
    for (const { value } of records) await this.writeLine(`${toJson(value)}\n`);
    return true;
  }

  /** Writes text that {@link toJson} has made; it is in the file after {@link flush}. */
  async writeLine(line: string): Promise<void> {
    this.#buffer.push(line);
    this.#buffered += line.length;
    if (this.#buffered >= LIMITS.chunkBytes) await this.#drain();
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
