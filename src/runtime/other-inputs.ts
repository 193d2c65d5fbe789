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
  const isNew = notAmong(more);
  return [...known.filter(isNew), ...more]
    .filter((other) => other.bytes > 0 || isBegun(other))
    .filter((other) => input === undefined || !sameProgress(other, input))
    .slice(-LIMITS.knownInputs);
}

/** Bytes of a progress in an event, without its texts, at most. */
const PROGRESS_BYTES = 256;

/** What one claim says of inputs has to fit into an event. There is always a piece, if only an empty one. */
export function claimPieces(inputs: readonly InputProgress[]): readonly (readonly InputProgress[])[] {
  const pieces: InputProgress[][] = [[]];
  let bytes = 0;
  for (const input of inputs) {
    const more = PROGRESS_BYTES + Buffer.byteLength(input.name);
    if (bytes > 0 && bytes + more > LIMITS.claimInputBytes) {
      pieces.push([]);
      bytes = 0;
    }
    pieces.at(-1)?.push(input);
    bytes += more;
  }
  return pieces;
}

/** Of so few each is looked at. */
const FEW = 8;

/** Whether what it is asked says the same of an input as none of `others` does, however many they are. */
export function notAmong(others: readonly InputProgress[]): (one: InputProgress) => boolean {
  if (others.length <= FEW) return (one) => !others.some((other) => sameProgress(other, one));
  const byPlace = new Map<string, InputProgress[]>();
  const placeOf = ({ bytes, round, name }: InputProgress) => `${bytes} ${round} ${name}`;
  for (const other of others) {
    const place = placeOf(other);
    const same = byPlace.get(place);
    if (same === undefined) byPlace.set(place, [other]);
    else same.push(other);
  }
  return (one) => !byPlace.get(placeOf(one))?.some((other) => sameProgress(other, one));
}

/** Whether two say the same of one input. One that has another name now is gone on with under the one it had. */
export function sameProgress(a: InputProgress, b: InputProgress): boolean {
  return a.bytes === b.bytes && a.round === b.round && a.name === b.name && equalBytes(a.digest, b.digest);
}

/** Whether nothing was taken of it, and it is known nevertheless: as an input of its own, whatever it begins with. */
export function isBegun({ bytes, identity }: InputProgress): boolean {
  return bytes === 0 && identity !== undefined;
}
