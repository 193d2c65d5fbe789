import { statfsSync } from "node:fs";
import { describeThrown, HeadwaterError } from "../../core/errors.ts";

/** What LMDB and the system call the errors that mean something to a caller. */
const FULL = new Set<unknown>([27, 28, 122, -30792, "ENOSPC", "EDQUOT", "EFBIG"]);
const DAMAGED = new Set<unknown>([-30797, -30796, -30793]);
/**
 * A transaction that LMDB gave up before (MDB_BAD_TXN), a tree deeper than any is (MDB_CURSOR_FULL): whoever only reads
 * comes to that by pages that are not what they were.
 */
const DAMAGED_FOR_READERS = new Set<unknown>([-30782, -30787]);
const TOO_NEW = new Set<unknown>([-30794]);
/** LMDB reports a write that was cut short as this, whatever the reason. */
const IO_ERROR = 5;

/**
 * Whether LMDB refuses everything until it is opened again, as it does after a commit that could not write its meta
 * page. lmdb tells that in words alone, with the system's code for a bad argument.
 */
export function isPanic(thrown: unknown): boolean {
  return thrown instanceof Error && thrown.message.includes("MDB_PANIC");
}

/** Turns what lmdb or the file system threw into an error of Headwater; its own pass through. */
export function fault(thrown: unknown, dir: string): HeadwaterError {
  if (thrown instanceof HeadwaterError) return thrown;
  const code = thrown instanceof Error && "code" in thrown ? thrown.code : undefined;
  const details = { where: dir, cause: thrown };
  if (code === "ENOTDIR") {
    return new HeadwaterError(
      "LogUnavailable",
      "the log cannot be used: it is a file, or in one, and no folder",
      {
        ...details,
        hint: "Name the folder that a log is in, such as lmdb:.headwater, or one that is to be made.",
      },
    );
  }
  if (FULL.has(code)) return fullError(dir, thrown);
  if (DAMAGED.has(code) || DAMAGED_FOR_READERS.has(code)) {
    return new HeadwaterError("LogDamaged", `the log cannot be read: ${describeThrown(thrown)}`, {
      ...details,
      hint: "Restore the folder from a copy.",
    });
  }
  if (TOO_NEW.has(code)) {
    return new HeadwaterError("LogTooNew", "the log was written by another version of LMDB", {
      ...details,
      hint: "Use the version of Headwater that wrote it, or a newer one.",
    });
  }
  if (thrown instanceof TypeError || thrown instanceof RangeError) {
    return new HeadwaterError("Internal", `the log's adapter failed: ${describeThrown(thrown)}`, details);
  }
  return unavailable(thrown, dir);
}

function unavailable(cause: unknown, where: string): HeadwaterError {
  return new HeadwaterError("LogUnavailable", `the log cannot be used: ${describeThrown(cause)}`, {
    where,
    cause,
    hint: "Check that the folder exists, that it can be written, and that its medium is sound and has space.",
  });
}

/** Why a commit of `bytes` failed, which LMDB tells only in part. */
export async function commitFault(thrown: unknown, dir: string, bytes: number): Promise<HeadwaterError> {
  const reason = await commitReason(thrown);
  const code = reason instanceof Error && "code" in reason ? reason.code : undefined;
  if (code === IO_ERROR && freeBytes(dir) < bytes) return fullError(dir, reason);
  return DAMAGED_FOR_READERS.has(code) ? unavailable(reason, dir) : fault(reason, dir);
}

/** lmdb rejects with an error whose `commitError` is a promise that is rejected with the reason. */
async function commitReason(thrown: unknown): Promise<unknown> {
  if (!(thrown instanceof Error) || !("commitError" in thrown)) return thrown;
  try {
    await thrown.commitError;
    return thrown;
  } catch (reason) {
    return reason;
  }
}

/** Bytes that the medium of `dir` has left for us; infinite if it does not say. */
export function freeBytes(dir: string): number {
  try {
    const { bavail, bsize } = statfsSync(dir);
    return bavail * bsize;
  } catch {
    return Number.POSITIVE_INFINITY;
  }
}

export function fullError(dir: string, cause?: unknown): HeadwaterError {
  return new HeadwaterError("LogFull", "there is no space left for the log", {
    where: dir,
    hint: "Make room on its medium, or let old events go and scavenge. What was acknowledged is safe.",
    cause,
  });
}
