import { type FileHandle, open } from "node:fs/promises";
import { resolve } from "node:path";
import type { GrowingFile, Input, InputFormat } from "../../ports/files.ts";
import { type Chunks, type Count, handleChunks } from "./chunks.ts";
import { fileError } from "./faults.ts";
import { FileInput, type FileKind, identityOf, type KnownPlace, kindOf } from "./input.ts";

/** So many of the bytes read last are compared before reading on: a file may be truncated and as long again. */
const TAIL_BYTES = 256;

/** Opens a regular file to follow it. Throws `BadInput`. */
export async function openGrowingFile(path: string, format?: InputFormat): Promise<GrowingFile> {
  let handle: FileHandle | undefined;
  try {
    handle = await open(resolve(path), "r");
    const info = await handle.stat();
    if (!info.isFile()) throw Object.assign(new Error("not a regular file"), { code: "EISDIR" });
    return new OpenFile(path, identityOf(info), kindOf(path, format), handle);
  } catch (error) {
    await handle?.close();
    throw fileError("BadInput", "cannot open the input", path, error);
  }
}

class OpenFile implements GrowingFile {
  readonly name: string;
  readonly identity: string;
  private readonly kind: FileKind;
  private readonly handle: FileHandle;
  private readonly places = new Map<number, KnownPlace>();
  /** Bytes from the beginning that were read, and the last of them. */
  private reached = 0;
  private tail: Uint8Array = new Uint8Array(0);
  private size = 0;
  private writtenMs = 0;

  constructor(name: string, identity: string, kind: FileKind, handle: FileHandle) {
    this.name = name;
    this.identity = identity;
    this.kind = kind;
    this.handle = handle;
  }

  get format(): InputFormat {
    return this.kind.format;
  }

  async look(): Promise<"empty" | "same" | "grown" | "replaced"> {
    try {
      const { size, mtimeMs } = await this.handle.stat();
      const touched = size !== this.size || mtimeMs !== this.writtenMs;
      this.size = size;
      this.writtenMs = mtimeMs;
      if (touched && this.reached > 0 && !(await this.holdsWhatWasRead(size))) {
        this.reached = 0;
        this.tail = new Uint8Array(0);
        this.places.clear();
        return "replaced";
      }
      if (size === 0) return "empty";
      return size > this.reached ? "grown" : "same";
    } catch (error) {
      throw fileError("InputFailed", "cannot look at the input", this.name, error);
    }
  }

  async input(): Promise<Input> {
    const { size } = await this.handle.stat();
    return new FileInput({
      ...this.kind,
      name: this.name,
      bytes: size,
      places: this.places,
      stored: (count, start) => this.stored(count, start ?? 0),
    });
  }

  async close(): Promise<void> {
    await this.handle.close();
  }

  private async *stored(count: Count, start: number): Chunks {
    let at = start;
    for await (const chunk of handleChunks(this.handle, this.name, count, start)) {
      at += chunk.length;
      if (at > this.reached) {
        const known = at - chunk.length === this.reached ? Buffer.concat([this.tail, chunk]) : chunk;
        this.tail = Uint8Array.from(known.subarray(-TAIL_BYTES));
        this.reached = at;
      }
      yield chunk;
    }
  }

  private async holdsWhatWasRead(size: number): Promise<boolean> {
    if (size < this.reached) return false;
    const { tail } = this;
    const found = new Uint8Array(tail.length);
    await this.handle.read(found, 0, tail.length, this.reached - tail.length);
    return Buffer.compare(found, tail) === 0;
  }
}
