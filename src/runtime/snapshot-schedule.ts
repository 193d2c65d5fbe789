import type { Cursors } from "../core/events.ts";
import { LIMITS } from "../core/limits.ts";
import type { Clock } from "../ports/clock.ts";

/**
 * When a partition's state is to be kept again: after so many inputs that running them again would take long, and,
 * where history is let go of, by time, so that what came before can go.
 */
export class SnapshotSchedule {
  readonly #clock: Clock;
  /** In milliseconds; `undefined`: by inputs alone. */
  readonly #everyMs: number | undefined;
  #inputs = 0;
  /** When the last one was taken, and how long that took, in milliseconds by the monotonic clock. */
  #at = Number.NEGATIVE_INFINITY;
  #tookMs = 0;
  /** Those at which it was taken; they are other ones after each event. */
  #cursors: Cursors | undefined;

  constructor(clock: Clock, everyMs: number | undefined) {
    this.#clock = clock;
    this.#everyMs = everyMs;
  }

  /** `inputs` more were taken than the last snapshot knows of. */
  count(inputs: number): void {
    this.#inputs += inputs;
  }

  /** Whether one is due where the state has so many entries, at these cursors. */
  isDue(entries: number, cursors: Cursors): boolean {
    return this.#inputs >= Math.max(LIMITS.snapshotInputs, entries) || this.untilDueMs(cursors) === 0;
  }

  /** How long until one is due by time; `undefined`: none is. */
  untilDueMs(cursors: Cursors): number | undefined {
    if (this.#everyMs === undefined || !this.#hasMoved(cursors)) return undefined;
    const everyMs = Math.max(this.#everyMs, LIMITS.snapshotTimes * this.#tookMs);
    return Math.max(0, this.#at + everyMs - this.#clock.monotonic());
  }

  /** Whether whoever stops at these cursors leaves one, so that the next start is quick. */
  isWorthIt(cursors: Cursors): boolean {
    return this.#everyMs === undefined ? this.#inputs > 0 : this.#hasMoved(cursors);
  }

  /** Something was taken since the last one, or passed over because it is for other partitions. */
  #hasMoved(cursors: Cursors): boolean {
    return this.#inputs > 0 || this.#cursors !== cursors;
  }

  /** Takes one, and measures how long that takes. */
  take<T>(snapshot: () => T): T {
    this.#at = this.#clock.monotonic();
    const taken = snapshot();
    this.#tookMs = this.#clock.monotonic() - this.#at;
    return taken;
  }

  /** The one that was taken is in the log. */
  kept(cursors: Cursors): void {
    this.#inputs = 0;
    this.#cursors = cursors;
  }
}
