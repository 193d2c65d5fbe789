import { type FileHandle, open } from "node:fs/promises";
import { resolve } from "node:path";
import { HeadwaterError } from "../../core/errors.ts";
import { fileError, systemCode } from "../../core/file-error.ts";
import type { GrowingFile, Input, InputFormat } from "../../ports/files.ts";
import { type Chunks, type Count, handleChunks } from "./chunks.ts";
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
    return new OpenFile(path, info, kindOf(path, format), handle);
  } catch (error) {
    await handle?.close();
    throw fileError("BadInput", "cannot open the input", path, error);
  }
}

class OpenFile implements GrowingFile {
  name: string;
  readonly identity: string;
  private readonly kind: FileKind;
  /** Absent while it rests. */
  private handle: FileHandle | undefined;
  private readonly places = new Map<number, KnownPlace>();
  /** Bytes from the beginning that were read, and the last of them. */
  private reached = 0;
  private tail: Uint8Array = new Uint8Array(0);
  private size = 0;
  private writtenMs = 0;

  constructor(name: string, place: { dev: number; ino: number }, kind: FileKind, handle: FileHandle) {
    this.name = name;
    this.identity = identityOf(place);
    this.kind = kind;
    this.handle = handle;
  }

  get format(): InputFormat {
    return this.kind.format;
  }

  async look(): Promise<"empty" | "same" | "grown" | "replaced"> {
    try {
      const handle = await this.opened();
      if (handle === undefined) return "same";
      const { size, mtimeMs } = await handle.stat();
      const touched = size !== this.size || mtimeMs !== this.writtenMs;
      this.size = size;
      this.writtenMs = mtimeMs;
      if (touched && this.reached > 0 && !(await this.holdsWhatWasRead(handle, size))) {
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
    const { size } = await (await this.mustBeOpen()).stat();
    return new FileInput({
      ...this.kind,
      name: this.name,
      bytes: size,
      places: this.places,
      stored: (count, start) => this.stored(count, start ?? 0),
    });
  }

  moved(path: string): void {
    this.name = path;
  }

  async rest(): Promise<void> {
    const { handle } = this;
    this.handle = undefined;
    await handle?.close();
  }

  close(): Promise<void> {
    return this.rest();
  }

  /** `undefined` if there is another file under its name, or none. */
  private async opened(): Promise<FileHandle | undefined> {
    if (this.handle !== undefined) return this.handle;
    const handle = await open(resolve(this.name), "r").catch((error: unknown) => {
      if (systemCode(error) === "ENOENT") return undefined;
      throw error;
    });
    if (handle !== undefined && identityOf(await handle.stat()) !== this.identity) await handle.close();
    else this.handle = handle;
    return this.handle;
  }

  private async mustBeOpen(): Promise<FileHandle> {
    try {
      const handle = await this.opened();
      if (handle !== undefined) return handle;
    } catch (error) {
      throw fileError("InputFailed", "cannot read on", this.name, error);
    }
    throw new HeadwaterError("InputFailed", "the file was replaced by another one while it was read", {
      where: this.name,
      hint: "Run again: what was taken in is kept. With --follow files may be replaced at any time.",
    });
  }

  private async *stored(count: Count, start: number): Chunks {
    let at = start;
    for await (const chunk of handleChunks(await this.mustBeOpen(), this.name, count, start)) {
      at += chunk.length;
      if (at > this.reached) {
        const known = at - chunk.length === this.reached ? Buffer.concat([this.tail, chunk]) : chunk;
        this.tail = Uint8Array.from(known.subarray(-TAIL_BYTES));
        this.reached = at;
      }
      yield chunk;
    }
  }

  private async holdsWhatWasRead(handle: FileHandle, size: number): Promise<boolean> {
    if (size < this.reached) return false;
    const { tail } = this;
    const found = new Uint8Array(tail.length);
    await handle.read(found, 0, tail.length, this.reached - tail.length);
    return Buffer.compare(found, tail) === 0;
  }
}
