import { decodeRuns } from "../src/core/columns.ts";
import type { OutletColumns, StepsRecorded } from "../src/core/events.ts";

/** The segment's inputs, where a stage's index stands. */
export const SEGMENT_INPUTS = -1;

/** The rows of each stage of a step event, as far as they follow from it alone: see "steps_" in docs/format.md. */
export class StepRows {
  readonly #event: StepsRecorded;
  readonly #parents = new Map<number, readonly number[]>();

  constructor(event: StepsRecorded) {
    this.#event = event;
  }

  /** How many rows a stage has. */
  count(stage: number): number {
    return stage === SEGMENT_INPUTS ? this.#event.count : this.#parentsOf(stage).length;
  }

  /** The rows of the stage `stored` whose records are in its block of the payload, in the order of the block. */
  kept(stored: number): readonly number[] {
    const rows = new Set<number>();
    for (const outlet of this.#event.outlets ?? []) {
      if (outlet.stored === stored) for (const row of this.#storedRows(outlet)) rows.add(row);
    }
    return [...rows].sort((a, b) => a - b);
  }

  /** The address, `stream@N.K`, of the first output that has the record of a row of the stage `stored`. */
  address(stream: string, stored: number, row: number): string {
    const next = new Map<number, number>();
    for (const outlet of this.#event.outlets ?? []) {
      const storedRows = this.#storedRows(outlet);
      const inputs = this.#storedRows({ stage: outlet.stage, stored: SEGMENT_INPUTS });
      for (const [at, input] of inputs.entries()) {
        const k = next.get(input) ?? 0;
        next.set(input, k + 1);
        if (outlet.stored !== stored || storedRows[at] !== row) continue;
        return `${stream}@${this.#event.first + input}.${k}`;
      }
    }
    throw new Error(`row ${row} of stage ${stored} leaves nowhere`);
  }

  /** For each row that leaves at an outlet the row of the stored stage that it is. */
  #storedRows({ stage, stored }: OutletColumns): readonly number[] {
    let rows: readonly number[] = Array.from({ length: this.count(stage) }, (_, row) => row);
    for (let at = stage; at !== stored; at = this.#stage(at).input) {
      const parents = this.#parentsOf(at);
      rows = rows.map((row) => parents[row] as number);
    }
    return rows;
  }

  /** For each row of a stage the row of the stage ahead that it was made of. */
  #parentsOf(stage: number): readonly number[] {
    let parents = this.#parents.get(stage);
    if (parents === undefined) {
      const { input, results } = this.#stage(stage);
      const ahead = this.count(input);
      const counts = results === undefined ? new Array<number>(ahead).fill(1) : decodeRuns(results, ahead);
      parents = counts.flatMap((count, row) => new Array<number>(count).fill(row));
      this.#parents.set(stage, parents);
    }
    return parents;
  }

  #stage(stage: number) {
    const columns = this.#event.stages?.[stage];
    if (columns === undefined || columns.input >= stage) throw new Error(`there is no stage ${stage}`);
    return columns;
  }
}
