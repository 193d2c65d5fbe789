import { ColumnReader, decodeDeltas, decodePlain, decodeRuns } from "../core/columns.ts";
import { DIGEST_BYTES, equalBytes } from "../core/digest.ts";
import { HeadwaterError } from "../core/errors.ts";
import type { Section, StageColumns, StepsRecorded } from "../core/events.ts";
import { SEGMENT_INPUT, type Segment } from "../pipeline/plan.ts";
import { encodeMembers, readMembers } from "./members.ts";
import { type InputRows, NO_BYTES } from "./rows.ts";
import type { SegmentResult } from "./segment-engine.ts";
import type { StageRows } from "./stage-output.ts";

/** What differs. */
export type DivergenceKind =
  /** The input is another record than the one that was recorded. */
  | "input"
  /** The stage failed, and had not; or had, and did not. */
  | "failed"
  /** It gave more results, or fewer. */
  | "results"
  /** A result is another record. */
  | "digest"
  /** A result has gone to another output of a split or route. */
  | "label"
  /** A keyBy has given a result to another partition. */
  | "partition"
  /** A reduce went on from another step. */
  | "previous"
  /** A result of a window or join is of another kind, or made of other inputs; or the input came too late, or did not. */
  | "timed";

/** The first difference between what a stage made of one input of the segment and what it makes now. */
export interface StepDivergence {
  readonly kind: DivergenceKind;
  /** N of the segment's input. */
  readonly n: number;
  /** Index of the stage; {@link SEGMENT_INPUT}: the input itself. */
  readonly stage: number;
  /** Index of the result among those of that input. */
  readonly k: number;
  /** The recorded digest of the result; `undefined` if there is none. */
  readonly expected: Uint8Array | undefined;
  /** Row of the result in what was compared; `undefined` if there is none. */
  readonly row: number | undefined;
}

/** What came of comparing one piece of an event. */
export interface Comparison {
  /** Steps that were recorded in it: input rows of all stages together. */
  readonly steps: number;
  /** Stages in order, and for each stage inputs in order: at most one for each input at a stage. */
  readonly divergences: readonly StepDivergence[];
}

/** Whether the step that a stage took for an input is asked for: by the input's row, and the stage's index. */
export type WantedStep = (row: number, stage: number) => boolean;

/**
 * Compares a step event with what its inputs give when they are run again, piece by piece: a piece may end between
 * any two inputs, so that batches need not be cut as they were. Throws `LogDamaged` where the event's columns do not
 * fit each other or the segment.
 */
export class StepsComparison {
  readonly #event: StepsRecorded;
  readonly #parents: readonly number[];
  readonly #ordinals: readonly number[];
  readonly #firings: ReadonlySet<number>;
  readonly #stages: readonly RecordedStage[];
  #taken = 0;

  /** `members` is the column of that name, where the event only refers to it. */
  constructor(event: StepsRecorded, segment: Segment, members?: Uint8Array) {
    const { stages = [], outlets = [], count } = event;
    if (stages.length !== segment.stages.length) throw damaged();
    this.#event = event;
    this.#parents = decodeDeltas(event.parents ?? NO_BYTES, count);
    this.#ordinals = decodeDeltas(event.ordinals ?? NO_BYTES, count);
    this.#firings = new Set(decodeDeltas(event.firings ?? NO_BYTES));
    const inputs: RecordedRows = { count, starts: Array.from({ length: count + 1 }, (_, row) => row) };
    const recorded: RecordedStage[] = [];
    for (const [at, columns] of stages.entries()) {
      if (columns.input !== segment.stages[at]?.input) throw damaged();
      const ahead = columns.input === SEGMENT_INPUT ? inputs : recorded[columns.input];
      if (ahead === undefined) throw damaged();
      const { sections } =
        outlets.find(({ stage, sections }) => stage === at && sections !== undefined) ?? {};
      recorded.push(
        new RecordedStage(columns, ahead, {
          ...(at === 0 && members !== undefined && { members }),
          ...(sections && { sections }),
        }),
      );
    }
    this.#stages = recorded;
  }

