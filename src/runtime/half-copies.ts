import { isHeadwaterError } from "../core/errors.ts";
import { LIMITS } from "../core/limits.ts";
import { NO_BYTES } from "./intake.ts";
import type { WatchedFile } from "./watched-file.ts";

/**
 * The file of which another one, of which nothing is known, is the beginning, and has nothing else so far: it may be a
 * copy that is being written. *own*: it is none, or has too little to tell, and has rested for `restedMs`. *untold*: it
 * has nothing yet by which to tell. `taken`: the files of which something was taken; `used` hears of those of them that
 * were opened.
 */
export async function halfCopied(
  half: WatchedFile,
  taken: readonly WatchedFile[],
  restedMs: number,
  used: (file: WatchedFile) => Promise<void>,
  signal?: AbortSignal,
): Promise<WatchedFile | "own" | "untold"> {
  const tooLittle = restedMs >= LIMITS.copyRestMs ? "own" : "untold";
  const start = await half.start();
  if (start.length === 0) return tooLittle;
  const alike: WatchedFile[] = [];
  for (const other of taken) {
    if (other === half || other.undecided !== undefined) continue;
    if (isBeginning(start, await unlessGone(other.start(), NO_BYTES))) alike.push(other);
    await used(other);
  }
  if (alike.length === 0) return "own";
  const beginning = await half.beginning(signal);
  if (beginning === undefined) return tooLittle;
  if (beginning.bytes < LIMITS.copiedBytes && tooLittle === "own") return "own";
  for (const other of alike) {
    if (other.taken <= beginning.bytes) continue;
    const begins = await unlessGone(other.beginsWith(beginning), false);
    await used(other);
    if (begins) return other;
  }
  return "own";
}

/** What a file says, or `none` if it cannot be read any more: a copy of it cannot be known by it then. */
async function unlessGone<T>(said: Promise<T>, none: T): Promise<T> {
  try {
    return await said;
  } catch (error) {
    if (isHeadwaterError(error, "InputFailed")) return none;
    throw error;
  }
}

function isBeginning(start: Uint8Array, of: Uint8Array): boolean {
  return start.length <= of.length && Buffer.compare(start, of.subarray(0, start.length)) === 0;
}
