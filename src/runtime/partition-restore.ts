import { HeadwaterError } from "../core/errors.ts";
import { decodeEventAs } from "../core/event-codec.ts";
import type { Cursors } from "../core/events.ts";
import { lastWatermark, type WatermarkStep } from "../core/watermark.ts";
import { originsOf } from "../engine/origins.ts";
import type { InputRows } from "../engine/rows.ts";
import { SegmentEngine, type SegmentResult } from "../engine/segment-engine.ts";
import type { StateSnapshot } from "../engine/state-snapshot.ts";
import type { Segment } from "../pipeline/plan.ts";
import { currentCursors } from "./deployed-cursors.ts";
import type { HostContext } from "./host-context.ts";
import { MergeReader } from "./merge-reader.ts";
import { upstreamsOfPartition } from "./routes.ts";
import { readOne } from "./seek.ts";
import type { UpstreamSelection } from "./upstream-reader.ts";

/** What is needed to run a segment over what the log holds. */
export type EngineContext = Pick<
  HostContext,
  "log" | "clock" | "plan" | "arena" | "decode" | "provenance" | "tickMs"
>;

/** Where the inputs since a snapshot begin. */
export interface SnapshotPlace {
  /** N of the input that comes next. */
  readonly next: number;
  readonly cursors: Cursors;
  /** Everything up to this ordinal has been taken. */
  readonly through: number;
  /** The last step of the watermark that was worked off. */
  readonly watermark: WatermarkStep | undefined;
}

/** An engine for a partition of a segment, without state. */
export function partitionEngine(context: EngineContext, segment: Segment): SegmentEngine {
  const { plan, arena, decode, provenance } = context;
  return new SegmentEngine({
    pipeline: plan.definition.name,
    segment,
    origins: originsOf(plan),
    partitions: plan.definition.partitions,
    arena,
    decode,
    provenance,
  });
}

/**
 * Brings an engine to where a snapshot of the partition `stream` was taken, or to the beginning of the partition's
 * history if there is none, which must have begun. Answers where it goes on.
 */
export async function restoreEngine(
  { log }: Pick<EngineContext, "log">,
  engine: SegmentEngine,
  stream: string,
  snapshot: StateSnapshot | undefined,
): Promise<SnapshotPlace> {
  if (snapshot === undefined) {
    // The first claim says where the partition's history begins.
    const { cursors, through } = decodeEventAs(await readOne(log, stream, 0), "PartitionClaimed");
    engine.head?.goOnAt(0);
    return { next: 0, cursors, through, watermark: undefined };
  }
  engine.restore(snapshot);
  engine.head?.goOnAt(snapshot.next);
  return { ...snapshot, watermark: lastWatermark(snapshot.watermark) };
}

/** A batch of a partition's inputs that was run again. */
export interface RerunBatch {
  readonly rows: InputRows;
  /** N of its first input. */
  readonly first: number;
  readonly result: SegmentResult;
}

/** What is run again: a partition's inputs from a snapshot on (or from its beginning), up to an ordinal. */
export interface Rerun {
  readonly stream: string;
  readonly segment: Segment;
  readonly partition: number;
  /** The first ordinal of the deployment whose code it is. */
  readonly deployedFrom: number;
  readonly snapshot: StateSnapshot | undefined;
  readonly upTo: number;
  readonly signal: AbortSignal;
}

/**
 * Runs inputs of a partition once more, without recording anything. Ends where it has come to the ordinal, and answers
 * the N that is next; rejects with `Stopped` when `signal` aborts before.
 */
export async function* rerunInputs(
  context: EngineContext,
  engine: SegmentEngine,
  { stream, segment, partition, deployedFrom, snapshot, upTo, signal }: Rerun,
): AsyncGenerator<RerunBatch, number> {
  const from = await restoreEngine(context, engine, stream, snapshot);
  const upstreams = upstreamsOfPartition(context.plan, segment, partition);
  const cursors = await currentCursors({ log: context.log, deployedFrom }, upstreams, from.cursors);
  const reader = readInputs(context, engine, upstreams, { ...from, cursors }, upTo);
  let { next } = from;
  try {
    for (let { through } = from; through < upTo; ) {
      const batch = await reader.next(context.plan.definition.batchRecords, signal);
      if (batch === undefined) throw new HeadwaterError("Stopped", "stopped before it was run again");
      const { rows } = batch;
      if (rows.count > 0) yield { rows, first: next, result: await engine.process(rows, next) };
      next += rows.count;
      through = batch.through;
    }
  } finally {
    reader.stop();
  }
  return next;
}

/** Reads the inputs of a partition from a place on, for `engine`; up to the ordinal `upTo`, if it is given. */
export function readInputs(
  context: EngineContext,
  engine: SegmentEngine,
  upstreams: readonly UpstreamSelection[],
  { cursors, through, watermark }: Omit<SnapshotPlace, "next">,
  upTo?: number,
): MergeReader {
  const { log, clock, decode, tickMs, plan } = context;
  const { firingOrigins } = plan;
  const { head } = engine;
  return new MergeReader({
    log,
    clock,
    upstreams,
    cursors,
    decode,
    tickMs,
    through,
    watermark,
    head,
    firingOrigins,
    ...(upTo !== undefined && { upTo }),
  });
}