  /** Inputs of the event that are still to be compared. */
  get left(): number {
    return this.#event.count - this.#taken;
  }

  /** Passes over the next inputs of the event, which are not there to be compared. */
  pass(inputs: number): void {
    this.#taken += inputs;
  }

  /**
   * Compares the next inputs of the event with what came of them. Told are the steps that are `wanted`, all if that is absent: what the stage of
   * an index made of an input; of {@link SEGMENT_INPUT}, whether that is the one that was recorded.
   */
  compare(rows: InputRows, result: SegmentResult, wanted?: WantedStep): Comparison {
    const from = this.#taken;
    const to = from + rows.count;
    const { first } = this.#event;
    const divergences: StepDivergence[] = [];
    const firings = new Set(rows.firings);
    for (let at = from; at < to; at++) {
      const row = at - from;
      const fires = firings.has(row);
      // A firing has no parent: what stands for it depends on where batches were cut.
      const same = fires === this.#firings.has(at) && (fires || this.#parents[at] === rows.parents[row]);
      if (same && this.#ordinals[at] === rows.ordinals[row]) continue;
      const n = first + at;
      divergences.push({ kind: "input", n, stage: SEGMENT_INPUT, k: 0, expected: undefined, row });
    }
    for (const [stage, recorded] of this.#stages.entries()) {
      const made = result.stages[stage] as StageRows;
      const ahead = recorded.input === SEGMENT_INPUT ? undefined : result.stages[recorded.input];
      for (const difference of recorded.compare(made, ahead, from, to)) {
        const { at, ...rest } = difference;
        divergences.push({ ...rest, n: first + at, stage });
      }
    }
    const steps = this.#stepsBetween(from, to, wanted);
    this.#taken = to;
    if (wanted === undefined) return { steps, divergences };
    return { steps, divergences: divergences.filter(({ n, stage }) => wanted(n - first - from, stage)) };
  }

  /** The next inputs of the event, all that are left, have not come again: each of them that is `wanted` is another. */
  lack(wanted?: WantedStep): Comparison {
    const from = this.#taken;
    const { first, count } = this.#event;
    const divergences: StepDivergence[] = [];
    for (let at = from; at < count; at++) {
      if (wanted?.(at - from, SEGMENT_INPUT) === false) continue;
      const none = { k: 0, expected: undefined, row: undefined };
      divergences.push({ kind: "input", n: first + at, stage: SEGMENT_INPUT, ...none });
    }
    const steps = this.#stepsBetween(from, count, wanted);
    this.#taken = count;
    return { steps, divergences };
  }

  /** Steps that were recorded for the event's inputs from `from` up to `to`. */
  #stepsBetween(from: number, to: number, wanted: WantedStep | undefined): number {
    let steps = 0;
    for (const [stage, recorded] of this.#stages.entries()) {
      if (wanted === undefined) steps += recorded.inputsBetween(from, to);
      else
        for (let row = 0; row < to - from; row++) {
          if (wanted(row, stage)) steps += recorded.inputsBetween(from + row, from + row + 1);
        }
    }
    return steps;
  }
}

/** Rows, and where those begin that descend from each of the event's inputs; one more entry is their end. */
interface RecordedRows {
  readonly count: number;
  readonly starts: readonly number[];
}

/** A difference at the event's input `at`. */
type Difference = Omit<StepDivergence, "n" | "stage"> & { readonly at: number };

/** One stage of a step event, decoded. */
class RecordedStage implements RecordedRows {
  readonly input: number;
  readonly count: number;
  readonly starts: readonly number[];
  readonly #ahead: RecordedRows;
  readonly #digests: Uint8Array | undefined;
  readonly #failed: readonly number[];
  readonly #late: readonly number[];
  readonly #labels: readonly string[] | undefined;
  readonly #previous: readonly number[] | undefined;
  readonly #kinds: readonly number[] | undefined;
  readonly #members: readonly Uint8Array[] | undefined;
  readonly #partitions: readonly (number | undefined)[] | undefined;

