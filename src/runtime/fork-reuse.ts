import { isDeepStrictEqual } from "node:util";
import { encodeCanonical } from "../core/canonical.ts";
import { equalBytes } from "../core/digest.ts";
import { decodeEvent } from "../core/event-codec.ts";
import type { PipelineDeployed } from "../core/events.ts";
import { besideStream, retryStream, stepsStream } from "../core/streams.ts";
import type { Plan, Segment } from "../pipeline/plan.ts";
import type { Bundle } from "../ports/bundler.ts";
import type { EventLog } from "../ports/event-log.ts";
import { lastThrough } from "./completed.ts";
import { describeDeployment } from "./deployment.ts";
import { type DeploymentHistory, deployedStage } from "./deployment-history.ts";

/** What is to be run over history, and what tells whether it has to be. */
export interface ReuseQuery {
  readonly log: EventLog;
  readonly history: Pick<DeploymentHistory, "pipeline" | "all" | "at" | "planOf">;
  readonly plan: Plan;
  readonly bundle: Bundle | undefined;
  readonly from: number;
  readonly to: number;
  /**
   * Whether functions whose source text is the same are the same: asked of a stage or source whose module is another
   * than then.
   */
  sameFunctions(plan: Plan, name: string): Promise<boolean>;
}

/**
 * The segments of a plan that would give for this part of history what was recorded, so that they need not be run: their
 * stages are those that ran, with the same settings and parameters, on inputs that are the same; and what they gave is
 * all there. In the order of the plan.
 */
export async function reusableSegments(query: ReuseQuery): Promise<string[]> {
  const { log, history, plan } = query;
  const ran = deploymentsIn(query);
  if (ran.some(({ code }) => code === undefined)) return [];
  const asked = await askedUnits(log, retryStream(history.pipeline));
  const reused = new Set<string>();
  for (const segment of plan.segments) {
    const sameInputs = segment.upstreams.every(({ from }) => "source" in from || reused.has(from.segment));
    if (!sameInputs || !(await isAllThere(query, segment, asked))) continue;
    let same = true;
    for (const deployed of ran) same &&= await isUnchanged(query, segment, deployed);
    if (same) reused.add(segment.name);
  }
  return [...reused];
}

function deploymentsIn({ history, from, to }: ReuseQuery): readonly PipelineDeployed[] {
  const first = history.at(from).version;
  const last = history.at(to).version;
  return history.all.filter(({ version }) => first <= version && version <= last);
}

/** Whether all that a segment gave can still be read, and nothing came into it but what would come into it now. */
async function isAllThere(
  { log, history, plan, to }: ReuseQuery,
  { name }: Segment,
  asked: ReadonlySet<string>,
): Promise<boolean> {
  for (let partition = 0; partition < plan.definition.partitions; partition++) {
    const stream = stepsStream(history.pipeline, name, partition);
    // What was put back there by hand is not put back in a fork.
    if (asked.has(stream) || (await lastThrough(log, stream)) < to) return false;
    for (const one of [stream, besideStream(stream, "payload")]) {
      if (((await log.streamInfo(one))?.firstRevision ?? 0) > 0) return false;
    }
  }
  return true;
}

/** The units from which something was asked to be put back. */
async function askedUnits(log: EventLog, retries: string): Promise<ReadonlySet<string>> {
  const units = new Set<string>();
  if ((await log.streamInfo(retries)) === undefined) return units;
  for await (const recorded of log.read(retries)) {
    const { type, data } = decodeEvent(recorded);
    if (type === "RetryAsked") units.add(data.unit);
  }
  return units;
}

async function isUnchanged(
  query: ReuseQuery,
  segment: Segment,
  deployed: PipelineDeployed,
): Promise<boolean> {
  const { history, plan, bundle } = query;
  const then = await history.planOf(deployed);
  const ran = then.segments.find(({ name }) => name === segment.name);
  if (ran === undefined || !isDeepStrictEqual(shapeOf(ran), shapeOf(segment)) || !keepsAll(ran)) return false;
  // Whoever reads it may have to know how far event time had come.
  if (segment.watched && !ran.watched) return false;
  const now = describeDeployment({ plan, bundle, provenance: "full", runtime: deployed.runtime });
  if (deployed.provenance !== "full") return false;
  const sameCode =
    now.code !== undefined && deployed.code !== undefined && equalBytes(now.code, deployed.code);
  for (const { definition } of segment.stages) {
    const { name } = definition;
    const digest = now.stages.find((stage) => stage.name === name)?.digest;
    const before = deployedStage(deployed, name)?.digest;
    if (digest === undefined || before === undefined || !equalBytes(digest, before)) return false;
    if (!sameValues(now.parameters[name], deployed.parameters[name])) return false;
    if (!sameCode && !(await query.sameFunctions(plan, name))) return false;
  }
  for (const { from, key } of segment.upstreams) {
    // Of a keyBy that is asked where it stands.
    if (!segment.keyed || sameCode || !("source" in from) || typeof key !== "function") continue;
    if (!(await query.sameFunctions(plan, from.source))) return false;
  }
  return true;
}

function sameValues(now: unknown, before: unknown): boolean {
  return equalBytes(encodeCanonical(now ?? {}), encodeCanonical(before ?? {}));
}

/** All of a segment that decides how its events are read, and what its stages do beside their functions. */
function shapeOf({ upstreams, stages, outlets, timed, stateful, keyed, paths }: Segment) {
  return {
    upstreams: upstreams.map(({ from, route, branch, key }) => ({ from, route, branch, key: typeof key })),
    stages: stages.map(({ definition: { name, kind, inputs, onError, retry }, input, branch }) => ({
      ...{ name, kind, inputs, onError, retry },
      ...{ input, branch },
    })),
    outlets,
    timed: timed?.name,
    ...{ stateful, keyed, paths },
  };
}

/** What leaves is kept, and none of it as a sample. */
function keepsAll({ captures }: Segment): boolean {
  if (captures === undefined) return true;
  return [captures.inputs, ...captures.stages].every(({ level, rate }) => level !== "none" && rate === 1);
}
