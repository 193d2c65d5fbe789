import { resolve } from "node:path";
import { toHex } from "../core/digest.ts";
import { HeadwaterError } from "../core/errors.ts";
import type { DeployedStage, PipelineDeployed } from "../core/events.ts";
import { THROUGH_NOTHING, timeToOrdinal } from "../core/ordinal.ts";
import { partitionOfKey } from "../core/partition.ts";
import { sourceStream, stepsStream } from "../core/streams.ts";
import { isStateful } from "../pipeline/definition.ts";
import type { Clock } from "../ports/clock.ts";
import type { EventLog } from "../ports/event-log.ts";
import { lastThrough } from "../runtime/completed.ts";
import { createSurroundings, type Surroundings } from "../runtime/compose.ts";
import { definitionOf } from "../runtime/deployment.ts";
import { type DeploymentHistory, deployedSources, deployedStage } from "../runtime/deployment-history.ts";
import {
  entriesOfKey,
  type PartitionState,
  partitionState,
  type StateEntry,
  stateEntries,
} from "../runtime/partition-state.ts";
import { ordinalOfLaterIn } from "../runtime/seek-time.ts";
import type { HistoryPoint } from "./history-point.ts";
import { historyOf, isModulePath } from "./pipeline-name.ts";
import { readLog } from "./read-log.ts";
import type { StageState, StateRequest } from "./state-types.ts";

export { parsePoint } from "./history-point.ts";

/**
 * The state of a stage: `headwater state`. Throws `UnknownPipeline`, `UnknownStage`, `BadUsage` for a stage without
 * state and a time where there are no event times, `IncompatibleDeployment` where code is needed that was not kept,
 * and `RecordGone` for a point before what retention has left.
 */
export async function stateAt(request: StateRequest): Promise<StageState> {
  const surroundings = createSurroundings();
  checkPoint(request.at);
  checkKey(request.key);
  const pipeline = await pipelineNameOf(surroundings, request.pipeline);
  return readLog(request.log, (log) => stateInLog(surroundings, log, { ...request, pipeline }));
}

/** What the compiler sees to where there is one. Throws `BadUsage`. */
export function checkPoint(at: HistoryPoint | undefined, name = "at"): void {
  const { ordinal, eventTime, logTime }: { ordinal?: number; eventTime?: number; logTime?: number } =
    at ?? {};
  const point = ordinal ?? eventTime ?? logTime;
  const bad = at !== undefined && !Number.isSafeInteger(point);
  if (bad || (ordinal ?? 0) < THROUGH_NOTHING) {
    throw new HeadwaterError("BadUsage", "the point that is asked for is neither an ordinal nor a time", {
      where: name,
      hint: "Give { ordinal }, { eventTime } or { logTime }, a whole number; times in milliseconds since 1970.",
    });
  }
}

/** As {@link checkPoint}. */
export function checkKey(key: StateRequest["key"]): void {
  if (typeof key === "object" ? key !== null : typeof key === "function" || typeof key === "symbol") {
    throw new HeadwaterError("BadUsage", `a key is not ${typeof key}`, {
      where: "key",
      hint: "A key is a text, number, BigInt, boolean or null.",
    });
  }
}

/** The name of a pipeline that is given by it, or by the path of its module. */
export async function pipelineNameOf({ bundler }: Surroundings, pipeline: string): Promise<string> {
  if (!isModulePath(pipeline)) return pipeline;
  const exported = bundler.load(await bundler.bundle(resolve(pipeline)));
  return definitionOf(exported, pipeline).name;
}

/** As {@link stateAt}, of a pipeline that is named, in a log that is open. */
export async function stateInLog(
  { clock, bundler }: Pick<Surroundings, "clock" | "bundler">,
  log: EventLog,
  { pipeline, ...request }: Omit<StateRequest, "log">,
): Promise<StageState> {
  const history = await historyOf({ bundler }, log, pipeline);
  return stateInHistory(clock, log, history, request);
}