  /** `sections`: of the outlet that a keyBy gives its rows to. */
  constructor(
    columns: StageColumns,
    ahead: RecordedRows,
    { members, sections }: { readonly members?: Uint8Array; readonly sections?: readonly Section[] },
  ) {
    const { results, digests, failed, late, label, labels = [], previous, kinds } = columns;
    this.input = columns.input;
    this.#ahead = ahead;
    if (results === undefined) {
      this.starts = ahead.starts;
      this.count = ahead.count;
    } else {
      const ends = [0];
      for (const count of decodeRuns(results, ahead.count)) ends.push((ends.at(-1) as number) + count);
      this.starts = ahead.starts.map((row) => ends[row] as number);
      this.count = ends.at(-1) as number;
    }
    if (digests !== undefined && digests.length !== this.count * DIGEST_BYTES) throw damaged();
    this.#digests = digests;
    this.#failed = failed === undefined ? [] : inputsOfRows(decodeDeltas(failed), ahead.starts);
    this.#late = late === undefined ? [] : inputsOfRows(decodeDeltas(late), ahead.starts);
    this.#labels = label && decodeRuns(label, this.count).map((at) => labels[at] ?? "");
    this.#previous = previous && decodePlain(previous, this.count);
    this.#kinds = kinds && decodeRuns(kinds, this.count);
    this.#partitions = sections && partitionsOf(sections, this.count);
    const named = columns.members ?? members;
    if (named !== undefined) {
      const column = new ColumnReader(named);
      this.#members = Array.from({ length: this.count }, () => encodeMembers(readMembers(column)));
    }
  }

