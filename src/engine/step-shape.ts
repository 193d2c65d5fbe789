import { decodeByteTexts, decodeParents } from "../core/columns.ts";
import { HeadwaterError } from "../core/errors.ts";
import type { OutletColumns, StageColumns, StepsRecorded } from "../core/events.ts";
import { indexElement, type Path, ROOT_PATH } from "../core/path.ts";
import { SEGMENT_INPUT } from "../pipeline/plan.ts";
import {
  partedRows,
  placeAmong,
  rowsInStored,
  type StoredAt,
  type StoredRows,
  storedRows,
} from "./stored-rows.ts";

/** The rows of one stage of a batch, or its inputs. */
export interface RowsOfStage {
  readonly count: number;
  /** Row of the stage ahead that each row comes from; `undefined`: the same row. */
  readonly parent: readonly number[] | undefined;
}

/**
 * How the rows of a StepsRecorded event hang together: which row of a stage comes from which row ahead, which of them
 * leave the segment under which number, and where they are kept. Decoded as far as it is asked for.
 */
export class StepShape {
  readonly #event: StepsRecorded;
  readonly #stages = new Map<number, RowsOfStage>();
  readonly #origins = new Map<number, readonly number[] | undefined>();
  readonly #numbers = new Map<number, readonly number[] | undefined>();
  #inputPaths: readonly Path[] | undefined;

  constructor(event: StepsRecorded) {
    this.#event = event;
  }

  get stages(): readonly StageColumns[] {
    return this.#event.stages ?? [];
  }

  get outlets(): readonly OutletColumns[] {
    return this.#event.outlets ?? [];
  }

  /** The stage whose rows a stage takes. */
  ahead(stage: number): number {
    return required(this.#event.stages?.[stage]).input;
  }

  stage(stage: number): RowsOfStage {
    if (stage === SEGMENT_INPUT) return { count: this.#event.count, parent: undefined };
    let rows = this.#stages.get(stage);
    if (rows === undefined) {
      const { results } = required(this.#event.stages?.[stage]);
      const inputs = this.stage(this.ahead(stage)).count;
      rows = results === undefined ? { count: inputs, parent: undefined } : rowsOf(results, inputs);
      this.#stages.set(stage, rows);
    }
    return rows;
  }

  /** Row of the segment's inputs that each row of a stage comes from, ascending; `undefined`: the same row. */
  origin(stage: number): readonly number[] | undefined {
    if (stage === SEGMENT_INPUT) return undefined;
    if (this.#origins.has(stage)) return this.#origins.get(stage);
    const { parent } = this.stage(stage);
    const before = this.origin(this.ahead(stage));
    const origin = before === undefined || parent === undefined ? (parent ?? before) : pick(before, parent);
    this.#origins.set(stage, origin);
    return origin;
  }

  /** K of each row that leaves by an outlet; `undefined`: all are 0. */
  outputNumbers(outlet: number): readonly number[] | undefined {
    if (this.#numbers.has(outlet)) return this.#numbers.get(outlet);
    const next = new Array<number>(this.#event.count).fill(0);
    for (const { stage } of this.outlets.slice(0, outlet)) {
      const origin = this.origin(stage);
      for (let row = 0; row < this.stage(stage).count; row++) {
        const from = origin?.[row] ?? row;
        next[from] = (next[from] as number) + 1;
      }
    }
    const { stage } = required(this.outlets[outlet]);
    const origin = this.origin(stage);
    let some = false;
    const ks = Array.from({ length: this.stage(stage).count }, (_, row) => {
      const from = origin?.[row] ?? row;
      const k = next[from] as number;
      next[from] = k + 1;
      if (k > 0) some = true;
      return k;
    });
    const numbers = some ? ks : undefined;
    this.#numbers.set(outlet, numbers);
    return numbers;
  }

  /** Index of each row of an outlet among {@link storedRows} of its stage; `undefined`: the row itself. */
  storedIndexes(outlet: Pick<OutletColumns, "stage" | "stored">): readonly number[] | undefined {
    const parentOf = (stage: number) => this.stage(stage).parent;
    const rows = rowsInStored(outlet, parentOf, (stage) => this.ahead(stage));
    const { payload, transit } = this.storedRows(outlet.stored);
    if (payload === undefined) return rows;
    const rank = new Map([...payload, ...transit].map((row, index) => [row, index]));
    return Array.from(
      { length: this.stage(outlet.stage).count },
      (_, row) => rank.get(rows?.[row] ?? row) as number,
    );
  }

  /** Where the records of a stage are. Whoever reads them all has those of the payload first. */
  storedRows(stage: number): StoredRows {
    const leaving = storedRows(
      this.outlets.filter((other) => other.stored === stage),
      (at) => this.stage(at).parent,
      (at) => this.ahead(at),
      (at) => this.stage(at).count,
    );
    return partedRows(this.#event.captured, stage, leaving, this.stage(stage).count);
  }

  /** Where the record of a stage's row is; `undefined`: it does not leave its segment, and was not kept. */
  storedAt(stage: number, row: number): StoredAt | undefined {
    return placeAmong(this.storedRows(stage), row);
  }

  /** Whether rows of a stage can differ by path from the inputs that they come from. */
  addsToPaths(stage: number): boolean {
    for (let at = stage; at !== SEGMENT_INPUT; at = this.ahead(at)) {
      const columns = required(this.#event.stages?.[at]);
      if (columns.indexed || columns.branch !== undefined) return true;
    }
    return false;
  }

  paths(stage: number): readonly Path[] {
    if (stage === SEGMENT_INPUT) return this.#pathsOfInputs();
    const columns = required(this.#event.stages?.[stage]);
    const { parent, count } = this.stage(stage);
    const before = this.paths(this.ahead(stage));
    const branch = columns.branch === undefined ? "" : `${columns.branch}\0`;
    let index = 0;
    let last = -1;
    return Array.from({ length: count }, (_, row) => {
      const input = parent?.[row] ?? row;
      index = input === last ? index + 1 : 0;
      last = input;
      return (before[input] as Path) + branch + (columns.indexed ? indexElement(index) : "");
    });
  }

  #pathsOfInputs(): readonly Path[] {
    const { paths, count } = this.#event;
    this.#inputPaths ??=
      paths === undefined ? new Array<Path>(count).fill(ROOT_PATH) : decodeByteTexts(paths, count);
    return this.#inputPaths;
  }
}

function rowsOf(results: Uint8Array, inputs: number): RowsOfStage {
  const parent = decodeParents(results, inputs);
  return { count: parent.length, parent };
}

/** The entries of a column at `rows`; all of them if these are not given. */
export function pick<T>(column: readonly T[], rows: readonly number[] | undefined): readonly T[] {
  if (rows === undefined) return column;
  const picked = new Array<T>(rows.length);
  for (let at = 0; at < rows.length; at++) picked[at] = column[rows[at] as number] as T;
  return picked;
}

/** What an event has to have. Throws `LogDamaged`. */
export function required<T>(value: T | undefined): T {
  if (value === undefined) throw columnsDoNotFit();
  return value;
}

export function columnsDoNotFit(): HeadwaterError {
  return new HeadwaterError("LogDamaged", "an event's columns do not fit each other", {
    hint: "The event was not written by Headwater, or was changed after it.",
  });
}
