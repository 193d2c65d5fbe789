import type { CancelTimer, Clock } from "../../src/ports/clock.ts";
import type { Ids } from "../../src/ports/ids.ts";

/** Numbers in [0, 1) from a seed: mulberry32 (Tommy Ettinger). */
export type Random = () => number;

export function seededRandom(seed: number): Random {
  let state = seed | 0;
  return () => {
    state = (state + 0x6d2b79f5) | 0;
    let mixed = Math.imul(state ^ (state >>> 15), 1 | state);
    mixed = (mixed + Math.imul(mixed ^ (mixed >>> 7), 61 | mixed)) ^ mixed;
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32;
  };
}

/** A whole number from 0 to `most`. */
export function upTo(random: Random, most: number): number {
  return Math.floor(random() * (most + 1));
}

export function seededIds(random: Random): Ids {
  const hex = (digits: number) =>
    Array.from({ length: digits }, () => upTo(random, 15).toString(16)).join("");
  return { uuid: () => `${hex(8)}-${hex(4)}-4${hex(3)}-8${hex(3)}-${hex(12)}` };
}

interface Timer {
  readonly due: number;
  /** Decides among timers that are due together. */
  readonly rank: number;
  readonly callback: () => void;
}

/** 2026-01-01T00:00:00Z. */
const START_MS = 1_767_225_600_000;

/**
 * Time that passes only when nothing else is left to do. Everything in a simulation waits for promises or for
 * this clock, so that a run follows from its seed alone.
 */
export class VirtualWorld implements Clock {
  readonly #random: Random;
  readonly #timers = new Set<Timer>();
  readonly #stepBackMs: number;
  #ms = 0;
  #wallOffset = 0;

  /** `stepBackMs`: the wall clock jumps by up to this much, forwards and backwards, whenever it is read. */
  constructor(random: Random, stepBackMs = 0) {
    this.#random = random;
    this.#stepBackMs = stepBackMs;
  }

  now(): number {
    if (this.#stepBackMs > 0) this.#wallOffset = upTo(this.#random, 2 * this.#stepBackMs) - this.#stepBackMs;
    return START_MS + this.#ms + this.#wallOffset;
  }

  monotonic(): number {
    return this.#ms;
  }

  setTimeout(callback: () => void, ms: number): CancelTimer {
    const timer = { due: this.#ms + ms, rank: this.#random(), callback };
    this.#timers.add(timer);
    return () => this.#timers.delete(timer);
  }

  sleep(ms: number): Promise<void> {
    return new Promise((resolve) => {
      this.setTimeout(resolve, ms);
    });
  }

  /** Lets time pass until `work` has settled. Throws what `stuck` says when that takes `mostMs` of it. */
  async run<T>(work: Promise<T>, mostMs: number, stuck: () => string): Promise<T> {
    let settled = false;
    const done = () => {
      settled = true;
    };
    work.then(done, done);
    const until = this.#ms + mostMs;
    for (;;) {
      // All that can be done without time passing is done in between.
      await new Promise((resolve) => setImmediate(resolve));
      if (settled) return work;
      const next = this.#next();
      if (next === undefined || next.due > until) throw new Error(`the simulation is stuck: ${stuck()}`);
      this.#timers.delete(next);
      this.#ms = Math.max(this.#ms, next.due);
      next.callback();
    }
  }

  #next(): Timer | undefined {
    let next: Timer | undefined;
    for (const timer of this.#timers) {
      if (next === undefined || timer.due < next.due || (timer.due === next.due && timer.rank < next.rank))
        next = timer;
    }
    return next;
  }
}
