import { type FileHandle, open } from "node:fs/promises";
import { join } from "node:path";
import { HeadwaterError } from "../../core/errors.ts";
import { allPagesThere, type Roots } from "./data-pages.ts";

/** The file in a log's folder that holds everything; beside it is only LMDB's lock file. */
export function dataFile(dir: string): string {
  return join(dir, "data.mdb");
}

const META_BYTES = 24 + 136;
const MAGIC = 0xbeefc0de;
const META_PAGE = 0x08;
const DATA_VERSION = 2;
/** Where LMDB before its data version 2 has its magic. */
const OLD_MAGIC_AT = 16;
const PAGE_BYTES_LEAST = 512;
const PAGE_BYTES_MOST = 65_536;
const ATTEMPTS = 3;

interface MetaPage extends Roots {
  readonly version: number;
  readonly transaction: number;
}

/**
 * Whether there is a data file in `dir` that may be handed to LMDB, which maps it and would crash the process on
 * pages that are missing. Reads no more than the two meta pages. False: there is none, or it is still empty.
 * Throws `LogDamaged`, `LogForeign` or `LogTooNew`.
 */
export async function checkDataFile(dir: string): Promise<boolean> {
  let file: FileHandle;
  try {
    file = await open(dataFile(dir), "r");
  } catch (thrown) {
    if (thrown instanceof Error && "code" in thrown && thrown.code === "ENOENT") return false;
    throw thrown;
  }
  try {
    for (let attempt = 1; ; attempt += 1) {
      try {
        return await checkMetaPages(dir, file);
      } catch (thrown) {
        // Another process may have been writing a meta page just then.
        if (attempt === ATTEMPTS) throw thrown;
      }
    }
  } finally {
    await file.close();
  }
}

async function checkMetaPages(dir: string, file: FileHandle): Promise<boolean> {
  const first = await metaPage(file, 0);
  if (first === undefined) {
    if ((await file.stat()).size === 0) return false;
    throw await unreadable(dir, file);
  }
  if (first.version > DATA_VERSION) {
    throw new HeadwaterError("LogTooNew", "the log was written by a newer LMDB", {
      where: dir,
      hint: "Use the version of Headwater that wrote it, or a newer one.",
    });
  }
  const { pageBytes } = first;
  if (pageBytes < PAGE_BYTES_LEAST || pageBytes > PAGE_BYTES_MOST || (pageBytes & (pageBytes - 1)) !== 0) {
    throw damaged(dir, "its first page is not what LMDB writes");
  }
  const second = await metaPage(file, pageBytes);
  if (second === undefined) throw damaged(dir, "its second page is not what LMDB writes");
  const newer = second.transaction > first.transaction ? second : first;
  // After the meta pages: a writer makes the file longer before it writes them.
  const { size } = await file.stat();
  if ((newer.lastPage + 1) * pageBytes > size && !(await allPagesThere(file, newer, size))) {
    throw damaged(dir, "its end is missing");
  }
  return true;
}

async function metaPage(file: FileHandle, at: number): Promise<MetaPage | undefined> {
  const page = Buffer.alloc(META_BYTES);
  const { bytesRead } = await file.read(page, 0, META_BYTES, at);
  if (bytesRead < META_BYTES || page.readUInt32LE(24) !== MAGIC) return undefined;
  if ((page.readUInt16LE(18) & META_PAGE) === 0) return undefined;
  return {
    version: page.readUInt32LE(28) & 0xffff,
    pageBytes: page.readUInt32LE(48),
    roots: [page.readBigUInt64LE(88), page.readBigUInt64LE(136)],
    lastPage: Number(page.readBigUInt64LE(144)),
    transaction: Number(page.readBigUInt64LE(152)),
  };
}

/** Tells a log whose first page is damaged from a file that never was one. */
async function unreadable(dir: string, file: FileHandle): Promise<HeadwaterError> {
  for (let at = PAGE_BYTES_LEAST; at <= PAGE_BYTES_MOST; at *= 2) {
    if ((await metaPage(file, at)) !== undefined)
      return damaged(dir, "its first page is not what LMDB writes");
  }
  const start = Buffer.alloc(OLD_MAGIC_AT + 4);
  await file.read(start, 0, start.length, 0);
  if (start.readUInt32LE(OLD_MAGIC_AT) === MAGIC) return foreignError(dir);
  return damaged(dir, "it is not a file that LMDB wrote");
}

/** For a folder whose data is another program's. */
export function foreignError(dir: string): HeadwaterError {
  return new HeadwaterError("LogForeign", "the folder holds another program's data", {
    where: dir,
    hint: "Choose another folder for the log. Nothing was changed in this one.",
  });
}

function damaged(dir: string, why: string): HeadwaterError {
  return new HeadwaterError("LogDamaged", `the log's file is damaged: ${why}`, {
    where: dataFile(dir),
    hint: "Restore the folder from a copy. If the file is not a log's, choose another folder. Nothing was changed.",
  });
}
