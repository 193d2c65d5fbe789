import { decodeEvent } from "../core/event-codec.ts";
import type { PipelineDeployed } from "../core/events.ts";
import { THROUGH_NOTHING } from "../core/ordinal.ts";
import { retryStream, sourceStream, stepsStream } from "../core/streams.ts";
import { lastWatermark, type WatermarkStep } from "../core/watermark.ts";
import { isStateful } from "../pipeline/definition.ts";
import type { Plan } from "../pipeline/plan.ts";
import type { EventLog } from "../ports/event-log.ts";
import { currentDeployment, describeDeployment, isDeployed } from "./deployment.ts";
import { knownInputs } from "./known-inputs.ts";
import { askedSoFar } from "./retry-reader.ts";
import type { RunEnvironment, RunOptions } from "./run-options.ts";
import { ordinalOfInput, seekRecord } from "./seek.ts";
import { sinkHistory } from "./sink-history.ts";
import { CountTarget } from "./sink-targets.ts";
import { lastEvent } from "./stream-tail.ts";

/**
 * The deployment that runs, if there is nothing to do for it: the same code, inputs without a record more than was
 * taken, and every record at its end. Then a run appends nothing, not even claims.
 */
export async function completedDeployment(
  { log, runtime }: RunEnvironment,
  options: RunOptions,
): Promise<PipelineDeployed | undefined> {
  const { plan, follow, keepOpen, intakes, targets, signal, onResumed } = options;
  const known: (() => void)[] = [];
  const { name } = plan.definition;
  if (follow) return undefined;
  const current = await currentDeployment(log, name);
  if (current === undefined || !isDeployed(describeDeployment({ ...options, runtime }), current, name))
    return undefined;
  for (const [source, intake] of intakes) {
    const taken = await intake.exhausted((await knownInputs(log, sourceStream(name, source))).inputs, signal);
    if (taken === undefined) return undefined;
    if (taken > 0) known.push(() => onResumed(source, intake.name, taken));
  }
  // Windows that an earlier run left open are still to give what they have.
  if (
    !keepOpen &&
    plan.segments.some((segment) => segment.watched) &&
    !((await timeHasEnded(log, name, current)) && (await backEnded(log, plan)))
  )
    return undefined;
  if (!(await everythingThrough(log, name, current)) || (await someAsked(log, name, current)))
    return undefined;
  const promised = await highestThrough(log, name, current);
  for (const sink of plan.sinks) {
    const target = targets.get(sink.name) ?? new CountTarget();
    const history = await sinkHistory(log, name, sink.name, target);
    // A target that is not filled has no history before there is something to deliver.
    if (history === undefined && (target.fills || promised > THROUGH_NOTHING)) return undefined;
    if (history === undefined) continue;
    if (history.place.through < promised) return undefined;
    if (history.place.bytes > 0 && target.refills && !(await target.hasContent())) return undefined;
  }
  for (const tell of known) tell();
  return current;
}

/** Whether the watermark of every source has come to the end of its input. */
async function timeHasEnded(
  log: EventLog,
  pipeline: string,
  { sources }: PipelineDeployed,
): Promise<boolean> {
  for (const { name } of sources) {
    const last = await lastEvent(log, sourceStream(pipeline, name));
    const data = last && decodeEvent(last).data;
    const step = data !== undefined && "watermark" in data ? lastWatermark(data.watermark) : undefined;
    if (step?.watermark.status !== "ended") return false;
  }
  return true;
}

/** Whether windows were given an end after what came back into partitions. */
async function backEnded(log: EventLog, { definition, segments }: Plan): Promise<boolean> {
  const { name: pipeline, partitions } = definition;
  if ((await askedSoFar(log, retryStream(pipeline))) === 0) return true;
  for (const { name } of segments.filter(({ watched }) => watched)) {
    for (let partition = 0; partition < partitions; partition++) {
      const stream = stepsStream(pipeline, name, partition);
      const { next, retry, watermark } = await takenOf(log, stream, retryStream(pipeline));
      if (retry === 0) continue;
      const last = await ordinalOfInput(log, stream, next - 1);
      if (watermark?.watermark.status !== "ended" || watermark.ordinal <= last) return false;
    }
  }
  return true;
}

/** The highest ordinal that the doors of a deployment have given or promised, or that was put back into a partition. */
export async function highestThrough(
  log: EventLog,
  pipeline: string,
  deployed: PipelineDeployed,
): Promise<number> {
  let highest = deployed.from - 1;
  for (const { name } of deployed.sources) {
    highest = Math.max(highest, await lastThrough(log, sourceStream(pipeline, name)));
  }
  if ((await askedSoFar(log, retryStream(pipeline))) === 0) return highest;
  for (const stream of partitionStreams(pipeline, deployed)) {
    const { next, retry } = await takenOf(log, stream, retryStream(pipeline));
    // Who died after putting something back may not have come to the promise of it.
    if (retry > 0) highest = Math.max(highest, await ordinalOfInput(log, stream, next - 1));
  }
  return highest;
}

