import { isHeadwaterError } from "../core/errors.ts";
import type { InputProgress } from "../core/events.ts";
import type { Input } from "../ports/files.ts";
import { NO_BYTES } from "./intake.ts";
import { isBegun } from "./other-inputs.ts";

/**
 * How much of an input was taken before: what is known of it under its own name, if it still begins with that; or else
 * what is known of the longest content that it begins with, under whatever name. With `again` it is another round over
 * the same content. `identity`: of a file that has one, see {@link InputProgress.identity}.
 */
export async function locateInput(
  input: Input,
  known: readonly InputProgress[],
  again: boolean,
  identity?: string,
): Promise<InputProgress> {
  const isOwn = (progress: InputProgress) =>
    progress.name === input.name && (identity ?? progress.identity) === (progress.identity ?? identity);
  // Without content to be known by, a name says nothing where it may stand for another file.
  const begun = known.filter((progress) => isBegun(progress) && progress.identity === identity);
  // Of many files each looks for its own first, and for those of all others only if that is not there.
  const own = again
    ? undefined
    : latestOf([...begun, ...(await matchingOf(input, known.filter(isOwn)))].filter(isOwn));
  if (own !== undefined) return own;
  const matching = await matchingOf(input, known);
  const longest = matching.at(-1);
  const round = matching.reduce((most, progress) => Math.max(most, progress.round), 0);
  const latest = latestOf([
    ...matching.filter(({ name }) => name !== input.name),
    ...matching.filter(({ name }) => name === input.name),
  ]);
  if (latest !== undefined && !again) return latest;
  return {
    ...newInput(input.name, longest === undefined ? 0 : round + 1, identity),
    // An input without a record has no content to be known by; that it ended is all that is known.
    ended: longest === undefined && known.some((progress) => progress.bytes === 0 && progress.ended),
  };
}

/** Those whose content an input begins with, in the order of their lengths. */
async function matchingOf(input: Input, known: readonly InputProgress[]): Promise<readonly InputProgress[]> {
  const taken = known
    .filter((progress) => progress.bytes > 0)
    .sort((a, b) => a.bytes - b.bytes || a.round - b.round);
  if (taken.length === 0) return [];
  const begins = await input.beginsWith(taken);
  return taken.filter((_, index) => begins[index]);
}

/** What a person should hear of an input that was located, because it may not be what they expect. */
export type LocatedNotice =
  /** Something was taken under its name, and it does not begin with that any more: it is read from its beginning. */
  | { readonly event: "changed"; readonly file: string }
  /** All that it has was taken of another input, which is still there. */
  | { readonly event: "same-content"; readonly file: string; readonly as: string };

/** Whether an input, located at `progress`, has another content than it had. */
export function isChanged(name: string, progress: InputProgress, known: readonly InputProgress[]): boolean {
  if (progress.bytes > 0) return false;
  return known.some((other) => other.name === name && other.bytes > 0 && other.round >= progress.round);
}

const NOTHING = { read: 0, accepted: 0, duplicate: 0, rejected: 0 };

/** An input of which nothing was taken. */
export function newInput(name: string, round: number, identity?: string): InputProgress {
  const file = identity === undefined ? {} : { identity };
  return { name, ...file, bytes: 0, digest: NO_BYTES, ...NOTHING, round, ended: false };
}

/** A copy of another input, of which so much was taken: an input of its own from there on. None of that is its own. */
export function copyOf(progress: InputProgress, name: string, identity?: string): InputProgress {
  const { identity: _other, ...rest } = progress;
  return { ...rest, name, ...(identity !== undefined && { identity }), ...NOTHING };
}

/** The latest round, which may be the one that was cut short; of that the longest, of the same length the last. */
function latestOf(matching: readonly InputProgress[]): InputProgress | undefined {
  return matching.reduce<InputProgress | undefined>((best, progress) => {
    if (best === undefined || progress.round > best.round) return progress;
    return progress.round === best.round && progress.bytes >= best.bytes ? progress : best;
  }, undefined);
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