/** As {@link stateInLog}, of a pipeline whose versions are known. */
export async function stateInHistory(
  clock: Clock,
  log: EventLog,
  history: DeploymentHistory,
  { stage: name, at, signal, ...request }: Omit<StateRequest, "log" | "pipeline">,
): Promise<StageState> {
  const { pipeline } = history;
  const key = request.key === 0 ? 0 : request.key;
  const { asked, deployed } = await placeOf(log, history, name, at);
  const stage = mustKeepState(history, deployed, name, asked);
  const partitions =
    key === undefined ? every(deployed.partitions) : [partitionOfKey(key, deployed.partitions)];
  let ordinal = asked;
  for (const partition of partitions) {
    // All partitions are shown as of one ordinal, that to which the last of them has come.
    ordinal = Math.min(ordinal, await lastThrough(log, stepsStream(pipeline, stage.segment, partition)));
  }
  const parts: PartitionState[] = [];
  for (const partition of partitions) {
    const part = await partitionState({
      log,
      clock,
      history,
      deployed,
      stage,
      partition,
      ordinal,
      signal: signal ?? new AbortController().signal,
    });
    if (part !== undefined) parts.push(part);
  }
  const entries = (): Iterable<StateEntry> =>
    key === undefined ? stateEntries(parts) : entriesOfKey(parts, key);
  return {
    pipeline,
    stage: name,
    kind: stage.kind,
    deployment: toHex(deployed.deployment),
    version: deployed.version,
    ordinal,
    asked,
    complete: ordinal === asked,
    keys:
      key === undefined
        ? parts.reduce((sum, { snapshot }) => sum + snapshot.keys.length, 0)
        : entriesOfKey(parts, key).length,
    entries: { [Symbol.iterator]: () => entries()[Symbol.iterator]() },
  } as StageState;
}

interface Place {
  readonly asked: number;
  /** What records with that ordinal are for; at the end of the log, what is deployed now. */
  readonly deployed: PipelineDeployed;
}

async function placeOf(
  log: EventLog,
  history: DeploymentHistory,
  stage: string,
  at: HistoryPoint | undefined,
): Promise<Place> {
  const asked = at && (await ordinalOf(log, history, stage, at));
  if (asked !== undefined) return { asked, deployed: history.at(asked) };
  const deployed = history.current;
  let end = THROUGH_NOTHING;
  for (const source of deployedSources(deployed, stage)) {
    end = Math.max(end, await lastThrough(log, sourceStream(history.pipeline, source)));
  }
  return { asked: end, deployed };
}

/** The last ordinal up to a point; `undefined`: event time has not come further than that point. */
async function ordinalOf(
  log: EventLog,
  history: DeploymentHistory,
  stage: string,
  at: HistoryPoint,
): Promise<number | undefined> {
  if ("ordinal" in at) return at.ordinal;
  if ("logTime" in at) return timeToOrdinal(at.logTime + 1) - 1;
  const deployed = history.last((other) => deployedStage(other, stage) !== undefined);
  if (deployed === undefined) throw unknownStage(history, history.current, stage, undefined);
  const names = deployedSources(deployed, stage);
  const timed = deployed.sources.filter((source) => source.eventTime && names.has(source.name));
  if (timed.length === 0) {
    throw new HeadwaterError("BadUsage", "the stage's sources have no event time", {
      where: `stage ${stage}`,
      hint: "Give an ordinal, or the time at which records were accepted with --log-time.",
    });
  }
  const streams = timed.map((source) => sourceStream(history.pipeline, source.name));
  const later = await ordinalOfLaterIn(log, streams, at.eventTime);
  return later === undefined ? undefined : later - 1;
}

function mustKeepState(
  history: DeploymentHistory,
  deployed: PipelineDeployed,
  name: string,
  ordinal: number,
): DeployedStage {
  const stage = deployedStage(deployed, name);
  if (stage === undefined) throw unknownStage(history, deployed, name, ordinal);
  if (isStateful(stage)) return stage;
  throw new HeadwaterError("BadUsage", `the stage keeps no state: it is a ${stage.kind}`, {
    where: `stage ${name}`,
    hint: statefulStages(deployed),
  });
}

function unknownStage(
  history: DeploymentHistory,
  deployed: PipelineDeployed,
  name: string,
  ordinal: number | undefined,
): HeadwaterError {
  const other = history.last((one) => deployedStage(one, name) !== undefined);
  const next = other && history.after(other);
  const where = `pipeline ${history.pipeline}, version ${deployed.version}`;
  const message = `the pipeline has no stage ${JSON.stringify(name)}`;
  if (other === undefined || ordinal === undefined) {
    return new HeadwaterError("UnknownStage", message, { where, hint: statefulStages(deployed) });
  }
  return new HeadwaterError("UnknownStage", `${message} at ordinal ${ordinal}`, {
    where,
    hint: `Version ${other.version} has it: ask for an ordinal from ${other.from} ${next === undefined ? "on" : `to ${next.from - 1}`}.`,
  });
}

function statefulStages({ stages }: PipelineDeployed): string {
  const names = stages.filter(isStateful).map((stage) => stage.name);
  return names.length === 0
    ? "It has no stage that keeps state."
    : `Those that keep state: ${names.join(", ")}.`;
}

function every(partitions: number): number[] {
  return Array.from({ length: partitions }, (_, partition) => partition);
}
