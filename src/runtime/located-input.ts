import { equalBytes } from "../core/digest.ts";
import { isHeadwaterError } from "../core/errors.ts";
import type { InputProgress } from "../core/events.ts";
import type { Input } from "../ports/files.ts";
import { NO_BYTES } from "./intake.ts";

/**
 * How much of an input was taken before: what is known of the longest content that it begins with. With `again` it is
 * another round over the same content.
 */
export async function locateInput(
  input: Input,
  known: readonly InputProgress[],
  again: boolean,
): Promise<InputProgress> {
  const taken = known
    .filter((progress) => progress.bytes > 0)
    .sort((a, b) => a.bytes - b.bytes || a.round - b.round);
  const digests = await input.digestsAt(taken.map((progress) => progress.bytes));
  const matching = taken.filter((progress, index) => {
    const digest = digests[index];
    return digest !== undefined && equalBytes(digest, progress.digest);
  });
  const longest = matching.at(-1);
  const round = Math.max(0, ...matching.map((progress) => progress.round));
  // The latest round may be the one that was cut short.
  const latest = matching.findLast((progress) => progress.round === round);
  if (latest !== undefined && !again) return latest;
  return {
    ...newInput(input.name, longest === undefined ? 0 : round + 1),
    // An input without a record has no content to be known by; that it ended is all that is known.
    ended: longest === undefined && known.some((progress) => progress.bytes === 0 && progress.ended),
  };
}

/** What a person should hear of an input that was located, because it may not be what they expect. */
export type LocatedNotice =
  /** Something was taken under its name, and it does not begin with that any more: it is read from its beginning. */
  | { readonly event: "changed"; readonly file: string }
  /** All that it has was taken of another input, which is still there. */
  | { readonly event: "same-content"; readonly file: string; readonly as: string };

/** `others`: names of inputs that are there, too. */
export function noticeOf(
  name: string,
  progress: InputProgress,
  known: readonly InputProgress[],
  others: ReadonlySet<string>,
): LocatedNotice | undefined {
  if (progress.bytes > 0) {
    const as = progress.name;
    const itself = known.some((other) => other.name === name && other.bytes === progress.bytes);
    return !itself && others.has(as) ? { event: "same-content", file: name, as } : undefined;
  }
  const before = known.some(
    (other) => other.name === name && other.bytes > 0 && other.round >= progress.round,
  );
  return before ? { event: "changed", file: name } : undefined;
}

/** An input of which nothing was taken. */
export function newInput(name: string, round: number): InputProgress {
  const nothing = { read: 0, accepted: 0, duplicate: 0, rejected: 0 };
  return { name, bytes: 0, digest: NO_BYTES, ...nothing, round, ended: false };
}

/** Whether two say the same of one input, under whatever name. */
export function sameProgress(a: InputProgress, b: InputProgress): boolean {
  return a.bytes === b.bytes && a.round === b.round && equalBytes(a.digest, b.digest);
}

/** Throws `BadInput` for content that cannot be begun: of another kind than its name says. */
export async function mustBegin(input: Input): Promise<void> {
  try {
    for await (const _records of input.read()) return;
  } catch (error) {
    // What breaks off later is told when it is come to, after what is before it was taken.
    if (isHeadwaterError(error, "BadInput")) throw error;
  }
}
