import type { PipelineDeployed, StepsRecorded } from "../core/events.ts";
import { lastWatermark } from "../core/watermark.ts";
import type { Outside } from "../engine/outside.ts";
import type { InputRows } from "../engine/rows.ts";
import type { SegmentResult } from "../engine/segment-engine.ts";
import { StepGraph } from "../engine/step-graph.ts";
import { pick } from "../engine/step-shape.ts";
import type { Plan, Segment } from "../pipeline/plan.ts";
import { currentCursors } from "./deployed-cursors.ts";
import { type EngineContext, partitionEngine, readInputs } from "./partition-restore.ts";
import { refusedBefore } from "./refused-inputs.ts";
import { upstreamsOfPartition } from "./routes.ts";

/** An event of a partition without state, of whose inputs some are kept. */
export interface PartlyKept {
  readonly context: EngineContext;
  readonly plan: Plan;
  readonly deployed: PipelineDeployed;
  readonly segment: Segment;
  readonly partition: number;
  readonly stream: string;
  readonly event: StepsRecorded;
  /** Which input of the event is the first that is wanted. */
  readonly from: number;
  readonly effects: Outside;
  readonly signal: AbortSignal;
}

/** Inputs that follow each other in an event, and what comes of them. */
export interface KeptRun {
  /** Which input of the event is the first. */
  readonly at: number;
  readonly rows: InputRows;
  readonly result: SegmentResult;
}

const BATCH_RECORDS = 1_024;

/**
 * Runs those inputs of an event again that are still kept, in runs between those that are not. Without state no input
 * needs another.
 */
export async function* runKept(kept: PartlyKept): AsyncGenerator<KeptRun> {
  const { context, plan, deployed, segment, partition, stream, event, effects, signal } = kept;
  const { log } = context;
  const graph = new StepGraph(event);
  const { ordinal: last } = graph.input(event.count - 1);
  const { ordinal: begin } = graph.input(0);
  const places = new Map<string, number>();
  for (let row = 0; row < event.count; row++) {
    const { parent } = graph.input(row);
    if (parent !== undefined) places.set(`${parent.stream}@${parent.n}.${parent.k}`, row);
  }
  const refused = await refusedBefore(log, stream, { snapshot: { next: event.first } }, event.through);
  const engine = partitionEngine(context, segment, { refused });
  const upstreams = upstreamsOfPartition(plan, segment, partition).map((one) => ({
    ...one,
    gone: "skip" as const,
  }));
  const cursors = await currentCursors({ log, deployedFrom: deployed.from }, upstreams, event.from);
  const place = { cursors, through: begin - 1, watermark: lastWatermark(event.watermark) };
  const reader = readInputs(context, engine, upstreams, place, last);
  try {
    for (let through = begin - 1; through < last; ) {
      const batch = await reader.next(BATCH_RECORDS, signal);
      if (batch === undefined) return;
      through = batch.through;
      const { rows } = batch;
      const found: { readonly row: number; readonly at: number }[] = [];
      for (let row = 0; row < rows.count; row++) {
        const { stream: upstream = "" } = upstreams[rows.upstreams?.[row] ?? 0] ?? {};
        const at = places.get(`${upstream}@${rows.parents[row]}.${rows.parentKs?.[row] ?? 0}`);
        if (at !== undefined && at >= kept.from) found.push({ row, at });
      }
      for (let start = 0; start < found.length; ) {
        const at = found[start]?.at ?? 0;
        let end = start + 1;
        while (found[end]?.at === at + end - start) end++;
        const run = pickInputs(
          rows,
          found.slice(start, end).map(({ row }) => row),
        );
        yield { at, rows: run, result: await engine.process(run, event.first + at, effects) };
        start = end;
      }
    }
  } finally {
    reader.stop();
  }
}

function pickInputs(rows: InputRows, at: readonly number[]): InputRows {
  const { sources, paths, times, upstreams, parentKs, keys } = rows;
  return {
    count: at.length,
    records: pick(rows.records, at),
    buffers: pick(rows.buffers, at),
    starts: pick(rows.starts, at),
    ends: pick(rows.ends, at),
    ordinals: pick(rows.ordinals, at),
    sources: sources && pick(sources, at),
    roots: pick(rows.roots, at),
    paths: paths && pick(paths, at),
    times: times && pick(times, at),
    upstreams: upstreams && pick(upstreams, at),
    parents: pick(rows.parents, at),
    parentKs: parentKs && pick(parentKs, at),
    keys: keys && pick(keys, at),
    firings: [],
  };
}
