import { HeadwaterError } from "./errors.ts";

/** 2020-01-01T00:00:00Z in milliseconds since 1970: ordinal 0. */
const EPOCH_MS = 1_577_836_800_000;
const COUNTS_PER_MS = 4_096;

/** Ordinals are whole numbers up to this. */
export const ORDINAL_MOST = Number.MAX_SAFE_INTEGER;

/** `through` of a stream that has said nothing yet. */
export const THROUGH_NOTHING = -1;

/** The first ordinal of the millisecond `ms` (since 1970); 0 for times before 2020. */
export function timeToOrdinal(ms: number): number {
  return Math.max(0, (Math.floor(ms) - EPOCH_MS) * COUNTS_PER_MS);
}

/** The millisecond (since 1970) that an ordinal belongs to. */
export function ordinalToTime(ordinal: number): number {
  return Math.floor(ordinal / COUNTS_PER_MS) + EPOCH_MS;
}

/**
 * A hybrid logical clock in one safe integer: milliseconds since 2020 × 4096 + counter. After Kulkarni et al.,
 * "Logical Physical Clocks" (2014), without the message part, which the door's tick does. Strictly increasing
 * whatever the wall clock does.
 */
export class OrdinalClock {
  #floor: number;

  /** `floor` is the highest ordinal that was given or promised before. */
  constructor(floor: number) {
    this.#floor = floor;
  }

  /** The highest ordinal given or promised so far. */
  get floor(): number {
    return this.#floor;
  }

  /** The ordinal that is next at wall time `nowMs`; it is given only when it is {@link raise}d to. */
  peek(nowMs: number): number {
    const next = Math.max(this.#floor + 1, timeToOrdinal(nowMs));
    if (next > ORDINAL_MOST) {
      throw new HeadwaterError("Internal", "the ordinals of this pipeline are used up");
    }
    return next;
  }

  /** Promises that no ordinal up to `ordinal` will be given any more. */
  raise(ordinal: number): void {
    this.#floor = Math.max(this.#floor, ordinal);
  }
}
