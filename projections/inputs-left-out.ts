/**
 * The inputs of one partition that its window or join did not take in: firings, and records that failed or came too
 * late. The last so many are remembered: of results that are made of older inputs it cannot be told.
 */
export class InputsLeftOut {
  readonly #most: number;
  /** N's, ascending. */
  readonly #ns: number[] = [];

  constructor(most: number) {
    this.#most = most;
  }

  /** N's above all before. */
  add(ns: readonly number[]): void {
    for (const n of ns) this.#ns.push(n);
    if (this.#ns.length > 2 * this.#most) this.#ns.splice(0, this.#ns.length - this.#most);
  }

  /** The first one in a set of runs (first, length, first, length, …), if there is one. */
  firstIn(runs: readonly number[]): number | undefined {
    for (let at = 0; at < runs.length; at += 2) {
      const first = runs[at] as number;
      const found = this.#ns[this.#firstFrom(first)];
      if (found !== undefined && found < first + (runs[at + 1] as number)) return found;
    }
    return undefined;
  }

  /** The index of the first N that is not below `n`. */
  #firstFrom(n: number): number {
    let low = 0;
    let high = this.#ns.length;
    while (low < high) {
      const middle = (low + high) >>> 1;
      if ((this.#ns[middle] as number) < n) low = middle + 1;
      else high = middle;
    }
    return low;
  }
}
