import { HeadwaterError } from "../core/errors.ts";
import { sinkStream, sourceStream, stepsStream } from "../core/streams.ts";
import type { Plan, Segment, Upstream } from "../pipeline/plan.ts";
import type { UpstreamSelection } from "./upstream-reader.ts";

/** The stream that a partition's steps are in: of a fork its own, unless it reads what was recorded. */
export function stepsStreamOf(
  { definition, fork }: Plan,
  { name }: Pick<Segment, "name">,
  partition: number,
): string {
  const pipeline = fork === undefined || fork.reused.has(name) ? definition.name : fork.name;
  return stepsStream(pipeline, name, partition);
}

/** The stream that says what a sink has delivered. */
export function sinkStreamOf({ definition, fork }: Plan, sink: string): string {
  return sinkStream(fork?.name ?? definition.name, sink);
}

/** The streams that a partition of a segment reads, in the order of the segment's upstream edges. */
export function upstreamsOfPartition(plan: Plan, segment: Segment, partition: number): UpstreamSelection[] {
  const wanted = { payload: true, watched: segment.watched };
  return segment.upstreams.flatMap((upstream) => selections(plan, upstream, partition, wanted));
}

/** The streams that a sink reads. */
export function upstreamsOfSink(plan: Plan, upstream: Upstream, payload: boolean): UpstreamSelection[] {
  return selections(plan, upstream, undefined, { payload, watched: false });
}

/** How what leaves by an outlet is read: of a segment that is not run, as it was recorded. */
function outletOf({ segments, fork }: Plan, segment: string, outlet: number): UpstreamSelection["from"] {
  const recorded = fork?.reused.get(segment);
  if (recorded === undefined) return { outlet };
  const planned = segments.find(({ name }) => name === segment);
  const wanted = planned?.outlets[outlet];
  if (planned === undefined || wanted === undefined) return { outlet };
  const at = recorded.findIndex(({ stage, rekeys }) => stage === wanted.stage && rekeys === wanted.rekeys);
  return at < 0 ? { results: wanted.stage, stored: wanted.stored } : { outlet: at };
}

/** What a stage has given, in all partitions; nothing if the plan has no such stage. */
export function upstreamsOfStage(plan: Plan, stage: string): UpstreamSelection[] {
  const segment = plan.segments.find(({ stages }) =>
    stages.some(({ definition }) => definition.name === stage),
  );
  if (segment === undefined) return [];
  const results = segment.stages.findIndex(({ definition }) => definition.name === stage);
  return Array.from({ length: plan.definition.partitions }, (_, partition) => ({
    stream: stepsStreamOf(plan, segment, partition),
    origins: plan.origins,
    from: { results },
    partition: undefined,
    branch: "",
    payload: true,
    watched: false,
  }));
}

function selections(
  plan: Plan,
  upstream: Upstream,
  partition: number | undefined,
  wanted: Pick<UpstreamSelection, "payload" | "watched">,
): UpstreamSelection[] {
  const { name, partitions } = plan.definition;
  const { origins, fork } = plan;
  const { branch, from, route } = upstream;
  // What is recorded goes on; a fork's own streams end by themselves.
  const recorded = fork !== undefined && ("source" in from || fork.reused.has(from.segment));
  const common = { origins, branch, ...wanted, ...(recorded && { upTo: fork.to }) };
  if ("source" in from) {
    const stream = sourceStream(name, from.source);
    // What is not kept any more of the records that a fork runs over is named where its results are compared.
    const gone = !fork?.gaps ? {} : { gone: "skip" as const };
    return [{ stream, from: { source: origins.indexOf(from.source) }, partition, ...common, ...gone }];
  }
  const read = route === "same" ? [partition ?? 0] : Array.from({ length: partitions }, (_, index) => index);
  return read.map((index) => ({
    stream: stepsStreamOf(plan, { name: from.segment }, index),
    from: outletOf(plan, from.segment, from.outlet),
    partition: route === "sections" ? partition : undefined,
    ...common,
  }));
}

/**
 * Every unit of work of a plan: doors, partitions of segments, sinks. A fork has no doors, and no partitions of what it
 * does not run.
 */
export function unitsOf(plan: Plan): { doors: string[]; partitions: string[]; sinks: string[] } {
  const { partitions } = plan.definition;
  const { fork } = plan;
  return {
    doors: fork === undefined ? plan.sources.map((source) => `door:${source.name}`) : [],
    partitions: plan.segments
      .filter(({ name }) => !fork?.reused.has(name))
      .flatMap((segment) =>
        Array.from({ length: partitions }, (_, partition) => partitionUnit(segment, partition)),
      ),
    sinks: plan.sinks.map((sink) => `sink:${sink.name}`),
  };
}

/** The unit of work that a segment's partition is. */
export function partitionUnit(segment: Segment, partition: number): string {
  return `partition:${segment.name}.${partition}`;
}

/** The segment and partition that a unit `partition:G.Q` names. */
export function partitionOfUnit(plan: Plan, unit: string): { segment: Segment; partition: number } {
  const match = /^partition:(.*)\.(\d+)$/.exec(unit);
  const segment = plan.segments.find((other) => other.name === match?.[1]);
  if (match === null || segment === undefined) {
    throw new HeadwaterError("Internal", "a unit of work is not one of the pipeline's", { where: unit });
  }
  return { segment, partition: Number(match[2]) };
}
