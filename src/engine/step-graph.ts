import { ColumnReader, decodeDeltas, decodePlain, decodeRuns } from "../core/columns.ts";
import { DIGEST_BYTES } from "../core/digest.ts";
import type { StepsRecorded } from "../core/events.ts";
import { type Path, ROOT_PATH } from "../core/path.ts";
import { SEGMENT_INPUT } from "../pipeline/plan.ts";
import { type Members, readMembers } from "./members.ts";
import { decodeTimes } from "./outlet-decoder.ts";
import { columnsDoNotFit, required, StepShape } from "./step-shape.ts";
import { RESULT_KINDS } from "./timed-output.ts";

/** An input of a segment's partition, as its event has it. */
export interface StepInput {
  /** Where it comes from; `undefined`: it is a firing. */
  readonly parent: { readonly stream: string; readonly n: number; readonly k: number } | undefined;
  readonly ordinal: number;
  /** What it descends from: a source, or a window or join. */
  readonly source: string;
  /** The N of its root there, or the ordinal of the firing that it descends from. */
  readonly root: number;
  readonly path: Path;
  /** Event time in milliseconds since 1970. */
  readonly time: number | undefined;
}

/** A row of a stage: `stage` is its index in the event, `row` counts the rows of the whole batch. */
export interface StepRow {
  readonly stage: number;
  readonly row: number;
}

/** How an input row of a stage ended there. */
export type StepEnd = "failed" | "late" | "none";

/**
 * The provenance of one batch: what each row of each stage was made of. Rows of one input lie together in every stage,
 * in the order in which they were made; all columns are decoded as far as they are asked for, and once.
 */
export class StepGraph {
  readonly event: StepsRecorded;
  readonly shape: StepShape;
  readonly #inputs: InputColumns;
  readonly #columns = new Map<string, readonly number[] | undefined>();
  #members: readonly Members[] | undefined;

  constructor(event: StepsRecorded) {
    this.event = event;
    this.shape = new StepShape(event);
    this.#inputs = inputColumns(event);
  }

  /** The input with this row in the batch. */
  input(row: number): StepInput {
    const columns = this.#inputs;
    const { event } = this;
    return {
      parent: columns.firings.has(row)
        ? undefined
        : {
            stream: required(event.streams?.[columns.upstream?.[row] ?? 0]),
            n: required(columns.parents[row]),
            k: columns.parentKs?.[row] ?? 0,
          },
      ordinal: required(columns.ordinals[row]),
      source: event.sources?.[columns.source?.[row] ?? 0] ?? "",
      root: required(columns.roots[row]),
      path: this.shape.paths(SEGMENT_INPUT)[row] ?? ROOT_PATH,
      time: columns.times?.[row],
    };
  }

  /** The inputs that came from an output of an upstream stream: rows in the batch. */
  *inputsFrom(parent: {
    readonly stream: string;
    readonly n: number;
    readonly k: number;
  }): Generator<number> {
    const { parents, parentKs, upstream, firings } = this.#inputs;
    const stream = this.event.streams?.indexOf(parent.stream) ?? -1;
    for (const [row, n] of parents.entries()) {
      if (n !== parent.n || (parentKs?.[row] ?? 0) !== parent.k) continue;
      if ((upstream?.[row] ?? 0) === stream && !firings.has(row)) yield row;
    }
  }

  /** The rows of a stage that come from an input, from `start` up to, without, `end`. */
  rowsOf(stage: number, input: number): { readonly start: number; readonly end: number } {
    const origin = this.shape.origin(stage);
    if (origin === undefined) {
      const within = input < this.shape.stage(stage).count;
      return { start: input, end: within ? input + 1 : input };
    }
    return { start: lowerBound(origin, input), end: lowerBound(origin, input + 1) };
  }

  /** The input that a row comes from, and which of its rows it is. */
  placeOf({ stage, row }: StepRow): { readonly input: number; readonly k: number } {
    const input = this.shape.origin(stage)?.[row] ?? row;
    return { input, k: row - this.rowsOf(stage, input).start };
  }

  /** The row ahead that a row was made of; at a stage of the segment's inputs one of these. */
  parentOf({ stage, row }: StepRow): StepRow {
    return { stage: this.shape.ahead(stage), row: this.shape.stage(stage).parent?.[row] ?? row };
  }

  /** The digest that a stage gave a row; `undefined`: it has the row ahead's, or none was made. */
  digest({ stage, row }: StepRow): Uint8Array | undefined {
    const digests = this.event.stages?.[stage]?.digests;
    if (digests === undefined) return undefined;
    if ((row + 1) * DIGEST_BYTES > digests.length) throw columnsDoNotFit();
    return digests.subarray(row * DIGEST_BYTES, (row + 1) * DIGEST_BYTES);
  }

