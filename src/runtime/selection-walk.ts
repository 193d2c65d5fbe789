import { HeadwaterError } from "../core/errors.ts";
import { decodeEvent } from "../core/event-codec.ts";
import type { PipelineDeployed, RetryItem, StepsRecorded } from "../core/events.ts";
import { retryStream } from "../core/streams.ts";
import type { Members } from "../engine/members.ts";
import { StepGraph } from "../engine/step-graph.ts";
import type { Plan, Segment } from "../pipeline/plan.ts";
import type { EventLog } from "../ports/event-log.ts";
import { structureOf } from "./deployed-plan.ts";
import type { DeploymentHistory } from "./deployment-history.ts";
import { stagesOf } from "./lineage-places.ts";
import { readAsked } from "./retry-reader.ts";
import { stepsStreamOf, upstreamsOfPartition } from "./routes.ts";
import { readUnlessGone, seekRecord, seekThrough } from "./seek.ts";
import { OUTPUTS, type Part, type SelectedRecords } from "./selected-records.ts";
import { type ChooseRow, chooseBackwards, chooseForwards, type WalkedEvent } from "./selection-event.ts";
import { readMembersColumn } from "./snapshots.ts";

/** The history that is walked: a pipeline's, or a fork's. */
export interface Walk {
  readonly log: EventLog;
  readonly history: Pick<DeploymentHistory, "pipeline" | "all" | "after">;
  readonly signal: AbortSignal;
}

/** A partition as one deployment had it. */
interface WalkedUnit {
  readonly stream: string;
  readonly pipeline: string;
  readonly deployed: PipelineDeployed;
  readonly segment: Segment;
  readonly reads: ReadonlyMap<string, Part>;
  /** Ordinals of records that were for this deployment. */
  readonly lowest: number;
  readonly highest: number;
}

/** Chooses rows of an event in their own right. */
export type ChooseIn = (event: WalkedEvent) => ChooseRow | undefined;

/**
 * Chooses all that comes of chosen records, in events with ordinals from `from` up to and with `to`, and what `choose`
 * chooses there. No code is run: what came of what is in the events. Reads each event of these ordinals once.
 */
export async function walkForwards(
  walk: Walk,
  selected: SelectedRecords,
  from: number,
  to: number,
  choose?: ChooseIn,
): Promise<void> {
  const { log } = walk;
  for (const unit of unitsOf(walk, from, to)) {
    const lowest = Math.max(from, unit.lowest);
    // Of an ordinal that is still going on an event is complete up to the one before.
    const begin = await seekThrough(log, unit.stream, lowest - 2);
    if (begin === undefined) continue;
    for await (const recorded of log.read(unit.stream, { from: begin })) {
      mustGoOn(walk);
      const { type, data } = decodeEvent(recorded);
      if (type !== "StepsRecorded" || data.count === 0) continue;
      const graph = new StepGraph(data);
      if (graph.input(0).ordinal > Math.min(to, unit.highest)) break;
      if (graph.input(data.count - 1).ordinal < lowest) continue;
      const event = await walkedEvent(walk, unit, graph);
      chooseForwards(selected, event, choose?.(event));
    }
  }
}

/** Chooses all that chosen records were made of, back to their sources. Reads the events that have some of it. */
export async function walkBackwards(walk: Walk, selected: SelectedRecords): Promise<void> {
  const { log } = walk;
  for (const unit of unitsOf(walk, 0, Number.MAX_SAFE_INTEGER).reverse()) {
    const { stream } = unit;
    let n = selected.below(stream, Number.MAX_SAFE_INTEGER);
    while (n !== undefined) {
      mustGoOn(walk);
      const recorded = await readUnlessGone(log, stream, await seekRecord(log, stream, n));
      const typed = recorded && decodeEvent(recorded);
      if (typed?.type !== "StepsRecorded" || n >= typed.data.first + typed.data.count) break;
      const graph = new StepGraph(typed.data);
      const { ordinal } = graph.input(0);
      const { first } = typed.data;
      if (ordinal < unit.lowest || first > n) break;
      if (ordinal > unit.highest) {
        n = selected.below(stream, first);
        continue;
      }
      const event = await walkedEvent(walk, unit, graph);
      while (n !== undefined && n >= first) {
        chooseBackwards(selected, event, n);
        n = selected.below(stream, n);
      }
    }
  }
}

/** Each after those that it reads, those of an earlier deployment first. */
function unitsOf({ history }: Walk, from: number, to: number): WalkedUnit[] {
  const units: WalkedUnit[] = [];
  for (const deployed of history.all) {
    const lowest = deployed.from;
    const highest = (history.after(deployed)?.from ?? Number.MAX_SAFE_INTEGER) - 1;
    if (highest < from || lowest > to || lowest > highest) continue;
    const plan = structureOf(deployed, history.pipeline);
    for (const segment of plan.segments) {
      if (plan.fork?.reused.has(segment.name)) continue;
      for (let partition = 0; partition < deployed.partitions; partition++) {
        const stream = stepsStreamOf(plan, segment, partition);
        const reads = readsOf(plan, segment, partition);
        units.push({ stream, pipeline: history.pipeline, deployed, segment, reads, lowest, highest });
      }
    }
  }
  return units;
}

function readsOf(plan: Plan, segment: Segment, partition: number): ReadonlyMap<string, Part> {
  const reads = new Map<string, Part>();
  for (const { stream, from } of upstreamsOfPartition(plan, segment, partition)) {
    // What a stage gave that a fork has cut: that one is read alone.
    reads.set(stream, "results" in from ? (segment.stages[0]?.definition.inputs[0] ?? "") : OUTPUTS);
  }
  return reads;
}

async function walkedEvent(
  { log }: Walk,
  { stream, pipeline, deployed, segment, reads }: WalkedUnit,
  graph: StepGraph,
): Promise<WalkedEvent> {
  const { event } = graph;
  const stages = stagesOf(deployed, segment.name);
  if (event.stages !== undefined && event.stages.length !== stages.length) {
    throw new HeadwaterError("LogDamaged", "an event does not fit the deployment that it names", {
      where: `${stream}, N = ${event.first}`,
    });
  }
  return {
    ...{ stream, graph, segment, stages, reads },
    members: await membersOf(log, stream, graph),
    retried: await retriedOf(log, retryStream(pipeline), event),
  };
}

async function membersOf(log: EventLog, stream: string, graph: StepGraph): Promise<Members[] | undefined> {
  const [first] = graph.event.stages ?? [];
  if (first === undefined || (first.members === undefined && first.membersIn === undefined)) return undefined;
  const elsewhere = first.membersIn && (await readMembersColumn(log, stream, first.membersIn));
  const { count } = graph.shape.stage(0);
  return Array.from({ length: count }, (_, row) => graph.members(row, elsewhere) ?? []);
}

async function retriedOf(
  log: EventLog,
  stream: string,
  event: StepsRecorded,
): Promise<ReadonlyMap<number, RetryItem>> {
  if (event.entry === undefined) return new Map();
  const graph = new StepGraph(event);
  const items = Array.from({ length: event.count }, (_, row) => graph.input(row).parent?.n ?? -1);
  return new Map((await readAsked(log, stream, items)).map((asked) => [asked.item, asked]));
}

function mustGoOn({ signal }: Walk): void {
  if (signal.aborted) throw new HeadwaterError("Stopped", "stopped while what was selected was looked for");
}
