import { isDeepStrictEqual } from "node:util";
import { encodeCanonical } from "../core/canonical.ts";
import { equalBytes } from "../core/digest.ts";
import { decodeEvent } from "../core/event-codec.ts";
import type { PipelineDeployed } from "../core/events.ts";
import { besideStream, retryStream, stepsStream } from "../core/streams.ts";
import { isStateful } from "../pipeline/definition.ts";
import { addsIndex, type Plan, recordsOf, type Segment } from "../pipeline/plan.ts";
import type { Bundle } from "../ports/bundler.ts";
import type { EventLog } from "../ports/event-log.ts";
import { lastThrough } from "./completed.ts";
import { describeDeployment, type RuntimeVersions } from "./deployment.ts";
import { type DeploymentHistory, deployedStage } from "./deployment-history.ts";
import { sameRuntime } from "./runtime-changes.ts";

/** What is to be run over history, and what tells whether it has to be. */
export interface ReuseQuery {
  readonly log: EventLog;
  readonly history: Pick<DeploymentHistory, "pipeline" | "all" | "at" | "planOf" | "runtimesOf">;
  readonly plan: Plan;
  readonly bundle: Bundle | undefined;
  readonly from: number;
  readonly to: number;
  /** What runs it now. */
  readonly runtime: RuntimeVersions;
  /**
   * Whether functions whose source text is the same are the same: asked of a stage or source whose module is another
   * than then.
   */
  sameFunctions(plan: Plan, name: string): Promise<boolean>;
}

/** What need not be run: see `DeployedFork`. */
export interface Reuse {
  readonly reused: readonly string[];
  readonly cuts: readonly string[];
}

/**
 * What of a plan would give for this part of history what was recorded, so that it need not be run: segments whose stages
 * are those that ran, with the same settings and parameters, on inputs that are the same, if what they gave is all there.
 * Of a segment of which only the later stages are others it is the part ahead of these, where what they take was kept.
 */
export async function reusableSegments(query: ReuseQuery): Promise<Reuse> {
  const { log, history, plan } = query;
  const ran = deploymentsIn(query);
  const reused = new Set<string>();
  const cuts: string[] = [];
  if (ran.some(({ code, provenance }) => code === undefined || provenance !== "full"))
    return { reused: [], cuts };
  const asked = await askedUnits(log, retryStream(history.pipeline));
  // The others of a segment that is cut are not what was recorded.
  const whole = new Set<string>();
  for (const segment of plan.segments) {
    const sameInputs = segment.upstreams.every(({ from }) => "source" in from || whole.has(from.segment));
    if (!sameInputs || !(await isAllThere(query, segment, asked))) continue;
    let same = segment.stages.length;
    for (const deployed of ran) same = Math.min(same, await unchangedStages(query, segment, deployed));
    if (same === segment.stages.length) {
      reused.add(segment.name);
      whole.add(segment.name);
    } else {
      const behind = await cutsBehind(query, segment, same, ran);
      if (behind.length > 0) reused.add(segment.name);
      cuts.push(...behind);
    }
  }
  return { reused: [...reused], cuts };
}

/**
 * The stages that take what the first `same` stages of a segment gave, if they can go on from what was kept of that: none
 * if one of them needs more than records, as a key or what was late, or could give more than it may in one segment.
 */
async function cutsBehind(
  { history }: ReuseQuery,
  { stages, outlets }: Segment,
  same: number,
  ran: readonly PipelineDeployed[],
): Promise<string[]> {
  const rest = stages.slice(same);
  const needsMore = rest.some(
    ({ definition }) => isStateful(definition) || /^(late|select)$/.test(definition.kind),
  );
  const needsKeys = outlets.some(({ stage, keyed }) => stage >= same && keyed);
  // How many may come out of one input counts over the whole segment: of its parts each would have as many.
  const counts = stages.slice(0, same).some(fansOut) && rest.some(fansOut);
  if (same === 0 || needsMore || needsKeys || counts) return [];
  const behind = rest.filter(({ input }) => input < same);
  for (const deployed of ran) {
    const then = (await history.planOf(deployed)).segments.find(
      ({ name }) => name === stages[0]?.definition.name,
    );
    for (const { input } of behind) {
      if (then === undefined || !isKept(then, input)) return [];
    }
  }
  return behind.map(({ definition }) => definition.name);
}

function fansOut({ definition }: Segment["stages"][number]): boolean {
  return addsIndex(definition);
}

/** Whether all records that a stage gave were kept. */
function isKept(segment: Segment, stage: number): boolean {
  if (segment.outlets.some((outlet) => outlet.stage === stage && !outlet.rekeys)) return true;
  const stored = recordsOf(segment, stage);
  return stored >= 0 && segment.captures?.stages[stored]?.level === "all";
}

/** The deployments that ran in a part of history. */
export function deploymentsIn({
  history,
  from,
  to,
}: Pick<ReuseQuery, "history" | "from" | "to">): readonly PipelineDeployed[] {
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

/** How many of a segment's stages, from the first one on, do what they did in a deployment; 0 if it hung together otherwise. */
async function unchangedStages(
  query: ReuseQuery,
  segment: Segment,
  deployed: PipelineDeployed,
): Promise<number> {
  const { history, plan, bundle } = query;
  const then = await history.planOf(deployed);
  const ran = then.segments.find(({ name }) => name === segment.name);
  if (ran === undefined || !isDeepStrictEqual(shapeOf(ran), shapeOf(segment)) || !keepsAll(ran)) return 0;
  // Whoever reads it may have to know how far event time had come.
  if (segment.watched && !ran.watched) return 0;
  const now = describeDeployment({ plan, bundle, provenance: "full", runtime: deployed.runtime });
  // The same text may give something else by another clock's zone, or another list of names of countries.
  const sameCode =
    now.code !== undefined &&
    deployed.code !== undefined &&
    equalBytes(now.code, deployed.code) &&
    history.runtimesOf(deployed).every((runtime) => sameRuntime(runtime, query.runtime));
  for (const { from, key } of segment.upstreams) {
    // Of a keyBy that is asked where it stands.
    if (!segment.keyed || sameCode || !("source" in from) || typeof key !== "function") continue;
    if (!(await query.sameFunctions(plan, from.source))) return 0;
  }
  for (const [at, { definition }] of segment.stages.entries()) {
    const { name } = definition;
    const digest = now.stages.find((stage) => stage.name === name)?.digest;
    const before = deployedStage(deployed, name)?.digest;
    if (digest === undefined || before === undefined || !equalBytes(digest, before)) return at;
    if (!sameValues(now.parameters[name], deployed.parameters[name])) return at;
    if (!sameCode && !(await query.sameFunctions(plan, name))) return at;
  }
  return segment.stages.length;
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
