import { equalBytes } from "../core/digest.ts";
import type { InputProgress } from "../core/events.ts";
import { LIMITS } from "../core/limits.ts";

/**
 * What is known of other inputs where `input` is gone on with: of those that were known, and of `more`, which are
 * known now, in place of what said the same. The latest come last; the first are forgotten where there are too many.
 */
export function otherInputs(
  known: readonly InputProgress[],
  more: readonly InputProgress[],
  input: InputProgress | undefined,
): readonly InputProgress[] {
  return [...known.filter((other) => !more.some((one) => sameProgress(other, one))), ...more]
    .filter((other) => other.bytes > 0 || isBegun(other))
    .filter((other) => input === undefined || !sameProgress(other, input))
    .slice(-LIMITS.knownInputs);
}

/** Whether two say the same of one input. One that has another name now is gone on with under the one it had. */
export function sameProgress(a: InputProgress, b: InputProgress): boolean {
  return a.bytes === b.bytes && a.round === b.round && a.name === b.name && equalBytes(a.digest, b.digest);
}

/** Whether nothing was taken of it, and it is known nevertheless: as an input of its own, whatever it begins with. */
export function isBegun({ bytes, identity }: InputProgress): boolean {
  return bytes === 0 && identity !== undefined;
}