/** Whether something is to be put back that a unit of the deployment has not taken. */
async function someAsked(log: EventLog, pipeline: string, deployed: PipelineDeployed): Promise<boolean> {
  const retries = retryStream(pipeline);
  if ((await askedSoFar(log, retries)) === 0) return false;
  const taken = new Map<string, number>();
  const doors = deployed.sources.map(({ name }) => sourceStream(pipeline, name));
  for (const stream of [...doors, ...partitionStreams(pipeline, deployed)]) {
    taken.set(stream, (await takenOf(log, stream, retries)).retry);
  }
  const least = Math.min(...taken.values());
  for await (const recorded of log.read(retries, { from: await seekRecord(log, retries, least) })) {
    const { type, data } = decodeEvent(recorded);
    if (type !== "RetryAsked") continue;
    const { unit, first, count } = data;
    if (first + count > (taken.get(unit) ?? Number.POSITIVE_INFINITY)) return true;
  }
  return false;
}

/** How far a unit is, as its last event says. */
export interface TakenPlace {
  /** The N that is next. */
  readonly next: number;
  /** What it was asked to put back below this I is taken. */
  readonly retry: number;
  readonly watermark: WatermarkStep | undefined;
}

export async function takenOf(log: EventLog, stream: string, retries: string): Promise<TakenPlace> {
  const last = await lastEvent(log, stream);
  if (last === undefined) return { next: 0, retry: 0, watermark: undefined };
  const { data } = decodeEvent(last);
  const next = "first" in data ? data.first + ("count" in data ? data.count : 0) : 0;
  const watermark = "watermark" in data ? lastWatermark(data.watermark) : undefined;
  if ("to" in data) return { next, watermark, retry: data.to[retries] ?? 0 };
  if ("cursors" in data) return { next, watermark, retry: data.cursors[retries] ?? 0 };
  return { next, watermark, retry: "retry" in data ? (data.retry ?? 0) : 0 };
}

function partitionStreams(pipeline: string, deployed: PipelineDeployed): string[] {
  return [...new Set(deployed.stages.map((stage) => stage.segment))].flatMap((segment) =>
    Array.from({ length: deployed.partitions }, (_, partition) => stepsStream(pipeline, segment, partition)),
  );
}

/** Whether every partition has taken all that the doors have given. */
export async function everythingThrough(
  log: EventLog,
  pipeline: string,
  deployed: PipelineDeployed,
): Promise<boolean> {
  return (await lowestThrough(log, pipeline, deployed)) >= (await highestThrough(log, pipeline, deployed));
}

/** The highest ordinal up to which every partition of a deployment has taken all that the doors have given. */
export async function lowestThrough(
  log: EventLog,
  pipeline: string,
  deployed: PipelineDeployed,
): Promise<number> {
  let lowest = Number.MAX_SAFE_INTEGER;
  for (const stream of partitionStreams(pipeline, deployed)) {
    lowest = Math.min(lowest, await lastThrough(log, stream));
  }
  return lowest;
}

/**
 * Whether the state of every partition is in a snapshot up to its last input, so that no code of the deployment is
 * needed to bring it back.
 */
export async function statesKept(
  log: EventLog,
  pipeline: string,
  deployed: PipelineDeployed,
): Promise<boolean> {
  const stateful = deployed.stages.filter(isStateful).map((stage) => stage.segment);
  for (const segment of new Set(stateful)) {
    for (let partition = 0; partition < deployed.partitions; partition++) {
      if (!(await isStateKept(log, stepsStream(pipeline, segment, partition)))) return false;
    }
  }
  return true;
}

/** Whether a partition's state is in a snapshot up to its last input. */
export async function isStateKept(log: EventLog, stream: string): Promise<boolean> {
  const last = await lastEvent(log, stream);
  if (last === undefined) return true;
  const { data } = decodeEvent(last);
  if (!("first" in data)) return true;
  const next = data.first + ("count" in data ? data.count : 0);
  const kept = "snapshot" in data ? data.snapshot?.next : undefined;
  return next === 0 || kept === next;
}

/** How far the last event of a unit's stream says it is complete. */
export async function lastThrough(log: EventLog, stream: string): Promise<number> {
  const last = await lastEvent(log, stream);
  if (last === undefined) return THROUGH_NOTHING;
  const { data } = decodeEvent(last);
  return "through" in data ? data.through : THROUGH_NOTHING;
}