  /** At a reduce: how far back the N of the step before is, from 0; `undefined`: it is the first of its key. */
  previous({ stage, row }: StepRow): number | undefined {
    const before = this.#column(stage, "previous", decodePlain)?.[row] ?? 0;
    return before === 0 ? undefined : before - 1;
  }

  /** At a window or join: what a result is. */
  resultKind({ stage, row }: StepRow): (typeof RESULT_KINDS)[number] {
    return RESULT_KINDS[this.#column(stage, "kinds", decodeRuns)?.[row] ?? 0] ?? "on-time";
  }

  /** At a split or route: the output that a row goes to. */
  label({ stage, row }: StepRow): string | undefined {
    const label = this.#column(stage, "label", decodeRuns)?.[row];
    return label === undefined ? undefined : this.event.stages?.[stage]?.labels?.[label];
  }

  /** How an input row of a stage that gave nothing ended. */
  endOf(stage: number, inputRow: number): StepEnd {
    const columns = this.event.stages?.[stage];
    const holds = (rows: Uint8Array | undefined) =>
      rows !== undefined && decodeDeltas(rows).includes(inputRow);
    if (holds(columns?.failed)) return "failed";
    return holds(columns?.late) ? "late" : "none";
  }

  /**
   * At the window or join that the segment begins with: the N's that a result was made of, as runs. `elsewhere` are the
   * bytes of the events that `membersIn` names. `undefined`: the event says none.
   */
  members(row: number, elsewhere?: Uint8Array): Members | undefined {
    const bytes = this.event.stages?.[0]?.members ?? elsewhere;
    if (bytes === undefined) return undefined;
    if (this.#members === undefined) {
      const input = new ColumnReader(bytes);
      this.#members = Array.from({ length: this.shape.stage(0).count }, () => readMembers(input));
    }
    return required(this.#members[row]);
  }

  /** The outputs that a row leaves the segment as, ascending. */
  outputsOf({ stage, row }: StepRow): readonly number[] {
    return this.shape.outlets.flatMap((outlet, index) =>
      outlet.stage === stage ? [this.shape.outputNumbers(index)?.[row] ?? 0] : [],
    );
  }

  /** The row that leaves the segment as the K-th output of an input; `undefined`: there is none. */
  output(input: number, k: number): (StepRow & { readonly outlet: number }) | undefined {
    for (const [outlet, { stage }] of this.shape.outlets.entries()) {
      const numbers = this.shape.outputNumbers(outlet);
      const { start, end } = this.rowsOf(stage, input);
      for (let row = start; row < end; row++) if ((numbers?.[row] ?? 0) === k) return { stage, row, outlet };
    }
    return undefined;
  }

  #column(
    stage: number,
    name: "previous" | "kinds" | "label",
    decode: (bytes: Uint8Array, count: number) => number[],
  ): readonly number[] | undefined {
    const key = `${stage} ${name}`;
    if (!this.#columns.has(key)) {
      const bytes = this.event.stages?.[stage]?.[name];
      this.#columns.set(key, bytes && decode(bytes, this.shape.stage(stage).count));
    }
    return this.#columns.get(key);
  }
}

interface InputColumns {
  readonly upstream: readonly number[] | undefined;
  readonly parents: readonly number[];
  readonly parentKs: readonly number[] | undefined;
  readonly ordinals: readonly number[];
  readonly source: readonly number[] | undefined;
  readonly roots: readonly number[];
  readonly times: readonly (number | undefined)[] | undefined;
  readonly firings: ReadonlySet<number>;
}

function inputColumns(event: StepsRecorded): InputColumns {
  const { count } = event;
  const parents = count === 0 ? [] : decodeDeltas(required(event.parents), count);
  return {
    parents,
    upstream: event.upstream && decodeRuns(event.upstream, count),
    parentKs: event.parentKs && decodePlain(event.parentKs, count),
    ordinals: count === 0 ? [] : decodeDeltas(required(event.ordinals), count),
    source: event.source && decodeRuns(event.source, count),
    roots: event.roots === undefined ? parents : decodeDeltas(event.roots, count),
    times: decodeTimes(event),
    firings: new Set(event.firings === undefined ? [] : decodeDeltas(event.firings)),
  };
}

/** The first place in an ascending column whose value is at least `value`. */
function lowerBound(column: readonly number[], value: number): number {
  let low = 0;
  let high = column.length;
  while (low < high) {
    const middle = (low + high) >> 1;
    if ((column[middle] as number) < value) low = middle + 1;
    else high = middle;
  }
  return low;
}