  /** Input rows of the stage that descend from the event's inputs from `from` up to, and without, `to`. */
  inputsBetween(from: number, to: number): number {
    return (this.#ahead.starts[to] ?? 0) - (this.#ahead.starts[from] ?? 0);
  }

  /** For each of the event's inputs from `from` up to `to` the first difference that it shows at this stage. */
  compare(made: StageRows, ahead: StageRows | undefined, from: number, to: number): Difference[] {
    const start = this.starts[from] ?? 0;
    const end = this.starts[to] ?? 0;
    const starts = startsOf(made.origin, made.count, to - from);
    const failed = made.failures.map(({ row }) => from + (ahead?.origin?.[row] ?? row));
    const late = made.timed?.late.map((row) => from + row) ?? [];
    const inRange = (at: number) => at >= from && at < to;
    const unlike = new Set([
      ...unpaired(this.#failed.filter(inRange), failed),
      ...unpaired(this.#late.filter(inRange), late),
    ]);
    if (unlike.size === 0 && this.#isSame(made, start, end) && this.#hasStarts(starts, from)) return [];
    const differences: Difference[] = [];
    for (let at = from; at < to; at++) {
      const difference = this.#differenceAt(
        made,
        at,
        starts[at - from] as number,
        starts[at - from + 1] as number,
      );
      if (unlike.has(at) && (difference === undefined || difference.kind === "results")) {
        const kind = this.#late.includes(at) === late.includes(at) ? "failed" : "timed";
        differences.push({ k: 0, expected: undefined, row: undefined, ...difference, kind, at });
      } else if (difference !== undefined) differences.push(difference);
    }
    return differences;
  }

  /** Whether all rows are as recorded: the usual case, told by whole columns. */
  #isSame(made: StageRows, start: number, end: number): boolean {
    if (made.count !== end - start) return false;
    const bytes = this.#digests?.subarray(start * DIGEST_BYTES, end * DIGEST_BYTES);
    if (bytes !== undefined && !equalBytes(bytes, made.digests ?? NO_BYTES)) return false;
    for (let row = 0; row < made.count; row++) {
      if (this.#placeDiffers(made, start + row, row) !== undefined) return false;
    }
    return true;
  }

  #hasStarts(starts: readonly number[], from: number): boolean {
    const offset = this.starts[from] ?? 0;
    return starts.every((row, at) => row + offset === this.starts[from + at]);
  }

  /** What differs of one input whose rows are now those from `start` up to `end`. */
  #differenceAt(made: StageRows, at: number, start: number, end: number): Difference | undefined {
    const recordedStart = this.starts[at] ?? 0;
    const recorded = (this.starts[at + 1] ?? 0) - recordedStart;
    for (let k = 0; k < Math.min(recorded, end - start); k++) {
      const expected = this.#digestOf(recordedStart + k);
      const actual = made.digests?.subarray((start + k) * DIGEST_BYTES, (start + k + 1) * DIGEST_BYTES);
      const same = expected === undefined || (actual !== undefined && equalBytes(expected, actual));
      const kind = same ? this.#placeDiffers(made, recordedStart + k, start + k) : "digest";
      if (kind !== undefined) return { kind, at, k, expected, row: start + k };
    }
    if (recorded === end - start) return undefined;
    const k = Math.min(recorded, end - start);
    const expected = k < recorded ? this.#digestOf(recordedStart + k) : undefined;
    return { kind: "results", at, k, expected, row: k < end - start ? start + k : undefined };
  }

  /** What differs of a result beside the record itself. */
  #placeDiffers(made: StageRows, recorded: number, row: number): DivergenceKind | undefined {
    if (this.#labels !== undefined && this.#labels[recorded] !== made.labels?.[made.label?.[row] ?? -1])
      return "label";
    if (this.#partitions !== undefined && this.#partitions[recorded] !== made.partitions?.[row])
      return "partition";
    if (this.#previous !== undefined && this.#previous[recorded] !== made.previous?.[row]) return "previous";
    if (made.timed === undefined) return undefined;
    if ((this.#kinds?.[recorded] ?? 0) !== made.timed.kinds[row]) return "timed";
    const members = this.#members?.[recorded];
    return members !== undefined && !equalBytes(members, made.timed.members[row] ?? NO_BYTES)
      ? "timed"
      : undefined;
  }

  #digestOf(row: number): Uint8Array | undefined {
    return this.#digests?.subarray(row * DIGEST_BYTES, (row + 1) * DIGEST_BYTES);
  }
}

/** The partition of each row; `undefined` where none has it. */
function partitionsOf(sections: readonly Section[], count: number): (number | undefined)[] {
  const partitions = new Array<number | undefined>(count).fill(undefined);
  for (const [partition, rows] of sections) for (const row of decodeDeltas(rows)) partitions[row] = partition;
  return partitions;
}

/** The event's inputs that rows of a stage's input descend from: `starts` says where those of each begin. */
function inputsOfRows(rows: readonly number[], starts: readonly number[]): number[] {
  let at = 0;
  return rows.map((row) => {
    while ((starts[at + 1] ?? Number.POSITIVE_INFINITY) <= row) at++;
    return at;
  });
}

/** Entries of either list, both ascending, that the other does not have as often. */
function unpaired(a: readonly number[], b: readonly number[]): number[] {
  if (a.length === b.length && a.every((value, at) => value === b[at])) return [];
  const counts = new Map<number, number>();
  for (const value of a) counts.set(value, (counts.get(value) ?? 0) + 1);
  for (const value of b) counts.set(value, (counts.get(value) ?? 0) - 1);
  return [...counts].filter(([, count]) => count !== 0).map(([value]) => value);
}

/** Where the rows begin that descend from each of `inputs` inputs, and where they end. */
function startsOf(origin: readonly number[] | undefined, count: number, inputs: number): readonly number[] {
  const starts: number[] = [];
  let row = 0;
  for (let input = 0; input <= inputs; input++) {
    while (row < count && (origin?.[row] ?? row) < input) row++;
    starts.push(row);
  }
  return starts;
}

function damaged(): HeadwaterError {
  return new HeadwaterError("LogDamaged", "an event's columns do not fit each other or its segment", {
    hint: "The event was not written by Headwater, or was changed after it.",
  });
}
