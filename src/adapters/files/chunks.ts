import { type FileHandle, open } from "node:fs/promises";
import type { Readable } from "node:stream";
import { createGunzip } from "node:zlib";
import { HeadwaterError } from "../../core/errors.ts";
import { fileError } from "../../core/file-error.ts";

const CHUNK_BYTES = 64 * 1024;

/**
 * Compressed bytes given to zlib at once. What one such piece inflated to is lost when the stream breaks inside
 * it, so that it is small; a broken gzip still gives what came before.
 */
const GZIP_PIECE_BYTES = 2 * 1024;

/** Bytes of an input, in chunks that belong to the reader. */
export type Chunks = AsyncIterable<Uint8Array>;

/** Hears how many bytes came. */
export type Count = (bytes: number) => void;

/** The bytes of a file from byte `start` on (absent: of what may not be a regular file), read as they are asked for. */
export async function* fileChunks(path: string, name: string, count: Count, start?: number): Chunks {
  let file: FileHandle | undefined;
  try {
    file = await open(path, "r");
    yield* handleChunks(file, name, count, start);
  } catch (error) {
    if (error instanceof HeadwaterError) throw error;
    throw fileError("InputFailed", "cannot read on", name, error);
  } finally {
    await file?.close();
  }
}

/** As {@link fileChunks}, of a file that is open, and stays so. */
export async function* handleChunks(file: FileHandle, name: string, count: Count, start?: number): Chunks {
  let position = start ?? null;
  try {
    for (;;) {
      // A new buffer each time: records are slices of it.
      const buffer = Buffer.allocUnsafeSlow(CHUNK_BYTES);
      const { bytesRead } = await file.read(buffer, 0, CHUNK_BYTES, position);
      if (bytesRead === 0) return;
      count(bytesRead);
      if (position !== null) position += bytesRead;
      yield buffer.subarray(0, bytesRead);
    }
  } catch (error) {
    if (error instanceof HeadwaterError) throw error;
    throw fileError("InputFailed", "cannot read on", name, error);
  }
}

/** The bytes of a stream such as standard input. */
export async function* streamChunks(stream: Readable, name: string, count: Count): Chunks {
  try {
    for await (const chunk of stream) {
      const bytes = typeof chunk === "string" ? Buffer.from(chunk) : chunk;
      if (!(bytes instanceof Uint8Array)) throw new TypeError("the stream does not hold bytes");
      count(bytes.length);
      yield bytes;
    }
  } catch (error) {
    throw fileError("InputFailed", "cannot read on", name, error);
  }
}

/** What `source` holds compressed: one or more gzip members. Throws after all that could be inflated. */
export async function* gunzip(source: Chunks, name: string): Chunks {
  const inflater = createGunzip({ chunkSize: CHUNK_BYTES });
  let failure: unknown;
  let ended = false;
  let wake = () => {};
  const changed = () => wake();
  inflater.on("readable", changed);
  inflater.on("end", () => {
    ended = true;
    changed();
  });
  inflater.on("error", (error) => {
    failure ??= error;
    changed();
  });
  const feeding = feed(source, inflater, name).catch((error: unknown) => {
    failure ??= error;
    changed();
  });
  try {
    for (;;) {
      // Also after a failure: what was inflated before it is still to be read.
      const chunk: unknown = inflater.read();
      if (chunk instanceof Uint8Array) yield chunk;
      else if (failure !== undefined) throw gzipError(failure, name);
      else if (ended) return;
      else {
        await new Promise<void>((resolve) => {
          wake = resolve;
          if (ended || failure !== undefined || inflater.readableLength > 0) resolve();
        });
      }
    }
  } finally {
    inflater.destroy();
    await feeding;
  }
}

/** Writes one piece after the other, each only when zlib is done with the one before: its output is then safe. */
async function feed(source: Chunks, inflater: ReturnType<typeof createGunzip>, name: string): Promise<void> {
  let first = true;
  for await (const chunk of source) {
    if (first && !(chunk[0] === 0x1f && (chunk.length === 1 || chunk[1] === 0x8b))) {
      throw new HeadwaterError("BadInput", "not a gzip file, though its name ends in .gz", {
        where: name,
        hint: "Name it without .gz if it is not compressed.",
      });
    }
    first = false;
    for (let at = 0; at < chunk.length; at += GZIP_PIECE_BYTES) {
      if (inflater.destroyed) return;
      const piece = chunk.subarray(at, at + GZIP_PIECE_BYTES);
      await new Promise<void>((resolve, reject) => {
        inflater.once("close", resolve);
        inflater.write(piece, (error) => {
          inflater.off("close", resolve);
          if (error) reject(error);
          else resolve();
        });
      });
    }
  }
  if (!inflater.destroyed) inflater.end();
}

function gzipError(failure: unknown, name: string): HeadwaterError {
  if (failure instanceof HeadwaterError) return failure;
  const reason = failure instanceof Error ? failure.message : String(failure);
  const truncated = reason === "unexpected end of file";
  return new HeadwaterError(
    "InputFailed",
    truncated ? "the gzip file breaks off" : `the gzip file is damaged (${reason})`,
    {
      where: name,
      hint: "What came before was read. Get the file again; with the whole file a new run goes on after it.",
      cause: failure,
    },
  );
}
