import { encodeCanonical } from "../core/canonical.ts";
import { equalBytes, sha256 } from "../core/digest.ts";
import { HeadwaterError } from "../core/errors.ts";
import { decodeEvent } from "../core/event-codec.ts";
import type { Cursors, PartitionClaimed, PipelineDeployed, StepsRecorded } from "../core/events.ts";
import { stepsStream } from "../core/streams.ts";
import { decodeWatermarks, encodeWatermarks, type WatermarkStep } from "../core/watermark.ts";
import type { StateSnapshot } from "../engine/state-snapshot.ts";
import type { Plan, Segment } from "../pipeline/plan.ts";
import type { Clock } from "../ports/clock.ts";
import type { EventLog } from "../ports/event-log.ts";
import { cursorsFrom } from "./deployed-cursors.ts";
import type { DeploymentHistory } from "./deployment-history.ts";
import { partitionEngine, rerunContext } from "./partition-restore.ts";
import { refusedBefore } from "./refused-inputs.ts";
import { rerunInputs } from "./rerun-inputs.ts";
import { stepsStreamOf, upstreamsOfPartition } from "./routes.ts";
import { isGone, seekThrough } from "./seek.ts";
import { recordsBefore } from "./seek-time.ts";
import { loadSnapshot } from "./snapshots.ts";
import { chunkDrafts, UnitLog } from "./unit-log.ts";

export interface ForkStart {
  readonly log: EventLog;
  readonly clock: Clock;
  /** Of the pipeline whose history it is. */
  readonly history: Pick<DeploymentHistory, "pipeline" | "at" | "withIdentity" | "planOf">;
  /** The fork's. */
  readonly plan: Plan;
  /** The fork's; `from` is where it begins. */
  readonly deployed: PipelineDeployed;
  readonly process: string;
  /** Records are missing, so that what has state is not compared: it may begin with none. */
  readonly withoutState?: boolean;
  readonly signal: AbortSignal;
}

/** The node that is named as the owner of a partition before it has one. */
const NOBODY = "start";

/**
 * Puts each partition of a fork where the pipeline was before the fork's first ordinal: the inputs that come next, and
 * the state, which is brought back from the last snapshot before by the code that ran then. The first event of each
 * partition says so, as a claim; a partition that has one already is left as it is. Throws `IncompatibleDeployment`
 * where that code is needed and was not kept, `Stopped`.
 */
export async function beginFork(start: ForkStart): Promise<void> {
  const { log, plan, deployed } = start;
  // From the beginning on there is nothing to bring back: partitions begin by themselves.
  if (deployed.from === 0) return;
  for (const segment of plan.segments) {
    if (plan.fork?.reused.has(segment.name)) continue;
    for (let partition = 0; partition < plan.definition.partitions; partition++) {
      const stream = stepsStreamOf(plan, segment, partition);
      if ((await log.streamInfo(stream)) === undefined)
        await beginPartition(start, segment, partition, stream);
    }
  }
}

async function beginPartition(
  start: ForkStart,
  segment: Segment,
  partition: number,
  stream: string,
): Promise<void> {
  const { log, clock, deployed, process, history } = start;
  const recorded = stepsStream(history.pipeline, segment.name, partition);
  const through = deployed.from - 1;
  const next = await recordsBefore(log, recorded, deployed.from);
  const watermark = await watermarkAt(log, recorded, through);
  const cursors = await forkCursors(start, segment, partition);
  const stages =
    segment.stateful && next > 0 ? await stateOrEmpty(start, segment, partition, recorded, next) : undefined;
  if (segment.stateful && next > 0 && stages === undefined) {
    // Whoever owns the partition would wait for its first inputs for ever.
    throw new HeadwaterError("RecordGone", "the state that there was is not kept", {
      where: `${recorded}, ordinal ${deployed.from}`,
      hint: "Begin at a later point, behind a snapshot, or at one from which on everything is kept.",
    });
  }
  const snapshot = stages && snapshotBytes({ next, cursors, through, watermark, stages });
  const wall = clock.now();
  const unit = await UnitLog.open(log, stream);
  await unit.append(
    "PartitionClaimed",
    ({ state }) => ({
      v: 2,
      wall,
      epoch: 1,
      node: NOBODY,
      process,
      assignment: 0,
      deployment: deployed.deployment,
      first: next,
      through,
      cursors,
      ...(watermark !== undefined && { watermark: encodeWatermarks([watermark]) }),
      ...(snapshot !== undefined &&
        state !== undefined && {
          snapshot: { revision: state.revision, chunks: state.events, digest: sha256(snapshot), next },
        }),
    }),
    { state: snapshot === undefined ? [] : chunkDrafts("SnapshotChunk", snapshot, wall) },
  );
}

/** The state of then, or that of the beginning where what it is brought back from is not kept, and need not be. */
async function stateOrEmpty(
  start: ForkStart,
  segment: Segment,
  ...of: [partition: number, stream: string, next: number]
): Promise<StateSnapshot["stages"] | undefined> {
  try {
    return await stateAt(start, segment, ...of);
  } catch (error) {
    if (!isGone(error) || !start.withoutState) throw error;
    const { log, clock, plan, deployed } = start;
    const engine = partitionEngine(rerunContext(log, clock, plan, "full"), segment, { refused: [] });
    return engine.snapshot(of[2], {}, deployed.from - 1, undefined).stages;
  }
}

