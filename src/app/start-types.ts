import type { ParameterSettings } from "../pipeline/parameter-overrides.ts";
import type { CheckpointTimes } from "./checkpoint-types.ts";
import type { RunNotice, RunReport } from "./run-types.ts";

/** Identity of a delivered record, the same in every run: what to make a receiver idempotent by. */
export interface Delivery {
  /** Such as `source_orders.web@1234`; with a suffix where a record gave several. */
  readonly key: string;
  /** Logical time of the record; see `ordinalToTime`. */
  readonly ordinal: number;
}

/** How a program runs a pipeline in its own process. */
export interface StartOptions {
  /** `lmdb:<dir>`, `esdb://…` or `memory:`. */
  readonly log: string;
  /** The file of the module that defines the pipeline, so that its code is kept in the log: `import.meta.filename`. */
  readonly module?: string;
  /** Records to take in, for each source. Sources that are not named take what is offered. */
  readonly inputs?: Readonly<Record<string, Iterable<unknown> | AsyncIterable<unknown>>>;
  /** Called with each output, in order, at least once; a promise is waited for. */
  readonly sinks?: Readonly<Record<string, (record: never, delivery: Delivery) => void | Promise<void>>>;
  /** Values of the pipeline's parameters, by stage and name; those that are not named have their default. */
  readonly parameters?: ParameterSettings;
  /** Node actors; 1 if absent. */
  readonly nodes?: number;
  readonly batchRecords?: number;
  readonly tickMs?: number;
  /** `off` keeps records and cursors only: no digests, no lineage of stages. `full` if absent. */
  readonly provenance?: "full" | "off";
  /** Leave windows that are open at the end of the inputs to the next start. */
  readonly keepOpen?: boolean;
  /** Checkpoints that are signed while it runs, and at its end. */
  readonly checkpoints?: CheckpointTimes;
  onNotice?(notice: RunNotice): void;
}

/** A pipeline at work. */
export interface RunningPipeline {
  /**
   * Gives a record to a source. Resolves with its address when it is durable, `undefined` when it is a duplicate.
   * Rejects with `Overloaded` when too many wait, or with why the source refuses it.
   */
  offer(source: string, record: unknown): Promise<string | undefined>;
  /** No more records will be offered to the source, or to any. */
  end(source?: string): void;
  /** Finishes what is in flight and stops; the rest is left to the next start. */
  stop(): Promise<RunReport>;
  /** Settles when all inputs have ended and every record has come to its end, or with what went wrong. */
  readonly finished: Promise<RunReport>;
}
