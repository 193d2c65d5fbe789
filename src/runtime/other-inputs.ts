import { equalBytes, toHex } from "../core/digest.ts";
import type { InputProgress } from "../core/events.ts";
import { LIMITS } from "../core/limits.ts";

/**
 * What is known of other inputs than the one that is read. The latest come last; the first are forgotten where there are
 * too many. Turning to another costs the same however many they are.
 */
export class OtherInputs {
  readonly #byPlace = new Map<string, InputProgress>();
  readonly #most: number;

  constructor(most: number = LIMITS.knownInputs) {
    this.#most = most;
  }

  get size(): number {
    return this.#byPlace.size;
  }

  get all(): readonly InputProgress[] {
    return [...this.#byPlace.values()];
  }

  /** `input` is gone on with, and `more` are known, in place of what said the same. */
  turnTo(input: InputProgress | undefined, more: readonly InputProgress[]): void {
    for (const other of more) {
      this.#byPlace.delete(placeOf(other));
      if (isKnown(other)) this.#byPlace.set(placeOf(other), other);
    }
    if (input !== undefined) this.#byPlace.delete(placeOf(input));
    for (const place of this.#byPlace.keys()) {
      if (this.#byPlace.size <= this.#most) return;
      this.#byPlace.delete(place);
    }
  }
}

/** What a claim says of `more` inputs where `input` is gone on with. */
export function otherInputs(
  more: readonly InputProgress[],
  input: InputProgress | undefined,
): readonly InputProgress[] {
  const others = new OtherInputs();
  others.turnTo(input, more);
  return others.all;
}

/** Inputs of which nothing says anything need not be remembered. */
function isKnown(input: InputProgress): boolean {
  return input.bytes > 0 || isBegun(input);
}

/** The same of two that say the same of one input: see {@link sameProgress}. */
function placeOf({ bytes, round, name, digest }: InputProgress): string {
  return `${bytes} ${round} ${toHex(digest)} ${name}`;
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

/** Whether what it is asked says the same of an input as none of `others` does, however many they are. */
export function notAmong(others: readonly InputProgress[]): (one: InputProgress) => boolean {
  const places = new Set(others.map(placeOf));
  return (one) => !places.has(placeOf(one));
}

/** Whether two say the same of one input. One that has another name now is gone on with under the one it had. */
export function sameProgress(a: InputProgress, b: InputProgress): boolean {
  return a.bytes === b.bytes && a.round === b.round && a.name === b.name && equalBytes(a.digest, b.digest);
}

/** Whether nothing was taken of it, and it is known nevertheless: as an input of its own, whatever it begins with. */
export function isBegun({ bytes, identity }: InputProgress): boolean {
  return bytes === 0 && identity !== undefined;
}
