import {
  ColumnReader,
  decodeByteTexts,
  decodeDeltas,
  decodeParents,
  decodePlain,
  decodeRuns,
} from "../src/core/columns.ts";
import { DIGEST_BYTES } from "../src/core/digest.ts";
import type { OutletColumns, Section, StageColumns, StepsRecorded } from "../src/core/events.ts";
import { indexElement } from "../src/core/path.ts";

/** The segment's inputs, where a stage's index stands. */
export const SEGMENT_INPUTS = -1;

/** What a step event says of its inputs, a column each. */
export interface InputColumns {
  readonly count: number;
  /** Index of each input's stream in the event's `streams`; `undefined`: all are of the first. */
  readonly upstream: readonly number[] | undefined;
  readonly parents: readonly number[];
  readonly parentKs: readonly number[] | undefined;
  readonly ordinals: readonly number[];
  /** Index of each input's origin in the event's `sources`; `undefined`: all are of the first. */
  readonly source: readonly number[] | undefined;
  readonly roots: readonly number[];
  readonly paths: readonly string[] | undefined;
  readonly times: readonly (number | undefined)[] | undefined;
  /** Rows that have no parent. */
  readonly firings: ReadonlySet<number>;
}

const decoded = new WeakMap<StepsRecorded, StepRows>();

/** The rows of an event, which are worked out once, whoever asks. Its columns are decoded when they are asked for. */
export function stepRowsOf(event: StepsRecorded): StepRows {
  let rows = decoded.get(event);
  if (rows === undefined) {
    rows = new StepRows(event);
    decoded.set(event, rows);
  }
  return rows;
}

/** The rows of each stage of a step event, as far as they follow from it alone: see "steps_" in docs/format.md. */
export class StepRows {
  readonly #event: StepsRecorded;
  readonly #parents = new Map<number, Parents>();
  readonly #paths = new Map<number, readonly string[] | undefined>();
  #inputs: InputColumns | undefined;

  constructor(event: StepsRecorded) {
    this.#event = event;
  }

  get inputs(): InputColumns {
    this.#inputs ??= decodeInputs(this.#event);
    return this.#inputs;
  }

  /** How many rows a stage has. */
  count(stage: number): number {
    return stage === SEGMENT_INPUTS ? this.#event.count : this.#parentsOf(stage).count;
  }

  /** The row of the stage ahead that each row of a stage was made of; `undefined`: the same one. */
  parents(stage: number): readonly number[] | undefined {
    return this.#parentsOf(stage).rows;
  }

  /** The row of the stage `ahead`, somewhere before `stage`, that each row descends from; `undefined`: the same one. */
  rowsAhead(stage: number, ahead: number): readonly number[] | undefined {
    let rows: readonly number[] | undefined;
    for (let at = stage; at !== ahead; at = this.stage(at).input) {
      const { rows: parents } = this.#parentsOf(at);
      if (parents !== undefined) rows = rows?.map((row) => parents[row] as number) ?? parents;
    }
    return rows;
  }

  /** The path of each row; `undefined`: all are empty. */
  paths(stage: number): readonly string[] | undefined {
    if (stage === SEGMENT_INPUTS) return this.inputs.paths;
    if (!this.#paths.has(stage)) this.#paths.set(stage, this.#makePaths(stage));
    return this.#paths.get(stage);
  }

  /** The stages whose records are in events beside this one. */
  get storedStages(): readonly number[] {
    const { outlets = [], captured = [] } = this.#event;
    return [...new Set([...outlets.map(({ stored }) => stored), ...captured.map(({ stage }) => stage)])];
  }

  /** The rows of the stage `stored` whose records are in its blocks beside the event, in the order of these. */
  kept(stored: number, beside: "payload" | "transit" = "payload"): readonly number[] {
    const said = this.#event.captured?.find(({ stage }) => stage === stored);
    if (said === undefined) return beside === "payload" ? this.#leaving(stored) : [];
    if (said.rows === undefined) return beside === "payload" ? rowNumbers(this.count(stored)) : [];
    const payload = decodeDeltas(said.rows);
    if (beside === "payload") return payload;
    const known = new Set(payload);
    return this.#leaving(stored).filter((row) => !known.has(row));
  }

  /** The rows of the stage `stored` that leave the segment, ascending. */
  #leaving(stored: number): readonly number[] {
    const outlets = (this.#event.outlets ?? []).filter((outlet) => outlet.stored === stored);
    const rows = new Set<number>();
    for (const outlet of outlets) {
      const reaching = this.rowsAhead(outlet.stage, stored);
      if (reaching === undefined) return rowNumbers(this.count(stored));
      if (outlets.length === 1 && reaching.length === this.count(stored)) return reaching;
      for (const row of reaching) rows.add(row);
    }
    return [...rows].sort((a, b) => a - b);
  }

  /** The address, `stream@N.K`, of the first output that has the record of a row of the stage `stored`. */
  address(stream: string, stored: number, row: number): string {
    const next = new Map<number, number>();
    for (const outlet of this.#event.outlets ?? []) {
      const inStored = this.rowsAhead(outlet.stage, outlet.stored);
      const inputs = this.rowsAhead(outlet.stage, SEGMENT_INPUTS);
      for (let at = 0; at < this.count(outlet.stage); at++) {
        const input = inputs?.[at] ?? at;
        const k = next.get(input) ?? 0;
        next.set(input, k + 1);
        if (outlet.stored !== stored || (inStored?.[at] ?? at) !== row) continue;
        return `${stream}@${this.#event.first + input}.${k}`;
      }
    }
    throw new Error(`row ${row} of stage ${stored} leaves nowhere`);
  }

  /** K of each row that leaves at an outlet; `undefined`: all are 0. */
  outputNumbers(outlet: number): readonly number[] | undefined {
    const outlets = this.#event.outlets ?? [];
    const { stage } = outlets[outlet] as OutletColumns;
    const one = outlet === 0 && this.rowsAhead(stage, SEGMENT_INPUTS) === undefined;
    if (one) return undefined;
    const next = new Array<number>(this.#event.count).fill(0);
    let numbers: number[] = [];
    for (let at = 0; at <= outlet; at++) {
      const { stage: leaving } = outlets[at] as OutletColumns;
      const inputs = this.rowsAhead(leaving, SEGMENT_INPUTS);
      numbers = new Array<number>(this.count(leaving));
      for (let row = 0; row < numbers.length; row++) {
        const input = inputs?.[row] ?? row;
        const k = next[input] as number;
        next[input] = k + 1;
        numbers[row] = k;
      }
    }
    return numbers;
  }

  /** What the event says of a stage. Throws for one that is not there, or does not come after its input. */
  stage(stage: number): StageColumns {
    const columns = this.#event.stages?.[stage];
    if (columns === undefined || columns.input >= stage || columns.input < SEGMENT_INPUTS) {
      throw new Error(`there is no stage ${stage}`);
    }
    return columns;
  }

  #parentsOf(stage: number): Parents {
    let parents = this.#parents.get(stage);
    if (parents === undefined) {
      const { input, results } = this.stage(stage);
      parents = parentsOf(this.count(input), results);
      this.#parents.set(stage, parents);
    }
    return parents;
  }

  #makePaths(stage: number): readonly string[] | undefined {
    const { input, indexed, branch } = this.stage(stage);
    const before = this.paths(input);
    if (before === undefined && indexed === undefined && branch === undefined) return undefined;
    const { rows, count } = this.#parentsOf(stage);
    const taken = branch === undefined ? "" : `${branch}\0`;
    let index = 0;
    let last = -1;
    return Array.from({ length: count }, (_, row) => {
      const parent = rows?.[row] ?? row;
      index = parent === last ? index + 1 : 0;
      last = parent;
      return `${before?.[parent] ?? ""}${taken}${indexed ? indexElement(index) : ""}`;
    });
  }
}

