import { type FileHandle, open, rename, rm, stat } from "node:fs/promises";
import { dirname, resolve } from "node:path";
import { HeadwaterError } from "../../core/errors.ts";
import { fileError, systemCode } from "../../core/file-error.ts";
import { LIMITS } from "../../core/limits.ts";
import type { SmallFiles } from "../../ports/small-files.ts";

const OWNER_ONLY = 0o600;
/** Bytes that are read at once. */
const READ_BYTES = 64 * 1024;
const EVERYBODY = 0o666;

/** Small files of the file system. */
export function createSmallFiles(): SmallFiles {
  return {
    read: readText,
    find: (path) => ifThere(path, readText(path)),
    readBytes: (path) => readWhole(path, LIMITS.evidenceBytes),
    findBytes: (path) => ifThere(path, readWhole(path, LIMITS.evidenceBytes)),
    create: async (path, text, { secret = false } = {}) => {
      try {
        await write(path, "wx", text, secret ? OWNER_ONLY : EVERYBODY);
        await syncFolder(path);
      } catch (error) {
        if (!(await hasFolder(path))) throw folderMissing(path);
        if (systemCode(error) !== "EEXIST")
          throw fileError("OutputFailed", "cannot make the file", path, error);
        throw new HeadwaterError("ForeignOutput", "there is already a file, which is not overwritten", {
          where: path,
          hint: "Name another place, or move that file away.",
          cause: error,
        });
      }
    },
    replace,
    replaceBytes: replace,
  };
}

async function replace(path: string, content: string | Uint8Array): Promise<void> {
  const beside = `${resolve(path)}.${process.pid}.new`;
  try {
    await write(beside, "w", content, EVERYBODY);
    await rename(beside, path);
    await syncFolder(path);
  } catch (error) {
    await rm(beside, { force: true }).catch(() => {});
    throw fileError("OutputFailed", "cannot write the file", path, error);
  }
}

/** What is to be replaced need not be there; its folder has to. */
async function ifThere<T>(path: string, read: Promise<T>): Promise<T | undefined> {
  try {
    return await read;
  } catch (error) {
    const { cause } = error as { readonly cause?: unknown };
    if (!["ENOENT", "ENOTDIR"].includes(systemCode(cause))) throw error;
    if (!(await hasFolder(path))) throw folderMissing(path);
    return undefined;
  }
}

async function hasFolder(path: string): Promise<boolean> {
  return (await stat(dirname(resolve(path))).catch(() => undefined))?.isDirectory() ?? false;
}

function folderMissing(path: string): HeadwaterError {
  return new HeadwaterError("BadUsage", "there is no such folder for the file", {
    where: path,
    hint: "Make the folder, or name another one.",
  });
}

async function readWhole(path: string, most: number): Promise<Uint8Array> {
  let bytes: Uint8Array;
  try {
    const file = await open(path, "r");
    try {
      bytes = await readMost(file, most);
    } finally {
      await file.close();
    }
  } catch (error) {
    throw fileError("BadInput", "cannot read the file", path, error);
  }
  if (bytes.length <= most) return bytes;
  throw new HeadwaterError("BadInput", `the file has more than ${most} bytes`, {
    where: path,
    hint: "It is another file than it should be: check the path.",
  });
}

async function readText(path: string): Promise<string> {
  const bytes = await readWhole(path, LIMITS.noteBytes);
  try {
    return new TextDecoder("utf-8", { fatal: true, ignoreBOM: true }).decode(bytes);
  } catch {
    throw new HeadwaterError("BadInput", "the file is not text in UTF-8", {
      where: path,
      hint: "It was cut or changed, or is another file: check the path, or get it again from where it is kept.",
    });
  }
}

/** At most one byte more than may be: what is read need not be a file of known length. */
async function readMost(file: FileHandle, most: number): Promise<Uint8Array> {
  const parts: Uint8Array[] = [];
  let left = most + 1;
  while (left > 0) {
    const { bytesRead, buffer } = await file.read(Buffer.alloc(Math.min(left, READ_BYTES)), 0);
    if (bytesRead === 0) break;
    parts.push(buffer.subarray(0, bytesRead));
    left -= bytesRead;
  }
  return Buffer.concat(parts);
}

async function write(
  path: string,
  flags: "w" | "wx",
  content: string | Uint8Array,
  mode: number,
): Promise<void> {
  const file = await open(path, flags, mode);
  try {
    await file.writeFile(content);
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
