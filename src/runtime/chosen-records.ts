import { INPUTS, type Part, SelectedRecords } from "./selected-records.ts";

/** Which outputs and steps are told of, of all that were run. */
export interface Chosen {
  /** Whether a row is told of: see {@link Part}. */
  has(stream: string, part: Part, n: number, k: number): boolean;
  /** Whether the step is that a stage took for an input: `given` is what it reads, `part` its results. */
  hasStep(stream: string, given: Part, part: Part, n: number): boolean;
  /** Whether anything of the inputs from `from` up to, and without, `to` is. */
  touches(stream: string, from: number, to: number): boolean;
}

/** What comes of some records, and what they were made of, both with these records themselves. */
export class ChosenRecords implements Chosen {
  readonly forwards: SelectedRecords;
  readonly backwards: SelectedRecords;

  constructor(forwards: SelectedRecords, backwards = new SelectedRecords()) {
    this.forwards = forwards;
    this.backwards = backwards;
  }

  has(stream: string, part: Part, n: number, k: number): boolean {
    return this.forwards.has(stream, part, n, k) || this.backwards.has(stream, part, n, k);
  }

  hasStep(stream: string, given: Part, part: Part, n: number): boolean {
    return (
      this.forwards.hasSome(stream, given, n) ||
      this.forwards.hasSome(stream, part, n) ||
      // Of the records that something was made of not all that was made of them is asked for.
      this.backwards.hasSome(stream, part, n)
    );
  }

  touches(stream: string, from: number, to: number): boolean {
    return this.forwards.touches(stream, from, to) || this.backwards.touches(stream, from, to);
  }

  /** The lowest and the highest N of a stream of which something is told; `undefined`: nothing is. */
  rangeOf(stream: string): { readonly lowest: number; readonly highest: number } | undefined {
    const both = [this.forwards, this.backwards];
    const lowest = Math.min(...both.map((one) => one.lowest(stream) ?? Number.POSITIVE_INFINITY));
    const highest = Math.max(...both.map((one) => one.below(stream, Number.MAX_SAFE_INTEGER) ?? -1));
    return highest < 0 ? undefined : { lowest, highest };
  }

  /** How many accepted records of a source it has, from N = `from` up to, and without, `to`. */
  accepted(stream: string, from: number, to: number): number {
    let count = this.forwards.count(stream, INPUTS, from, to);
    for (let n = this.backwards.below(stream, to); n !== undefined && n >= from; ) {
      if (!this.forwards.hasSome(stream, INPUTS, n)) count++;
      n = this.backwards.below(stream, n);
    }
    return count;
  }
}
