import type { Duration } from "../pipeline/duration.ts";
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

/** Gives records to a source: a function that is called once, and ends the input when it has returned. */
export type Feed = (to: {
  /** Resolves when there is room for the next record: wait for it. Rejects when the pipeline takes no more. */
  push(record: unknown): Promise<void>;
  /** Aborts when the pipeline stops. */
  readonly signal: AbortSignal;
}) => void | Promise<void>;

/** Identity of records that are delivered together. */
export interface BatchDelivery {
  /** UUID of the batch: a batch that is delivered again has the same records and the same key. */
  readonly key: string;
  /** Of each record, in order. */
  readonly records: readonly Delivery[];
}

/**
 * Where a program's sink delivers to, in order, at least once, and the next only when that is done: a function for
 * each record; one for many at once; a file, as JSON lines; a receiver to which batches are POSTed, as with
 * `headwater run --output`. What a function throws ends the run with it.
 */
export type SinkBinding =
  | ((record: never, delivery: Delivery) => void | Promise<void>)
  | { readonly batch: (records: readonly never[], delivery: BatchDelivery) => void | Promise<void> }
  /** `rotate`: size or time after which the next file is begun, such as `64MB` or `1h`. */
  | { readonly file: string; readonly rotate?: string }
  | {
      readonly url: string;
      readonly headers?: Readonly<Record<string, string>>;
      /** For one POST and its answer; 30 s if absent. */
      readonly timeout?: Duration;
    };

/** How a program runs a pipeline in its own process. */
export interface StartOptions {
  /** `lmdb:<dir>`, `esdb://…` or `memory:`. */
  readonly log: string;
  /**
   * The file of the module that defines the pipeline and exports it by default, so that its code is kept in the log:
   * `import.meta.filename` or `import.meta.url` there. It is loaded once more, to see that it makes this pipeline, and
   * refused if it makes another one.
   */
  readonly module?: string | URL;
  /**
   * Records to take in, for each source. Sources that are not named take what is offered. An iterator that is not
   * through when the pipeline ends is told so: its `return` is called.
   */
  readonly inputs?: Readonly<Record<string, Iterable<unknown> | AsyncIterable<unknown> | Feed>>;
  /** Where sinks deliver to; those that are not named only count. */
  readonly sinks?: Readonly<Record<string, SinkBinding>>;
  /** Values of the pipeline's parameters, by stage and name; those that are not named have their default. */
  readonly parameters?: ParameterSettings;
  /** Node actors; if absent 1, or with threads one for each core, but no more than partitions. */
  readonly nodes?: number;
  /**
   * Where nodes run: in this thread (`inline`, the default), or each in a worker thread of its own, which loads the
   * pipeline from `module`.
   */
  readonly executor?: "inline" | "threads";
  /** Threads: milliseconds without an answer, at one record, after which a thread is replaced; 10,000 if absent. */
  readonly hangAfterMs?: number;
  /** Threads: most of its JavaScript heap that one may use, in MiB; 1,024 if absent. */
  readonly threadMemoryMb?: number;
  readonly batchRecords?: number;
  readonly tickMs?: number;
  /** `off` keeps records and cursors only: no digests, no lineage of stages. `full` if absent. */
  readonly provenance?: "full" | "off";
  /** Leave windows that are open at the end of the inputs to the next start. */
  readonly keepOpen?: boolean;
  /** How long {@link RunningPipeline.stop} may take to bring to its end what was accepted; 30 s if absent. */
  readonly drainTimeout?: Duration;
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
  /**
   * Takes nothing more in, brings to its end what was accepted, as far as there is time for it, and stops. The rest,
   * `pending` in the report, is left to the next start, as are windows that are open. Offers that were not accepted
   * by then are rejected with `Stopped`.
   */
  stop(): Promise<RunReport>;
  /** Settles when all inputs have ended and every record has come to its end, or with what went wrong. */
  readonly finished: Promise<RunReport>;
}