/** Where a partition of the fork begins to read: the inputs of partitions have the numbers that they had. */
async function forkCursors(
  { log, plan, deployed }: ForkStart,
  segment: Segment,
  partition: number,
): Promise<Cursors> {
  const { fork: _, ...recorded } = plan;
  const ours = upstreamsOfPartition(plan, segment, partition);
  const theirs = upstreamsOfPartition(recorded, segment, partition);
  const at = await cursorsFrom(log, theirs, deployed.from);
  return Object.fromEntries(
    ours.map(({ stream }, index) => [stream, at[theirs[index]?.stream ?? ""] ?? 0] as const),
  );
}

/** The step of the watermark that was in force in a partition after everything up to and with `ordinal`. */
async function watermarkAt(
  log: EventLog,
  stream: string,
  ordinal: number,
): Promise<WatermarkStep | undefined> {
  const before = await seekThrough(log, stream, ordinal);
  if (before === undefined) return undefined;
  let found: WatermarkStep | undefined;
  // Each event begins with the step in force; the event that goes beyond the ordinal may have the last one up to it.
  for await (const recorded of log.read(stream, { from: before, limit: 2 })) {
    const { type, data } = unitEvent(decodeEvent(recorded), `${stream}@${recorded.revision}`);
    if (type === "PartitionClaimed" && recorded.revision > before) break;
    const steps = data.watermark === undefined ? [] : decodeWatermarks(data.watermark);
    found = steps.findLast((step) => step.ordinal <= ordinal) ?? found;
  }
  return found;
}

type UnitEvent =
  | { readonly type: "PartitionClaimed"; readonly data: PartitionClaimed }
  | { readonly type: "StepsRecorded"; readonly data: StepsRecorded };

function unitEvent(event: ReturnType<typeof decodeEvent>, where: string): UnitEvent {
  if (event.type === "PartitionClaimed" || event.type === "StepsRecorded") return event;
  throw new HeadwaterError("LogDamaged", `a partition's stream holds ${event.type}`, { where });
}

/** The state of a partition before its input N = `next`, which is the first one from the fork's beginning on. */
export async function stateAt(
  { log, clock, history, deployed, signal }: ForkStart,
  segment: Segment,
  partition: number,
  stream: string,
  next: number,
): Promise<StateSnapshot["stages"] | undefined> {
  const upTo = deployed.from - 1;
  const event = await lastUpTo(log, stream, next, upTo, history.at(upTo));
  if (event === undefined) return undefined;
  const ran = history.withIdentity(event.deployment, event.through);
  const plan = await history.planOf(ran);
  const ranSegment = plan.segments.find(({ name }) => name === segment.name);
  if (ranSegment === undefined) return undefined;
  const reference = event.snapshot;
  const snapshot = reference && (await loadSnapshot(log, stream, reference));
  const context = rerunContext(log, clock, plan, ran.provenance);
  const refused = await refusedBefore(log, stream, { snapshot: reference }, upTo);
  const engine = partitionEngine(context, ranSegment, { refused });
  const deployedFrom = ran.from;
  const rerun = { stream, segment: ranSegment, partition, deployedFrom, snapshot, to: event, upTo, signal };
  const batches = rerunInputs(context, engine, rerun);
  let ended = await batches.next();
  while (!ended.done) ended = await batches.next();
  return engine.snapshot(ended.value.next, {}, upTo, undefined).stages;
}

/**
 * The last event that is complete up to `ordinal` at most, and whose snapshot has no input from N = `next` on. Not the
 * claim of a deployment after `deployed`: what that made of the state is not asked for.
 */
async function lastUpTo(
  log: EventLog,
  stream: string,
  next: number,
  ordinal: number,
  { deployment }: PipelineDeployed,
): Promise<PartitionClaimed | StepsRecorded | undefined> {
  const revision = await seekThrough(log, stream, ordinal);
  if (revision === undefined) return undefined;
  for await (const recorded of log.read(stream, { from: revision, direction: "backwards" })) {
    const { data } = unitEvent(decodeEvent(recorded), `${stream}@${recorded.revision}`);
    const later = data.through === ordinal && !equalBytes(data.deployment, deployment);
    if (data.through <= ordinal && (data.snapshot?.next ?? 0) <= next && !later) return data;
  }
  return undefined;
}

function snapshotBytes({
  watermark,
  ...rest
}: Omit<StateSnapshot, "v" | "watermark"> & { readonly watermark: WatermarkStep | undefined }): Uint8Array {
  const snapshot: StateSnapshot = {
    v: 2,
    ...rest,
    ...(watermark !== undefined && { watermark: encodeWatermarks([watermark]) }),
  };
  return encodeCanonical(snapshot, Number.MAX_SAFE_INTEGER);
}
