import { encodeDeltas, encodePlain } from "../core/columns.ts";
import type { CapturedRows, PayloadBlock } from "../core/events.ts";
import { CAPTURE_ENDS, type Capture } from "../pipeline/capture.ts";
import { makesRecords, SEGMENT_INPUT, type Segment } from "../pipeline/plan.ts";
import { type Origins, rootName } from "./origins.ts";
import { type InputRows, recordBytes } from "./rows.ts";
import { isSampled } from "./sampling.ts";
import type { SegmentResult } from "./segment-engine.ts";
import type { Packed, StageRows } from "./stage-output.ts";
import { storedRows } from "./stored-rows.ts";

/** The records of a batch that are put into events, as "Capture" in docs/format.md says. */
export interface StoredBlocks {
  /** Those that are kept. */
  readonly payload: readonly PayloadBlock[];
  /** Those that leave the segment and are not kept. */
  readonly transit: readonly PayloadBlock[];
  /** Empty if just those that leave are kept, and all of them. */
  readonly captured: readonly CapturedRows[];
}

interface Blocks {
  readonly pipeline: string;
  readonly origins: Origins;
  readonly segment: Segment;
}

/** Parts the records of a batch into those that are kept and those in transit. */
export function storedBlocks(options: Blocks, rows: InputRows, result: SegmentResult): StoredBlocks {
  const { segment } = options;
  const payload: PayloadBlock[] = [];
  const transit: PayloadBlock[] = [];
  const captured: CapturedRows[] = [];
  const countOf = (stage: number) =>
    stage === SEGMENT_INPUT ? rows.count : (result.stages[stage]?.count ?? 0);
  for (const stage of storedStages(segment)) {
    const count = countOf(stage);
    const leaving = storedRows(
      segment.outlets.filter((outlet) => outlet.stored === stage),
      (at) => (result.stages[at] as StageRows).parent,
      (at) => segment.stages[at]?.input ?? SEGMENT_INPUT,
      countOf,
    );
    if (count === 0) continue;
    const capture = captureOf(segment, stage);
    if (capture.level === "ends" && capture.rate === 1) {
      if (leaving?.length !== 0) payload.push(blockOf(stage, leaving, rows, result));
      continue;
    }
    const kept = keptOf(options, capture, stage, leaving, rows, result);
    captured.push({
      stage,
      ...(kept.length < count && { rows: encodeDeltas(kept) }),
      ...(capture.rate < 1 && { rate: capture.rate }),
    });
    if (kept.length > 0) payload.push(blockOf(stage, kept.length < count ? kept : undefined, rows, result));
    const inPayload = new Set(kept);
    const rest = (leaving ?? numbers(count)).filter((row) => !inPayload.has(row));
    if (rest.length > 0) transit.push(blockOf(stage, rest, rows, result));
  }
  return { payload, transit, captured };
}

/** {@link storedBlocks}, of the records that a source accepts: `first` is the N of the first one of them. */
export function acceptedBlocks(
  { level, rate }: Capture,
  stream: string,
  first: number,
  packed: Packed,
): StoredBlocks {
  const block = (wanted: readonly number[] | undefined): PayloadBlock[] =>
    wanted?.length === 0 ? [] : [{ stage: SEGMENT_INPUT, ...pick(packed, wanted) }];
  const count = packed.lengths.length;
  if (count === 0) return { payload: [], transit: [], captured: [] };
  if (level !== "none" && rate === 1) return { payload: block(undefined), transit: [], captured: [] };
  const kept: number[] = [];
  const rest: number[] = [];
  for (const row of packed.lengths.keys()) {
    (level !== "none" && isSampled(`${stream}@${first + row}`, rate) ? kept : rest).push(row);
  }
  const all = rest.length === 0;
  const captured: CapturedRows = {
    stage: SEGMENT_INPUT,
    ...(!all && { rows: encodeDeltas(kept) }),
    ...(rate < 1 && { rate }),
  };
  return { payload: block(all ? undefined : kept), transit: block(rest), captured: [captured] };
}

/** The stages whose records go into events. */
function storedStages(segment: Segment): Iterable<number> {
  const stored = new Set(segment.outlets.map((outlet) => outlet.stored));
  const { captures } = segment;
  if (captures === undefined) return stored;
  for (const [stage, { level }] of captures.stages.entries()) {
    if (level === "all" && makesRecords(segment, stage)) stored.add(stage);
  }
  // In the order of stages, which is that of `captured`.
  return [...stored].sort((a, b) => a - b);
}

function captureOf({ captures }: Segment, stage: number): Capture {
  if (captures === undefined) return CAPTURE_ENDS;
  return (stage === SEGMENT_INPUT ? captures.inputs : captures.stages[stage]) ?? CAPTURE_ENDS;
}

/** The rows of a stage that are kept, ascending. */
function keptOf(
  { pipeline, origins }: Blocks,
  { level, rate }: Capture,
  stage: number,
  leaving: readonly number[] | undefined,
  rows: InputRows,
  result: SegmentResult,
): readonly number[] {
  if (level === "none") return [];
  const made = stage === SEGMENT_INPUT ? undefined : result.stages[stage];
  const all = level === "all" || leaving === undefined ? numbers(made?.count ?? rows.count) : leaving;
  if (rate === 1) return all;
  return all.filter((row) => {
    const from = made?.origin?.[row] ?? row;
    return isSampled(rootName(pipeline, origins, rows.sources?.[from] ?? 0, rows.roots[from] ?? 0), rate);
  });
}

function numbers(count: number): number[] {
  return Array.from({ length: count }, (_, row) => row);
}

function blockOf(
  stage: number,
  wanted: readonly number[] | undefined,
  rows: InputRows,
  result: SegmentResult,
): PayloadBlock {
  return { stage, ...pick(packedOf(stage, rows, result), wanted) };
}

function packedOf(stored: number, rows: InputRows, result: SegmentResult): Packed {
  if (stored !== SEGMENT_INPUT) return (result.stages[stored] as StageRows).packed as Packed;
  const parts: Uint8Array[] = [];
  for (let row = 0; row < rows.count; row++) parts.push(recordBytes(rows, row));
  return { bytes: Buffer.concat(parts), lengths: parts.map((part) => part.length) };
}

function pick(
  packed: Packed,
  rows: readonly number[] | undefined,
): { lengths: Uint8Array; bytes: Uint8Array } {
  if (rows === undefined) return { lengths: encodePlain(packed.lengths), bytes: packed.bytes };
  const wanted = new Set(rows);
  const parts: Uint8Array[] = [];
  let at = 0;
  for (const [row, length] of packed.lengths.entries()) {
    if (wanted.has(row)) parts.push(packed.bytes.subarray(at, at + length));
    at += length;
  }
  return { lengths: encodePlain(parts.map((part) => part.length)), bytes: Buffer.concat(parts) };
}
