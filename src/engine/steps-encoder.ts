import { encodeCanonical } from "../core/canonical.ts";
import { ColumnWriter, encodeByteTexts, encodeDeltas, encodePlain, encodeRuns } from "../core/columns.ts";
import type {
  OutletColumns,
  PayloadBlock,
  QuarantinedInput,
  QuarantinedRecord,
  Section,
  StageColumns,
  StepsRecorded,
} from "../core/events.ts";
import { LIMITS } from "../core/limits.ts";
import { addsIndex, type Outlet, recordsOf, SEGMENT_INPUT, type Segment } from "../pipeline/plan.ts";
import { checkKey } from "./operators.ts";
import { type Origins, RETRIED, RETRIED_NAME, rootName } from "./origins.ts";
import { type InputRows, NO_BYTES, recordBytes } from "./rows.ts";
import type { SegmentResult } from "./segment-engine.ts";
import type { StageRows } from "./stage-output.ts";
import { storedBlocks } from "./stored-blocks.ts";
import { reasonOf } from "./thrown.ts";
import type { TimedRows } from "./timed-output.ts";

/** The part of a StepsRecorded event that a batch decides; the rest is the owner's. */
export type StepColumns = Pick<
  StepsRecorded,
  | "streams"
  | "upstream"
  | "parents"
  | "parentKs"
  | "ordinals"
  | "sources"
  | "source"
  | "roots"
  | "paths"
  | "times"
  | "timeless"
  | "firings"
  | "entry"
  | "stages"
  | "outlets"
  | "captured"
>;

/** A batch's steps, ready to be put into events. */
export interface EncodedSteps {
  readonly columns: StepColumns;
  /** Members of the first stage's results that are too many for the event itself; empty if there are none. */
  readonly members: Uint8Array;
  /** Records that are kept. */
  readonly payload: readonly PayloadBlock[];
  /** Records that leave the segment and are not kept. */
  readonly transit: readonly PayloadBlock[];
  readonly quarantined: readonly QuarantinedRecord[];
  readonly inputs: number;
  /** Input rows of all stages together: steps taken. */
  readonly steps: number;
}

export interface StepsEncoderOptions {
  readonly pipeline: string;
  /** As it is for these inputs. */
  readonly segment: Segment;
  readonly origins: Origins;
  /** Names of the upstream streams, in the order of `InputRows.upstreams`. */
  readonly streams: readonly string[];
  /** Whether upstream is a source, so that roots are parents. */
  readonly fromSource: boolean;
  readonly provenance: "full" | "off";
}

/** Makes columns of what a segment did with a batch: see StepsRecorded in docs/format.md. */
export function encodeSteps(
  options: StepsEncoderOptions,
  rows: InputRows,
  first: number,
  result: SegmentResult,
): EncodedSteps {
  const { segment } = options;
  const full = options.provenance === "full";
  const members = full ? membersOf(result) : NO_BYTES;
  const stored = storedBlocks(options, rows, result);
  const inline = members.length <= LIMITS.memberBytesInline;
  return {
    members: inline ? NO_BYTES : members,
    columns: {
      ...inputColumns(options, rows),
      stages: segment.stages.map((planned, at) => {
        const stage = result.stages[at] as StageRows;
        return {
          input: planned.input,
          ...(addsIndex(planned.definition) && { indexed: true as const }),
          ...(planned.branch !== "" && { branch: planned.definition.name }),
          ...(stage.results !== undefined && { results: encodeRuns(stage.results) }),
          ...(stage.failures.length > 0 && {
            failed: encodeDeltas(stage.failures.map((failure) => failure.row)),
          }),
          ...(stage.digests !== undefined && { digests: stage.digests }),
          ...(full && stage.previous !== undefined && { previous: encodePlain(stage.previous) }),
          ...(full && stage.label !== undefined && labelColumns(stage)),
          ...(planned.definition.kind === "select" && { select: planned.definition.label }),
          ...(full && stage.timed !== undefined && timedColumns(stage.timed, inline ? members : NO_BYTES)),
        } satisfies StageColumns;
      }),
      outlets: segment.outlets.map((outlet) => outletColumns(outlet, rows, result)),
      ...(stored.captured.length > 0 && { captured: stored.captured }),
    },
    payload: stored.payload,
    transit: stored.transit,
    quarantined: quarantined(options, rows, first, result),
    inputs: rows.count,
    steps: result.stages.reduce((sum, _stage, at) => sum + inputCount(segment, rows, result, at), 0),
  };
}

