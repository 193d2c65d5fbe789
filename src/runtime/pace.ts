import { ordinalToTime } from "../core/ordinal.ts";
import { type Clock, sleep } from "../ports/clock.ts";

/** How fast history is to be run again: so many records a second, or so many times as fast as it was. */
export type Rate = { readonly recordsPerSecond: number } | { readonly timesRealTime: number };

/** Holds back whoever reads history, so that all who share it keep to a rate together. */
export interface Pace {
  /** Resolves when `count` records may be taken, the first of which has the ordinal `from`; or when `signal` aborts. */
  take(count: number, from: number, signal: AbortSignal): Promise<void>;
}

const SECOND_MS = 1_000;

/** A pace that keeps to a rate from its first record on. Who is late does not catch up for more than a second. */
export function paceOf(rate: Rate, clock: Clock): Pace {
  return "recordsPerSecond" in rate
    ? new RecordPace(rate.recordsPerSecond, clock)
    : new TimePace(rate.timesRealTime, clock);
}

class RecordPace implements Pace {
  readonly #perMs: number;
  readonly #clock: Clock;
  /** When the next record may be taken, in milliseconds of the monotonic clock. */
  #next = Number.NEGATIVE_INFINITY;

  constructor(perSecond: number, clock: Clock) {
    this.#perMs = perSecond / SECOND_MS;
    this.#clock = clock;
  }

  async take(count: number, _from: number, signal: AbortSignal): Promise<void> {
    const now = this.#clock.monotonic();
    const at = Math.max(this.#next, now - SECOND_MS);
    this.#next = at + count / this.#perMs;
    if (at > now) await sleep(this.#clock, at - now, signal);
  }
}

class TimePace implements Pace {
  readonly #times: number;
  readonly #clock: Clock;
  #begun: { readonly at: number; readonly time: number } | undefined;

  constructor(times: number, clock: Clock) {
    this.#times = times;
    this.#clock = clock;
  }

  async take(_count: number, from: number, signal: AbortSignal): Promise<void> {
    const now = this.#clock.monotonic();
    const time = ordinalToTime(from);
    this.#begun ??= { at: now, time };
    const due = this.#begun.at + (time - this.#begun.time) / this.#times;
    if (due > now) await sleep(this.#clock, due - now, signal);
  }
}

/** How long the records of a window take at a rate, in milliseconds; their ordinals are `first` to `last`. */
export function durationAt(rate: Rate, records: number, first: number, last: number): number {
  if ("recordsPerSecond" in rate) return (records / rate.recordsPerSecond) * SECOND_MS;
  return Math.max(0, ordinalToTime(last) - ordinalToTime(first)) / rate.timesRealTime;
}

/**
 * Holds back whoever goes over a window more than once, partition by partition, so that all of it together takes as long
 * as it should. Who is late does not catch up for more than a second.
 */
export class WindowPace {
  readonly #millis: number;
  readonly #clock: Clock;
  #begun: { readonly at: number; readonly share: number };

  /** `share` is done already, now that it is made. */
  constructor(millis: number, clock: Clock, share: number) {
    this.#millis = millis;
    this.#clock = clock;
    this.#begun = { at: clock.monotonic(), share };
  }

  /** Resolves when a share of the work, from 0 to 1, may be done; or when `signal` aborts. */
  async reach(share: number, signal: AbortSignal): Promise<void> {
    const now = this.#clock.monotonic();
    const due = this.#begun.at + (share - this.#begun.share) * this.#millis;
    if (due > now) await sleep(this.#clock, due - now, signal);
    else if (due < now - SECOND_MS) this.#begun = { at: now - SECOND_MS, share };
  }
}
