import type { WatermarkStep } from "../core/watermark.ts";
import type { Outside } from "../engine/outside.ts";
import type { SegmentEngine } from "../engine/segment-engine.ts";
import type { MergeReader } from "./merge-reader.ts";
import { loadRetriedBatch, type RetriedBatch, type RetriedContext } from "./retried-inputs.ts";

export interface PartitionReplay {
  readonly context: RetriedContext;
  readonly engine: SegmentEngine;
  readonly reader: MergeReader;
  /** Serves what the stages had from outside. */
  readonly effects: Outside;
  /** What was put back among the inputs: it comes in where it did. */
  readonly retried: readonly RetriedBatch[];
  readonly batchRecords: number;
  /** Does what is to be done with the next inputs; as it is, if absent. */
  around?(first: number, count: number, work: () => unknown): Promise<void>;
}

/** Up to which input, or to which ordinal. */
export type ReplayEnd = { readonly next: number } | { readonly through: number };

/**
 * Runs the inputs of a partition again, from N = `from.next` on, so that its engine comes to the state of then.
 * Answers where it has come to, and the steps of the watermark on the way; `undefined` when `signal` aborts.
 */
export async function replayInputs(
  replay: PartitionReplay,
  from: { readonly next: number; readonly through: number },
  end: ReplayEnd,
  signal: AbortSignal,
): Promise<{ readonly next: number; readonly steps: readonly WatermarkStep[] } | undefined> {
  const { context, engine, reader, effects, retried, batchRecords } = replay;
  const around = replay.around ?? (async (_first, _count, work) => void (await work()));
  const steps: WatermarkStep[] = [];
  const left = [...retried];
  let { next, through } = from;
  const last = "next" in end ? end.next : Number.POSITIVE_INFINITY;
  for (;;) {
    const [back] = left;
    if (back?.first === next) {
      if (engine.head !== undefined && back.step !== undefined) await reader.comeTo(back.step, signal);
      const { rows } = await loadRetriedBatch(context, back);
      await around(next, rows.count, () => engine.processAt(back.entry, rows, next, effects));
      next += rows.count;
      left.shift();
      continue;
    }
    if (back === undefined && ("next" in end ? next >= last : through >= end.through)) return { next, steps };
    const batch = await reader.next(Math.min(batchRecords, (back?.first ?? last) - next), signal);
    if (batch === undefined) return undefined;
    const { rows } = batch;
    if (rows.count > 0) await around(next, rows.count, () => engine.process(rows, next, effects));
    next += rows.count;
    through = batch.through;
    steps.push(...batch.steps);
  }
}
