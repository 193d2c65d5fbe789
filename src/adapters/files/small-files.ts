import { type FileHandle, open, rename, rm } from "node:fs/promises";
import { dirname, resolve } from "node:path";
import { HeadwaterError } from "../../core/errors.ts";
import { LIMITS } from "../../core/limits.ts";
import type { SmallFiles } from "../../ports/small-files.ts";
import { fileError, systemCode } from "./faults.ts";

const OWNER_ONLY = 0o600;
const EVERYBODY = 0o666;

/** Small files of the file system. */
export function createSmallFiles(): SmallFiles {
  return {
    read: async (path) => (await readText(path)) as string,
    find: (path) =>
      readText(path).catch((error: unknown) => {
        const { cause } = error as { readonly cause?: unknown };
        if (systemCode(cause) === "ENOENT") return undefined;
        throw error;
      }),
    create: async (path, text, { secret = false } = {}) => {
      try {
        await write(path, "wx", text, secret ? OWNER_ONLY : EVERYBODY);
        await syncFolder(path);
      } catch (error) {
        if (systemCode(error) !== "EEXIST")
          throw fileError("OutputFailed", "cannot make the file", path, error);
        throw new HeadwaterError("ForeignOutput", "there is already a file, which is not overwritten", {
          where: path,
          hint: "Name another place, or move that file away.",
          cause: error,
        });
      }
    },
    replace: async (path, text) => {
      const beside = `${resolve(path)}.${process.pid}.new`;
      try {
        await write(beside, "w", text, EVERYBODY);
        await rename(beside, path);
        await syncFolder(path);
      } catch (error) {
        await rm(beside, { force: true }).catch(() => {});
        throw fileError("OutputFailed", "cannot write the file", path, error);
      }
    },
  };
}

async function readText(path: string): Promise<string> {
  let bytes: Uint8Array;
  try {
    const file = await open(path, "r");
    try {
      bytes = await readMost(file);
    } finally {
      await file.close();
    }
  } catch (error) {
    throw fileError("BadInput", "cannot read the file", path, error);
  }
  const refuse = (message: string) => new HeadwaterError("BadInput", message, { where: path });
  if (bytes.length > LIMITS.noteBytes) throw refuse(`the file has more than ${LIMITS.noteBytes} bytes`);
  try {
    return new TextDecoder("utf-8", { fatal: true, ignoreBOM: true }).decode(bytes);
  } catch {
    throw refuse("the file is not text in UTF-8");
  }
}

/** At most one byte more than may be: what is read need not be a file of known length. */
async function readMost(file: FileHandle): Promise<Uint8Array> {
  const buffer = new Uint8Array(LIMITS.noteBytes + 1);
  let done = 0;
  while (done < buffer.length) {
    const { bytesRead } = await file.read(buffer, done, buffer.length - done, null);
    if (bytesRead === 0) break;
    done += bytesRead;
  }
  return buffer.subarray(0, done);
}

async function write(path: string, flags: "w" | "wx", text: string, mode: number): Promise<void> {
  const file = await open(path, flags, mode);
  try {
    await file.writeFile(text, "utf8");
    await file.sync();
  } finally {
    await file.close();
  }
}

async function syncFolder(path: string): Promise<void> {
  const folder = await open(dirname(resolve(path)), "r");
  try {
    await folder.sync();
  } catch (error) {
    // Some systems have no such thing as a folder that can be synced.
    if (!["EINVAL", "ENOTSUP", "EPERM"].includes(systemCode(error))) throw error;
  } finally {
    await folder.close();
  }
}
