import { createHash } from "node:crypto";
import {
  ColumnReader,
  decodeByteTexts,
  decodeDeltas,
  decodePlain,
  decodeRuns,
} from "../../src/core/columns.ts";
import type { Section, StageColumns, StepsRecorded } from "../../src/core/events.ts";

/** A row of a stage, or an input. */
export interface Row {
  /** Index of the segment's input that it comes from. */
  readonly origin: number;
  /** Row of the stage ahead. */
  readonly parent: number;
  /** One character a byte. */
  readonly path: string;
  /** Hex; of a stage without records of its own that of the stage ahead. */
  readonly digest: string;
}

export interface Input extends Row {
  readonly upstream: string;
  readonly parentN: number;
  readonly parentK: number;
  readonly ordinal: number;
  readonly source: string;
  /** Place of the source, or of the window or join, in the logical order. */
  readonly rank: number;
  readonly root: number;
  /** Whether it is a firing, and no record. */
  readonly firing: boolean;
  readonly time: number | undefined;
}

/** The digest of null, which stands for the record that a firing is not. */
const NO_RECORD = createHash("sha256").update(Uint8Array.of(0xc0)).digest("hex");

/** What a stage did, by its input rows. */
export interface Stage {
  readonly input: number;
  readonly results: readonly number[];
  readonly failed: ReadonlySet<number>;
  readonly rows: readonly Row[];
  readonly own: boolean;
  readonly previous: readonly number[] | undefined;
  /** At a window or join: for each row what it is, and the N's that it was made of. */
  readonly kinds: readonly number[] | undefined;
  readonly members: readonly string[] | undefined;
  /** Input rows that came too late. */
  readonly late: ReadonlySet<number>;
  /** At a split or route: for each row its label. */
  readonly labels: readonly string[] | undefined;
}

export interface Outlet {
  readonly stored: number;
  readonly rows: readonly {
    readonly row: Row;
    readonly k: number;
    readonly partition: number | undefined;
    /** Row of the stored stage that holds the record. */
    readonly storedRow: number;
  }[];
}

/**
 * A step event's columns as rows. `digestOf` answers the digest of an upstream output; `members` are those that the
 * event refers to, if it does.
 */
export function stepsRows(
  event: StepsRecorded,
  digestOf: (stream: string, n: number, k: number) => string,
  members: Uint8Array | undefined,
): { inputs: Input[]; stages: Stage[]; outlets: Outlet[] } {
  const inputs = decodeInputs(event, digestOf);
  const stages: Stage[] = [];
  const rowsOf = (stage: number): readonly Row[] => (stage < 0 ? inputs : at(stages, stage).rows);
  for (const columns of event.stages ?? []) {
    const ahead = rowsOf(columns.input);
    const results =
      columns.results === undefined ? ahead.map(() => 1) : decodeRuns(columns.results, ahead.length);
    const rows: Row[] = [];
    for (const [parent, count] of results.entries()) {
      const input = at(ahead, parent);
      for (let index = 0; index < count; index++) {
        const branch = columns.branch === undefined ? "" : `${columns.branch}\0`;
        // No test gives more than 247 results: each index is one byte.
        const path = input.path + branch + (columns.indexed ? String.fromCharCode(index) : "");
        const digest =
          columns.digests === undefined ? input.digest : hex(columns.digests, rows.length) || "missing";
        rows.push({ origin: input.origin, parent, path, digest });
      }
    }
    if (columns.digests !== undefined && columns.digests.length !== rows.length * 32) {
      throw new Error("a stage has more or fewer digests than rows");
    }
    stages.push({
      input: columns.input,
      results,
      failed: new Set(columns.failed === undefined ? [] : decodeDeltas(columns.failed)),
      rows,
      own: columns.digests !== undefined,
      previous: columns.previous === undefined ? undefined : decodePlain(columns.previous, rows.length),
      ...resultColumns(columns, rows.length, columns.membersIn === undefined ? columns.members : members),
    });
  }
  const nextK = inputs.map(() => 0);
  const outlets = (event.outlets ?? []).map(({ stage, stored, sections }) => {
    const partitions = partitionOfRows(sections);
    const rows = rowsOf(stage).map((row, index) => {
      const k = at(nextK, row.origin);
      nextK[row.origin] = k + 1;
      let storedRow = index;
      for (let of = stage; of !== stored; of = at(stages, of).input)
        storedRow = at(rowsOf(of), storedRow).parent;
      return { row, k, partition: partitions?.get(index), storedRow };
    });
    return { stored, rows };
  });
  return { inputs, stages, outlets };
}

