import type { CaptureOptions } from "../../src/pipeline/capture.ts";
import type { StageContext } from "../../src/pipeline/context.ts";
import type { StageDefinition } from "../../src/pipeline/definition.ts";

/** The records of random pipelines. Functions decide by `k` and `v` only. */
export interface Item {
  readonly k: number;
  readonly v: number;
  /** When it happened, in milliseconds after the time that inputs begin with; what stages make of records need not have it. */
  readonly t?: number;
}

/** A pipeline in few words, so that what fast-check reports can be read. */
export interface PipelineWords {
  readonly partitions: number;
  readonly sources: readonly SourceWords[];
  readonly stages: readonly StageWords[];
  readonly sinks: readonly number[];
}

export interface SourceWords {
  readonly keyed: boolean;
  readonly timed: boolean;
  readonly identified: boolean;
  readonly outOfOrdernessMs: number;
  readonly aheadMs: number;
  readonly idleAfterMs?: number;
  readonly capture?: CaptureOptions;
}

export interface StageWords {
  /** What it is to be; where it cannot, for want of a key or of event times, it becomes something near to it. */
  readonly kind: Exclude<StageDefinition["kind"], "select">;
  /** Which of what is there already it reads, modulo their number. */
  readonly inputs: readonly number[];
  /** Beginning of its name: some are prefixes of others. */
  readonly name: string;
  readonly variant: number;
  /** It fails at records whose `v` this divides; 0: at none. */
  readonly fails: number;
  readonly how: number;
  /** Which windows, or bounds of a join. */
  readonly bounds: number;
  readonly lateness: number;
  readonly early: number;
  /** Where it makes records, what is kept of them. */
  readonly capture?: CaptureOptions;
}

/** Throws, or answers what a stage may not, for the records at which the stage is to fail. */
export function failing<T>(
  { fails, how }: Pick<StageWords, "fails" | "how">,
  record: unknown,
  wrong: readonly unknown[],
  right: () => T,
  ctx?: Pick<StageContext, "root">,
): T {
  // What is put back has been mended.
  if (ctx?.root.startsWith("retry_")) return right();
  if (fails === 0 || (record as Item).v % fails !== 0) return right();
  if (how === 0) throw new Error("as the test wants it");
  return wrong[how - 1] as T;
}