/** The members of all results of the window or join that the segment begins with, one after the other. */
function membersOf(result: SegmentResult): Uint8Array {
  const { timed } = result.stages[0] ?? {};
  return timed === undefined ? NO_BYTES : Buffer.concat(timed.members);
}

function timedColumns({ kinds, late }: TimedRows, members: Uint8Array): Partial<StageColumns> {
  return {
    ...(kinds.some((kind) => kind !== 0) && { kinds: encodeRuns(kinds) }),
    ...(members.length > 0 && { members }),
    ...(late.length > 0 && { late: encodeDeltas(late) }),
  };
}

function labelColumns({ labels = [], label = [] }: StageRows): Partial<StageColumns> {
  return { labels, label: encodeRuns(label) };
}

function inputCount(segment: Segment, rows: InputRows, result: SegmentResult, at: number): number {
  const input = segment.stages[at]?.input ?? SEGMENT_INPUT;
  return input === SEGMENT_INPUT ? rows.count : (result.stages[input]?.count ?? 0);
}

function inputColumns(options: StepsEncoderOptions, rows: InputRows): StepColumns {
  const { times, paths, parentKs, upstreams } = rows;
  return {
    ...upstreamColumns(options.streams, upstreams),
    parents: encodeDeltas(rows.parents),
    ...(parentKs?.some((k) => k !== 0) && { parentKs: encodePlain(parentKs) }),
    ordinals: encodeDeltas(rows.ordinals),
    ...originColumns(options.origins.names, rows.sources),
    ...((!options.fromSource || rows.firings.length > 0) && { roots: encodeDeltas(rows.roots) }),
    ...(rows.firings.length > 0 && { firings: encodeDeltas(rows.firings) }),
    ...(paths?.some((path) => path !== "") && { paths: encodeByteTexts(paths) }),
    ...(times?.some((time) => time !== undefined) && timeColumns(times)),
  };
}

/** Where some descend from what was put back, that comes before all other origins. */
function originColumns(
  origins: readonly string[],
  sources: readonly number[] | undefined,
): Pick<StepColumns, "sources" | "source"> {
  if (sources?.includes(RETRIED)) {
    const source = sources.map((origin) => (origin === RETRIED ? 0 : origin + 1));
    return { sources: [RETRIED_NAME, ...origins], source: encodeRuns(source) };
  }
  return {
    sources: origins,
    ...(sources !== undefined && origins.length > 1 && { source: encodeRuns(sources) }),
  };
}

/** Names in their order, each once, though two outlets of one segment may be read: K tells their records apart. */
function upstreamColumns(
  streams: readonly string[],
  upstreams: readonly number[] | undefined,
): Pick<StepColumns, "streams" | "upstream"> {
  const names = [...new Set(streams)].sort();
  if (upstreams === undefined || names.length === 1) return { streams: names };
  const places = streams.map((stream) => names.indexOf(stream));
  return { streams: names, upstream: encodeRuns(upstreams.map((at) => places[at] as number)) };
}

function timeColumns(times: readonly (number | undefined)[]): Pick<StepColumns, "times" | "timeless"> {
  const timeless: number[] = [];
  let before = 0;
  const known = times.map((time, row) => {
    if (time === undefined) timeless.push(row);
    else before = time;
    return before;
  });
  return { times: encodeDeltas(known), ...(timeless.length > 0 && { timeless: encodeDeltas(timeless) }) };
}

function outletColumns(outlet: Outlet, rows: InputRows, result: SegmentResult): OutletColumns {
  const base = {
    stage: outlet.stage,
    stored: outlet.stored,
    ...(outlet.keyed && { keys: keysOf(outlet, rows, result) }),
  };
  const partitions = result.stages[outlet.stage]?.partitions;
  return outlet.rekeys && partitions !== undefined ? { ...base, sections: sectionsOf(partitions) } : base;
}

/** The canonical bytes of each row's key. */
function keysOf(outlet: Outlet, rows: InputRows, result: SegmentResult): Uint8Array {
  const stage = outlet.stage === SEGMENT_INPUT ? undefined : result.stages[outlet.stage];
  const out = new ColumnWriter();
  for (let row = 0; row < (stage?.count ?? rows.count); row++) {
    const key = encodeCanonical(result.keyOf(stage?.origin?.[row] ?? row));
    out.uvarint(key.length);
    out.raw(key);
  }
  return out.finish();
}

