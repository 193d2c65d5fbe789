interface Interval {
  readonly start: number;
  readonly end: number;
}

/** A set of numbers that come in runs, as intervals of which there are at most so many. */
export class IntervalSet {
  readonly #most: number;
  #intervals: Interval[] = [];

  constructor(most: number) {
    this.#most = most;
  }

  /** Puts the numbers from `start` up to, and without, `end` in. `full`: they are not in it, for want of room. */
  add(start: number, end: number): "added" | "there" | "full" {
    const intervals = this.#intervals;
    const at = this.#firstEndingFrom(start);
    const after = intervals[at];
    if (after !== undefined && after.start < end && after.end > start) return "there";
    const before = after !== undefined && after.end === start ? after : undefined;
    const next = intervals[before === undefined ? at : at + 1];
    if (next !== undefined && next.start < end) return "there";
    const behind = next !== undefined && next.start === end ? next : undefined;
    const merged = { start: before?.start ?? start, end: behind?.end ?? end };
    const replaced = (before === undefined ? 0 : 1) + (behind === undefined ? 0 : 1);
    if (replaced === 0 && intervals.length === this.#most) return "full";
    intervals.splice(at, replaced, merged);
    return "added";
  }

  /** The index of the first interval that does not end before `start`. */
  #firstEndingFrom(start: number): number {
    let low = 0;
    let high = this.#intervals.length;
    while (low < high) {
      const middle = (low + high) >>> 1;
      if ((this.#intervals[middle] as Interval).end < start) low = middle + 1;
      else high = middle;
    }
    return low;
  }
}