interface Parents {
  readonly count: number;
  readonly rows: readonly number[] | undefined;
}

function parentsOf(ahead: number, results: Uint8Array | undefined): Parents {
  if (results === undefined) return { count: ahead, rows: undefined };
  const rows = decodeParents(results, ahead);
  return { count: rows.length, rows };
}

function decodeInputs(event: StepsRecorded): InputColumns {
  const { count } = event;
  const parents = decodeDeltas(required(event.parents), count);
  return {
    count,
    upstream: event.upstream && decodeRuns(event.upstream, count),
    parents,
    parentKs: event.parentKs && decodePlain(event.parentKs, count),
    ordinals: decodeDeltas(required(event.ordinals), count),
    source: event.source && decodeRuns(event.source, count),
    roots: event.roots === undefined ? parents : decodeDeltas(event.roots, count),
    paths: event.paths && decodeByteTexts(event.paths, count),
    times: decodeTimes(event),
    firings: event.firings === undefined ? NO_ROWS : new Set(decodeDeltas(event.firings)),
  };
}

const NO_ROWS: ReadonlySet<number> = new Set();

function decodeTimes({ times, timeless, count }: StepsRecorded): readonly (number | undefined)[] | undefined {
  if (times === undefined) return undefined;
  const found: (number | undefined)[] = decodeDeltas(times, count);
  for (const row of timeless === undefined ? [] : decodeDeltas(timeless)) found[row] = undefined;
  return found;
}

/**
 * For each of `count` rows the section that it is in. Throws when one is in none or in two. `undefined`: there are no
 * sections.
 */
export function sectionsOf(
  sections: readonly Section[] | undefined,
  count: number,
): readonly number[] | undefined {
  if (sections === undefined) return undefined;
  const partitions = new Array<number>(count).fill(-1);
  let placed = 0;
  for (const [partition, rows] of sections) {
    for (const row of decodeDeltas(rows)) {
      if (partitions[row] !== -1) throw new Error(`row ${row} is in two sections, or in none of the event's`);
      partitions[row] = partition;
      placed++;
    }
  }
  if (placed !== count) throw new Error(`${count - placed} rows are in no section`);
  return partitions;
}

/** For each of `count` rows the N's that it was made of, as runs: first, length, first, length, … */
export function membersOf(bytes: Uint8Array, count: number): readonly (readonly number[])[] {
  const input = new ColumnReader(bytes);
  const sets = Array.from({ length: count }, () => {
    const set: number[] = [];
    let end = 0;
    for (let runs = input.uvarint(); runs > 0; runs--) {
      const first = end + input.uvarint();
      const length = input.uvarint();
      set.push(first, length);
      end = first + length;
    }
    return set;
  });
  if (!input.done) throw new Error("there are members of more results than there are");
  return sets;
}

/** The digest of a row in a column of digests. */
export function digestAt(digests: Uint8Array, row: number): Uint8Array {
  return digests.subarray(row * DIGEST_BYTES, (row + 1) * DIGEST_BYTES);
}

/** 0 … count − 1. */
export function rowNumbers(count: number): readonly number[] {
  const rows = new Array<number>(count);
  for (let row = 0; row < count; row++) rows[row] = row;
  return rows;
}

function required(column: Uint8Array | undefined): Uint8Array {
  if (column === undefined) throw new Error("a column is missing");
  return column;
}