/** What windows, joins, splits and routes say of each result. */
function resultColumns(
  { kinds, labels, label, late }: StageColumns,
  count: number,
  members: Uint8Array | undefined,
): Pick<Stage, "kinds" | "members" | "late" | "labels"> {
  const named = label === undefined ? undefined : decodeRuns(label, count);
  const allOnTime = members && new Array<number>(count).fill(0);
  return {
    kinds: kinds === undefined ? allOnTime : decodeRuns(kinds, count),
    members: members && decodeMembers(members, count),
    late: new Set(late === undefined ? [] : decodeDeltas(late)),
    labels: named?.map((index) => at(must(labels), index)),
  };
}

/** For each row its runs of N's as text: `3-5,8`. */
function decodeMembers(bytes: Uint8Array, count: number): string[] {
  const input = new ColumnReader(bytes);
  const rows = Array.from({ length: count }, () => {
    const runs: string[] = [];
    let next = 0;
    for (let left = input.uvarint(); left > 0; left--) {
      const first = next + input.uvarint();
      next = first + input.uvarint();
      runs.push(next === first + 1 ? String(first) : `${first}-${next - 1}`);
    }
    return runs.join();
  });
  if (!input.done) throw new Error("a stage has more members than rows");
  return rows;
}

function decodeInputs(
  event: StepsRecorded,
  digestOf: (stream: string, n: number, k: number) => string,
): Input[] {
  const { count } = event;
  const deltas = (column: Uint8Array | undefined) =>
    column === undefined ? undefined : decodeDeltas(column, count);
  const parents = must(deltas(event.parents));
  const ks = event.parentKs === undefined ? undefined : decodePlain(event.parentKs, count);
  const upstream = event.upstream === undefined ? undefined : decodeRuns(event.upstream, count);
  const source = event.source === undefined ? undefined : decodeRuns(event.source, count);
  const paths = event.paths === undefined ? undefined : decodeByteTexts(event.paths, count);
  const ordinals = must(deltas(event.ordinals));
  const roots = deltas(event.roots) ?? parents;
  const times: (number | undefined)[] = deltas(event.times) ?? parents.map(() => undefined);
  for (const row of event.timeless === undefined ? [] : decodeDeltas(event.timeless)) times[row] = undefined;
  const firings = new Set(event.firings === undefined ? [] : decodeDeltas(event.firings));
  return parents.map((parentN, row) => {
    const stream = at(must(event.streams), upstream?.[row] ?? 0);
    const parentK = ks?.[row] ?? 0;
    return {
      origin: row,
      parent: row,
      path: paths?.[row] ?? "",
      digest: firings.has(row) ? NO_RECORD : digestOf(stream, parentN, parentK),
      upstream: stream,
      parentN,
      parentK,
      ordinal: at(ordinals, row),
      source: at(must(event.sources), source?.[row] ?? 0),
      // What was put back comes before all others, and is listed only where there is some.
      rank: (source?.[row] ?? 0) - (event.sources?.[0] === "" ? 1 : 0),
      root: at(roots, row),
      firing: firings.has(row),
      time: times[row],
    };
  });
}

/** Row → partition, of rows in sections. */
export function partitionOfRows(sections: readonly Section[] | undefined): Map<number, number> | undefined {
  if (sections === undefined) return undefined;
  return new Map(sections.flatMap(([partition, rows]) => decodeDeltas(rows).map((row) => [row, partition])));
}

/** The digest of row `row` of a column. */
export function hex(digests: Uint8Array, row: number): string {
  return Buffer.from(digests.subarray(row * 32, row * 32 + 32)).toString("hex");
}

export function at<T>(list: readonly T[], index: number): T {
  return must(list[index]);
}

export function must<T>(value: T | undefined): T {
  if (value === undefined) throw new Error("an event's columns do not fit each other");
  return value;
}
