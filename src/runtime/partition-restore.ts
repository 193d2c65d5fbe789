import { Arena } from "../core/arena.ts";
import { RecordDecoder } from "../core/decode-shapes.ts";
import { decodeEventAs } from "../core/event-codec.ts";
import type { Cursors } from "../core/events.ts";
import { lastWatermark, type WatermarkStep } from "../core/watermark.ts";
import { originsOf } from "../engine/origins.ts";
import { SegmentEngine, type SegmentEngineOptions } from "../engine/segment-engine.ts";
import type { StateSnapshot } from "../engine/state-snapshot.ts";
import type { Plan, Segment } from "../pipeline/plan.ts";
import type { Clock } from "../ports/clock.ts";
import type { EventLog } from "../ports/event-log.ts";
import type { HostContext } from "./host-context.ts";
import { MergeReader } from "./merge-reader.ts";
import { readOne } from "./seek.ts";
import type { UpstreamSelection } from "./upstream-reader.ts";

/** What is needed to run a segment over what the log holds. */
export type EngineContext = Pick<
  HostContext,
  "log" | "clock" | "plan" | "arena" | "decode" | "provenance" | "tickMs" | "pace"
>;

/** What is needed to run history again by the code of one deployment. */
export function rerunContext(
  log: EventLog,
  clock: Clock,
  plan: Plan,
  provenance: EngineContext["provenance"],
): EngineContext {
  const decoder = new RecordDecoder();
  return {
    log,
    clock,
    plan,
    arena: new Arena(),
    decode: (bytes, start, end) => decoder.decode(bytes, start, end),
    provenance,
    // Nothing is waited for: what the log holds is all there is.
    tickMs: 0,
  };
}

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

/**
 * An engine for a partition of a segment, without state. `more` has to name the inputs that it would meet again and
 * that were refused before: see {@link refusedBefore}.
 */
export function partitionEngine(
  context: EngineContext,
  segment: Segment,
  more: Pick<SegmentEngineOptions, "watch" | "refused">,
): SegmentEngine {
  const { plan, arena, decode, provenance } = context;
  return new SegmentEngine({
    pipeline: plan.definition.name,
    segment,
    origins: originsOf(plan),
    partitions: plan.definition.partitions,
    arena,
    decode,
    provenance,
    ...more,
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

/** Reads the inputs of a partition from a place on, for `engine`; up to the ordinal `upTo`, if it is given. */
export function readInputs(
  context: EngineContext,
  engine: SegmentEngine,
  upstreams: readonly UpstreamSelection[],
  { cursors, through, watermark }: Omit<SnapshotPlace, "next">,
  upTo?: number,
): MergeReader {
  const { log, clock, decode, tickMs, plan, pace } = context;
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
    ...(pace !== undefined && { pace }),
  });
}