/** The rows of each partition, ordered by partition. */
export function sectionsOf(partitions: readonly number[]): Section[] {
  const rowsOf = new Map<number, number[]>();
  for (const [row, partition] of partitions.entries()) {
    const rows = rowsOf.get(partition);
    if (rows === undefined) rowsOf.set(partition, [row]);
    else rows.push(row);
  }
  return [...rowsOf].sort(([a], [b]) => a - b).map(([partition, rows]) => [partition, encodeDeltas(rows)]);
}

function quarantined(
  options: StepsEncoderOptions,
  rows: InputRows,
  first: number,
  result: SegmentResult,
): QuarantinedRecord[] {
  const { segment } = options;
  const records: QuarantinedRecord[] = [];
  for (const [at, stage] of result.stages.entries()) {
    const planned = segment.stages[at];
    if (planned === undefined || stage.failures.length === 0) continue;
    const inputs = planned.input === SEGMENT_INPUT ? undefined : result.stages[planned.input];
    for (const { row, error, attempts, firing } of stage.failures) {
      const from = inputs?.origin?.[row] ?? row;
      const k = row - (inputs?.origin?.indexOf(from) ?? row);
      const record = bytesOfInput(segment, rows, result, planned.input, row);
      records.push({
        n: first + from,
        stage: planned.definition.name,
        row,
        k,
        ...reasonOf(error),
        ...(attempts !== undefined && { attempts }),
        record,
        ...placeOf(options, rows, planned.input, row, from, inputs),
        ...keyOf(result, from),
        ...(firing !== undefined && { firing }),
        ...(segment.upstreams.length > 1 && { edge: result.edgeOf(from) }),
        input: inputOf(options, rows, from),
      });
    }
  }
  return records;
}

/** The canonical bytes of a stage's row: those that were hashed, where they are still there. */
function bytesOfInput(
  segment: Segment,
  rows: InputRows,
  result: SegmentResult,
  stage: number,
  row: number,
): Uint8Array {
  const owner = recordsOf(segment, stage);
  let there = row;
  for (let at = stage; at !== owner; at = segment.stages[at]?.input ?? SEGMENT_INPUT) {
    there = result.stages[at]?.parent?.[there] ?? there;
  }
  if (owner === SEGMENT_INPUT) {
    const bytes = recordBytes(rows, there).slice();
    // A firing is no record: null stands for it.
    return bytes.length === 0 ? encodeCanonical(null) : bytes;
  }
  const made = result.stages[owner];
  if (made?.packed === undefined) return encodeCanonical(made?.records[there] ?? null);
  const start = made.packed.lengths.slice(0, there).reduce((sum, length) => sum + length, 0);
  return made.packed.bytes.slice(start, start + (made.packed.lengths[there] ?? 0));
}

/** As the step event has it. */
function inputOf({ streams }: StepsEncoderOptions, rows: InputRows, row: number): QuarantinedInput {
  const time = rows.times?.[row];
  const firing = rows.firings.includes(row);
  const stream = streams[rows.upstreams?.[row] ?? 0] ?? streams[0] ?? "";
  const k = stream.startsWith("steps_") ? `.${rows.parentKs?.[row] ?? 0}` : "";
  return {
    ...(firing ? { firing } : { parent: `${stream}@${rows.parents[row]}${k}` }),
    ...(time !== undefined && { time }),
  };
}

/** What identifiers that are given to the outside are derived from. */
function placeOf(
  { pipeline, origins }: StepsEncoderOptions,
  rows: InputRows,
  input: number,
  row: number,
  from: number,
  inputs: StageRows | undefined,
): Pick<QuarantinedRecord, "root" | "path"> {
  const before = input === SEGMENT_INPUT ? rows.before?.[from] : undefined;
  const root = before?.root ?? rootName(pipeline, origins, rows.sources?.[from] ?? 0, rows.roots[from] ?? 0);
  const path = before?.path ?? inputs?.pathOf(row) ?? rows.paths?.[row] ?? "";
  return { root, ...(path !== "" && { path: Buffer.from(path, "latin1") }) };
}

/** The key of an input, where it has one that is known. */
function keyOf(result: SegmentResult, row: number): Pick<QuarantinedRecord, "key"> {
  try {
    const key = result.keyOf(row);
    return key === undefined ? {} : { key: encodeCanonical(checkKey(key)) };
  } catch {
    // What its function threw is what the record is quarantined for.
    return {};
  }
}
