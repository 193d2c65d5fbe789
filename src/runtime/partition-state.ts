import { decodeDeltas } from "../core/columns.ts";
import { equalBytes } from "../core/digest.ts";
import { HeadwaterError } from "../core/errors.ts";
import { decodeEvent } from "../core/event-codec.ts";
import type { DeployedStage, PartitionClaimed, PipelineDeployed, StepsRecorded } from "../core/events.ts";
import { THROUGH_NOTHING } from "../core/ordinal.ts";
import { stepsStream } from "../core/streams.ts";
import { decodeWatermarks, lastWatermark } from "../core/watermark.ts";
import type { PartitionState } from "../engine/state-entries.ts";
import type { StageSnapshot, StateSnapshot } from "../engine/state-snapshot.ts";
import type { Clock } from "../ports/clock.ts";
import type { EventLog } from "../ports/event-log.ts";
import type { DeploymentHistory } from "./deployment-history.ts";
import { partitionEngine, rerunContext } from "./partition-restore.ts";
import { refusedBefore } from "./refused-inputs.ts";
import { rerunInputs } from "./rerun-inputs.ts";
import { ordinalOfInput, readUnlessGone, seekThrough } from "./seek.ts";
import { loadSnapshot } from "./snapshots.ts";

export {
  entriesOfKey,
  type JoinStateEntry,
  type KeptRecord,
  type OpenWindow,
  type PartitionState,
  type ReduceStateEntry,
  type StateEntry,
  stateEntries,
  type WindowStateEntry,
} from "../engine/state-entries.ts";

/** What is asked of a partition. */
export interface PartitionStateQuery {
  readonly log: EventLog;
  readonly clock: Clock;
  readonly history: DeploymentHistory;
  /** The deployment that records with `ordinal` are for. */
  readonly deployed: PipelineDeployed;
  /** One of its stages, which keeps state. */
  readonly stage: DeployedStage;
  readonly partition: number;
  /** The partition has come to it. */
  readonly ordinal: number;
  readonly signal: AbortSignal;
}

type PlaceEvent = PartitionClaimed | StepsRecorded;

/**
 * A stage's state in one partition after everything up to and with `ordinal`: from the last snapshot before, and the
 * inputs since run again by the code that ran then. `undefined` if there is none. Throws `IncompatibleDeployment` if
 * that code is needed and was not kept, `RecordGone` where what is needed was let go of, `Stopped` when `signal` aborts.
 * Reads in proportion to what came since the snapshot.
 */
export async function partitionState(query: PartitionStateQuery): Promise<PartitionState | undefined> {
  const { log, history, stage, ordinal } = query;
  const stream = stepsStream(history.pipeline, stage.segment, query.partition);
  const place = await placeAt(query, stream);
  if (place === undefined) return undefined;
  const { event } = place;
  const snapshot = event.snapshot && (await loadSnapshot(log, stream, event.snapshot));
  const kept = (await nothingSince(log, stream, place, snapshot, ordinal))
    ? snapshot?.stages.find((other) => other.stage === stage.name)
    : await replay(query, stream, event, snapshot);
  return kept && { stream, snapshot: kept };
}

interface Place {
  readonly revision: number;
  readonly event: PlaceEvent;
}

/** The last event whose snapshot and code lead to the state as of the ordinal. */
async function placeAt(query: PartitionStateQuery, stream: string): Promise<Place | undefined> {
  const { log, ordinal, deployed } = query;
  let place = await placeUpTo(log, stream, ordinal);
  // A later deployment claims where the one before it ended. What it made of the state is not asked for.
  while (
    place?.event.through === ordinal &&
    place.revision > 0 &&
    !equalBytes(place.event.deployment, deployed.deployment)
  ) {
    place = await readPlace(log, stream, place.revision - 1, ordinal);
  }
  // Where a batch ended between records of one ordinal, its snapshot holds some that are later than it is complete.
  const next = place?.event.through === ordinal ? place.event.snapshot?.next : undefined;
  if (next === undefined || (await ordinalOfInput(log, stream, next - 1)) <= ordinal) return place;
  return await placeUpTo(log, stream, ordinal - 1);
}

