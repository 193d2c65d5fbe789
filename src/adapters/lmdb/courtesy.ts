import { BOUNDS } from "./bounds.ts";

/**
 * How a writer that is in no hurry makes room for others: all processes that write to a log wait for one lock, and the
 * one that has it keeps it until its commit is on the medium. While others commit, too, it takes little into a commit,
 * and rests for many times as long as it had the lock. Alone it does as any writer does.
 */
export class Courtesy {
  /** Position after the last commit of this writer; `undefined` before the first. */
  #last: number | undefined;
  #seenAt = Number.NEGATIVE_INFINITY;

  /** A commit begins, by the monotonic clock, at a log that ends at position `end`. */
  begins(end: number, now: number): void {
    if (this.#last !== undefined && end > this.#last) this.#seenAt = now;
  }

  /** A commit is done, after which the log ends at `end`; answers for how many milliseconds to rest. */
  ends(end: number, heldMs: number, now: number): number {
    this.#last = end;
    if (!this.othersAt(now)) return 0;
    return Math.min(Math.max(heldMs * BOUNDS.courtesyTimes, BOUNDS.courtesyMs), BOUNDS.courtesyMsMost);
  }

  /** Whether others have committed of late. */
  othersAt(now: number): boolean {
    return now - this.#seenAt < BOUNDS.courtesyForMs;
  }

  /** Bytes that a commit may take where `queued` wait. */
  bytesAt(now: number, queued: number): number {
    if (!this.othersAt(now)) return BOUNDS.commitBytes;
    return Math.min(Math.max(BOUNDS.courtesyBytes, queued * BOUNDS.courtesyPart), BOUNDS.commitBytes);
  }
}
