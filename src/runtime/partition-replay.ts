import { HeadwaterError } from "../core/errors.ts";
import type { WatermarkStep } from "../core/watermark.ts";
import type { Outside } from "../engine/outside.ts";
import type { InputRows } from "../engine/rows.ts";
import type { SegmentEngine, SegmentResult } from "../engine/segment-engine.ts";
import type { MergeReader } from "./merge-reader.ts";
import { loadRetriedBatch, type RetriedBatch, type RetriedContext } from "./retried-inputs.ts";
import { stepsStreamOf } from "./routes.ts";

export interface PartitionReplay {
  readonly context: RetriedContext;
  readonly engine: SegmentEngine;
  readonly reader: MergeReader;
  /** Serves what the stages had from outside. */
  readonly effects: Outside;
  /** What was put back among the inputs: it comes in where it did. */
  readonly retried: readonly RetriedBatch[];
  readonly batchRecords: number;
  /** Where `reader` ends, if it does: inputs that have not come by then are missing. */
  readonly upTo?: number;
  /** Runs the next inputs by `work`; as it is, if absent. */
  around?(first: number, count: number, work: () => Made): Promise<SegmentResult>;
}

/** Inputs of the first batch: whoever has sought a place soon sees the first of them. Then twice as many each time. */
const FIRST_BATCH_RECORDS = 16;

type Made = SegmentResult | Promise<SegmentResult>;

/** Up to which input, or to which ordinal. */
export type ReplayEnd = { readonly next: number } | { readonly through: number };

/** A batch of a partition's inputs that was run again. */
export interface ReplayedBatch {
  readonly rows: InputRows;
  /** N of its first input. */
  readonly first: number;
  readonly result: SegmentResult;
  /** The stage at which the inputs came in, where they were put back. */
  readonly entry: string | undefined;
}

/** Where a replay has come to. */
export interface Replayed {
  readonly next: number;
  /** Everything up to this ordinal has been taken. */
  readonly through: number;
  /** The steps of the watermark on the way. */
  readonly steps: readonly WatermarkStep[];
}

/**
 * Runs the inputs of a partition again, from N = `from.next` on, so that its engine comes to the state of then; gives
 * each batch. Answers where it has come to; `undefined` when `signal` aborts. Throws `LogDamaged` where the inputs up to
 * an N are not in the streams that they came from.
 */
export async function* replayBatches(
  replay: PartitionReplay,
  from: { readonly next: number; readonly through: number },
  end: ReplayEnd,
  signal: AbortSignal,
): AsyncGenerator<ReplayedBatch, Replayed | undefined> {
  const { context, engine, reader, effects, retried, batchRecords } = replay;
  const around = replay.around ?? (async (_first, _count, work) => work());
  const steps: WatermarkStep[] = [];
  const left = [...retried];
  let { next, through } = from;
  let most = FIRST_BATCH_RECORDS;
  const last = "next" in end ? end.next : Number.POSITIVE_INFINITY;
  for (;;) {
    const [back] = left;
    if (back?.first === next) {
      const { entry, step } = back;
      if (engine.head !== undefined && step !== undefined) await reader.comeTo(step, signal);
      const { rows } = await loadRetriedBatch(context, back);
      const first = next;
      const result = await around(first, rows.count, () => engine.processAt(entry, rows, first, effects));
      next += rows.count;
      left.shift();
      yield { rows, first, result, entry };
      continue;
    }
    if (back === undefined && ("next" in end ? next >= last : through >= end.through))
      return { next, through, steps };
    // Complete up to its end, the reader has nothing more, and would wait for it for ever.
    if ("next" in end && through >= (replay.upTo ?? Number.POSITIVE_INFINITY))
      throw new InputsMissing(context, next);
    most = Math.min(most, batchRecords);
    const batch = await reader.next(Math.min(most, (back?.first ?? last) - next), signal);
    most *= 2;
    if (batch === undefined) return undefined;
    through = batch.through;
    steps.push(...batch.steps);
    const { rows } = batch;
    if (rows.count === 0) continue;
    const first = next;
    const result = await around(first, rows.count, () => engine.process(rows, first, effects));
    next += rows.count;
    yield { rows, first, result, entry: undefined };
  }
}

/** Inputs that were recorded do not come again. */
export class InputsMissing extends HeadwaterError {
  constructor({ plan, segment, partition }: RetriedContext, next: number) {
    const stream = stepsStreamOf(plan, segment, partition);
    super("LogDamaged", "inputs that were recorded are not in the streams that they came from", {
      where: `${stream}@${next}`,
      hint: "headwater audit tells what else does not fit.",
    });
  }
}

/** {@link replayBatches}, for the state alone. */
export async function replayInputs(
  replay: PartitionReplay,
  from: { readonly next: number; readonly through: number },
  end: ReplayEnd,
  signal: AbortSignal,
): Promise<Replayed | undefined> {
  const batches = replayBatches(replay, from, end, signal);
  for (;;) {
    const { done, value } = await batches.next();
    if (done) return value;
  }
}