async function placeUpTo(log: EventLog, stream: string, ordinal: number): Promise<Place | undefined> {
  const revision = await seekThrough(log, stream, ordinal);
  const place = revision === undefined ? undefined : await readPlace(log, stream, revision, ordinal);
  if (place === undefined || place.event.through <= ordinal) return place;
  // From the beginning on there was nothing before; else it was let go of.
  if (place.revision > 0 && ordinal > THROUGH_NOTHING) throw letGoOf(stream, ordinal, place);
  return undefined;
}

function letGoOf(stream: string, ordinal: number, { revision, event }: Place): HeadwaterError {
  return new HeadwaterError("RecordGone", `what there was at ordinal ${ordinal} was let go of`, {
    where: `${stream}@${revision}`,
    hint: `What is kept of this partition begins after ordinal ${event.through}.`,
  });
}

async function readPlace(log: EventLog, stream: string, revision: number, ordinal: number): Promise<Place> {
  const recorded = await readUnlessGone(log, stream, revision);
  if (recorded === undefined) {
    const first = (await log.streamInfo(stream))?.firstRevision ?? 0;
    throw letGoOf(stream, ordinal, await readPlace(log, stream, Math.max(first, revision + 1), ordinal));
  }
  const event = decodeEvent(recorded);
  if (event.type === "PartitionClaimed" || event.type === "StepsRecorded")
    return { revision, event: event.data };
  throw new HeadwaterError("LogDamaged", `a partition's stream holds ${event.type}`, {
    where: `${stream}@${revision}`,
  });
}

/** Whether nothing happened between a snapshot (or the beginning) and the ordinal, so that no code is needed. */
async function nothingSince(
  log: EventLog,
  stream: string,
  { revision, event }: Place,
  snapshot: StateSnapshot | undefined,
  ordinal: number,
): Promise<boolean> {
  const through = snapshot?.through ?? THROUGH_NOTHING;
  if (through >= ordinal) return true;
  const covering =
    event.through < ordinal ? (await readPlace(log, stream, revision + 1, ordinal)).event : event;
  const { first, watermark } = covering;
  const ordinals = "ordinals" in covering && covering.ordinals ? decodeDeltas(covering.ordinals) : [];
  const next = first + ordinals.filter((other) => other <= ordinal).length;
  if (next === 0) return true;
  const steps = watermark === undefined ? [] : decodeWatermarks(watermark);
  const step = steps.findLast((other) => other.ordinal <= ordinal);
  return next === snapshot?.next && step?.ordinal === lastWatermark(snapshot.watermark)?.ordinal;
}

/** Runs the inputs since a snapshot again, up to the ordinal. */
async function replay(
  query: PartitionStateQuery,
  stream: string,
  event: PlaceEvent,
  snapshot: StateSnapshot | undefined,
): Promise<StageSnapshot | undefined> {
  const { log, clock, history, stage, partition, ordinal, signal } = query;
  const deployed = history.withIdentity(event.deployment, event.through);
  if (deployed.code === undefined) throw codeMissing(history.pipeline, deployed);
  const plan = await history.planOf(deployed);
  const segment = plan.segments.find((other) => other.name === stage.segment);
  if (segment === undefined) return undefined;
  const context = rerunContext(log, clock, plan, deployed.provenance);
  const refused = await refusedBefore(log, stream, event, ordinal);
  const engine = partitionEngine(context, segment, { refused });
  const rerun = { stream, segment, partition, deployedFrom: deployed.from, snapshot, upTo: ordinal, signal };
  const batches = rerunInputs(context, engine, { ...rerun, to: event });
  let ended = await batches.next();
  while (!ended.done) ended = await batches.next();
  const { stages } = engine.snapshot(ended.value.next, {}, ordinal, undefined);
  return stages.find((other) => other.stage === stage.name);
}

function codeMissing(pipeline: string, { version }: PipelineDeployed): HeadwaterError {
  return new HeadwaterError(
    "IncompatibleDeployment",
    "the code that made the state is needed to tell it, and is not in the log",
    {
      where: `pipeline ${pipeline}, version ${version}`,
      hint: "A program gave it as an object. With start({ module }) it is kept; without it, state can be told where a snapshot stands: ask for the end, when the program has ended.",
    },
  );
}
