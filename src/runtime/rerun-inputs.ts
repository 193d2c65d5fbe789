import { HeadwaterError } from "../core/errors.ts";
import type { Cursors, PartitionClaimed, StepsRecorded } from "../core/events.ts";
import type { SegmentEngine } from "../engine/segment-engine.ts";
import type { StateSnapshot } from "../engine/state-snapshot.ts";
import type { Segment } from "../pipeline/plan.ts";
import { currentCursors } from "./deployed-cursors.ts";
import { type Replayed, type ReplayedBatch, replayBatches } from "./partition-replay.ts";
import { type EngineContext, readInputs, restoreEngine } from "./partition-restore.ts";
import { retriedBetween } from "./retried-inputs.ts";
import { upstreamsOfPartition } from "./routes.ts";
import { ServedEffects } from "./served-effects.ts";

/** What is run again: a partition's inputs from a snapshot on (or from its beginning), up to an ordinal. */
export interface Rerun {
  readonly stream: string;
  readonly segment: Segment;
  readonly partition: number;
  /** The first ordinal of the deployment whose code it is. */
  readonly deployedFrom: number;
  readonly snapshot: StateSnapshot | undefined;
  /** An event of the partition that is not before what is asked for: what was put back is looked for up to it. */
  readonly to: PartitionClaimed | StepsRecorded;
  readonly upTo: number;
  readonly signal: AbortSignal;
}

/**
 * Runs inputs of a partition once more, without recording anything; effects are served from the log. Ends where it has
 * come to the ordinal, and answers where that is; rejects with `Stopped` when `signal` aborts before.
 */
export async function* rerunInputs(
  context: EngineContext,
  engine: SegmentEngine,
  { stream, segment, partition, deployedFrom, snapshot, to, upTo, signal }: Rerun,
): AsyncGenerator<ReplayedBatch, Replayed> {
  const { log, clock, plan } = context;
  const { name, batchRecords } = plan.definition;
  const from = await restoreEngine(context, engine, stream, snapshot);
  const upstreams = upstreamsOfPartition(plan, segment, partition);
  const cursors = await currentCursors({ log, deployedFrom }, upstreams, from.cursors);
  const retried = await retriedBetween(log, name, stream, from, placeAfter(to));
  const reader = readInputs(context, engine, upstreams, { ...from, cursors }, upTo);
  try {
    const replay = {
      context: { ...context, segment, partition },
      engine,
      reader,
      effects: new ServedEffects({ log, clock, steps: stream, signal }),
      retried: retried.filter((batch) => batch.ordinal <= upTo),
      batchRecords,
    };
    const replayed = yield* replayBatches(replay, from, { through: upTo }, signal);
    if (replayed === undefined) throw new HeadwaterError("Stopped", "stopped before it was run again");
    return replayed;
  } finally {
    reader.stop();
  }
}

/** Where a partition goes on after an event. */
function placeAfter(event: PartitionClaimed | StepsRecorded): {
  readonly next: number;
  readonly cursors: Cursors;
} {
  if ("to" in event) return { next: event.first + event.count, cursors: event.to };
  return { next: event.first, cursors: event.cursors };
}
