import type { HeadwaterError } from "../core/errors.ts";
import type { ParameterInForce, ParameterSettings } from "../pipeline/parameter-overrides.ts";
import type { Plan } from "../pipeline/plan.ts";
import type { EventLog } from "../ports/event-log.ts";
import type { InputFormat } from "../ports/files.ts";
import type { FileNotice } from "../runtime/watched-files.ts";
import type { CheckpointTimes } from "./checkpoint-types.ts";

/** What `headwater run` is asked to do. */
export interface RunRequest {
  /** A module's path, or the name of a pipeline that is deployed in the log. */
  readonly pipeline: string;
  /** `lmdb:<dir>` or `memory:`. */
  readonly log: string;
  /** Source → file, folder (all files in it), or `-` for standard input. */
  readonly inputs: ReadonlyMap<string, string>;
  /** Source → what its input holds, where the name does not tell, or tells otherwise. */
  readonly formats?: ReadonlyMap<string, InputFormat>;
  /**
   * Sink → file, `http://…` or `https://…` (batches are POSTed there as JSON lines), or `-` for standard output. Sinks
   * that are not named only count.
   */
  readonly outputs: ReadonlyMap<string, string>;
  /** Sink → size or time after which its file is followed by the next one, such as `64MB` or `1h`; `""`: of all others. */
  readonly rotations?: ReadonlyMap<string, string>;
  /**
   * Values of the pipeline's parameters, by stage and name. Those that are not named have their default or, in a
   * pipeline that is run by its deployed name, the value that it is deployed with.
   */
  readonly parameters?: ParameterSettings;
  /** `STAGE.PARAMETER` → value as text, which is read as JSON if the parameter takes that. Counts before `parameters`. */
  readonly parameterTexts?: ReadonlyMap<string, string>;
  /** Node actors in this process; if absent 1, or with threads one for each core, but no more than partitions. */
  readonly nodes?: number;
  /** Where nodes run: in this thread (`inline`, the default), or each in a worker thread of its own. */
  readonly executor?: "inline" | "threads";
  /** Threads: milliseconds without an answer, at one record, after which a thread is replaced; 10,000 if absent. */
  readonly hangAfterMs?: number;
  /** Threads: most of its JavaScript heap that one may use, in MiB; 1,024 if absent. */
  readonly threadMemoryMb?: number;
  readonly batchRecords?: number;
  readonly tickMs?: number;
  /** Stay when the inputs have ended, until `signal` aborts. */
  readonly follow?: boolean;
  /** Leave open windows open at the end of the input. */
  readonly keepOpen?: boolean;
  /** Take inputs in again that were taken before. */
  readonly again?: boolean;
  /** Checkpoints that are signed while it runs, and at its end. */
  readonly checkpoints?: CheckpointTimes;
  /**
   * Says on standard error when a function of the pipeline lets nothing else in this thread go on: what is called here,
   * and who listens to signals, could not.
   */
  readonly tellsStalls?: boolean;
  /** When it aborts nothing more is taken in, what was accepted is brought to its end, and then the run ends. */
  readonly signal?: AbortSignal;
  /** How long that may take, in milliseconds; then it stops at once. 30,000 if absent. */
  readonly drainMs?: number;
  /**
   * Called when this process is the one that runs the pipeline, which is deployed, and before it does. Such a run does
   * not stand by: it throws `OwnershipLost` if another process is at work.
   */
  beforeWork?(log: EventLog, plan: Plan): Promise<void>;
  onProgress?(progress: RunProgress): void;
  onNotice?(notice: RunNotice): void;
}

/** How far a run is; given a few times a second. */
export interface RunProgress {
  readonly accepted: number;
  readonly delivered: number;
  /** Of all inputs together; `undefined` if some size is unknown. */
  readonly bytes: number | undefined;
  readonly bytesRead: number;
  /** Who holds back the rest just now. */
  readonly heldBackBy?: Pick<Backpressure, "by" | "reason"> | undefined;
}

/** Something that a person should hear of while the run goes on. */
export type RunNotice =
  | {
      readonly kind: "deployed";
      readonly pipeline: string;
      readonly version: number;
      readonly deployment: string;
      /** Those that have not their default, and those that had another value in the version before. */
      readonly parameters: readonly ParameterInForce[];
    }
  | {
      readonly kind: "rejected";
      readonly source: string;
      readonly where: string;
      readonly error: HeadwaterError;
    }
  | {
      readonly kind: "quarantined";
      readonly stage: string;
      readonly address: string;
      readonly message: string;
    }
  | { readonly kind: "resumed"; readonly source: string; readonly input: string; readonly records: number }
  | { readonly kind: "no-input"; readonly source: string }
  /**
   * An input has failed while others go on. What came before is taken; the run ends with the error when the others have
   * ended. In a program it stops.
   */
  | { readonly kind: "input-failed"; readonly source: string; readonly error: HeadwaterError }
  /**
   * A sink that has no target this time wrote to a file before, or sent to a receiver (without user and password). A
   * file goes on where it was when it is given again; a receiver is never sent what comes meanwhile. `rotate`: of files
   * that are rotated, after what. `mayBeLost`: not all of history is kept, and what comes meanwhile may be lost to the file.
   */
  | {
      readonly kind: "sink-left-out";
      readonly sink: string;
      readonly to: "file" | "receiver";
      readonly output: string;
      readonly rotate?: string;
      readonly mayBeLost: boolean;
    }
  /** Event time of a record, milliseconds since 1970, that is too far ahead of all before it to be believed yet. */
  | { readonly kind: "time-ahead"; readonly source: string; readonly where: string; readonly time: number }
  /** A checkpoint was not signed, or not taken by the command it was given to. */
  | { readonly kind: "checkpoint"; readonly message: string }
  | { readonly kind: "standing-by"; readonly message: string }
  /** A run that follows its inputs goes on after a failure that need not last. */
  | { readonly kind: "begun-again"; readonly message: string }
  /** What the log says: it keeps everyone waiting, or goes on. */
  | { readonly kind: "log"; readonly waiting: boolean; readonly message: string }
  /** What was accepted when the run was stopped has not come to its end in time: it is left to the next start. */
  | { readonly kind: "drain-timeout"; readonly drainMs: number }
  /** The receiver of a sink does not take a batch for now, or (without a reason) does so again. */
  | { readonly kind: "output-waits"; readonly sink: string; readonly reason: string | undefined }
  /**
   * The last of a sink's files, of so many bytes, was gone, and may not have been complete. It was written again, unless
   * what it had is not kept any more, or would not be the same now.
   */
  | {
      readonly kind: "output-missing";
      readonly sink: string;
      readonly file: string;
      readonly bytes: number;
      readonly rewritten: boolean;
    }
  /**
   * A stage has waited so long for what its function promised for one record; `what` names both. `why`: it, or one of its
   * effects, failed and is tried again, or waits for its turn.
   */
  | { readonly kind: "stage-waits"; readonly what: string; readonly ms: number; readonly why?: string }
  /** What became of a file that is read: see `FileNotice`. */
  | ({ readonly kind: "file"; readonly source: string } & FileNotice)
  | { readonly kind: "restarted"; readonly node: string; readonly message: string }
  /** The thread of a node has ended, or hung and was ended; `where` says at which stage and input, if that is known. */
  | {
      readonly kind: "node-lost";
      readonly node: string;
      readonly replacement: string;
      readonly message: string;
      readonly where: string | undefined;
      readonly hint: string | undefined;
    };

/** Something that held back what is ahead of it, up to the door. */
export interface Backpressure {
  /** `sink NAME`, `stage NAME` (or `stages A, B`, which run as one), or `log`. */
  readonly by: string;
  /** What a sink waited for last, such as `HTTP 503`. */
  readonly reason?: string;
  /** Whom it holds back, from itself up to the sources. */
  readonly chain: readonly string[];
  readonly seconds: number;
  /** Of the run's time. */
  readonly share: number;
}

/** What a run did; `headwater run --json` prints it as it is. */
export interface RunReport {
  readonly pipeline: string;
  /** Digest of the deployment's code and parameters, hex. */
  readonly deployment: string;
  /**
   * Of this run. `pending`: accepted, by this or an earlier run, and not at its end yet; what several stages or sinks
   * are still to take is counted once, and what is kept in windows, joins and reduces is not.
   */
  readonly records: {
    readonly read: number;
    readonly accepted: number;
    readonly duplicate: number;
    readonly rejected: number;
    readonly quarantined: number;
    /** Came too late for a window or join; counted at each that they came too late for. */
    readonly late: number;
    /** Put back after they had been quarantined or rejected. */
    readonly retried: number;
    readonly pending: number;
  };
  /** How many came too late for which window or join; only those with some. */
  readonly late: Readonly<Record<string, number>>;
  /** Stage executions recorded by this run. */
  readonly steps: number;
  /** Records delivered to each sink by this run. */
  readonly outputs: Readonly<Record<string, number>>;
  /** Who kept doors from taking in more, and for how long; the worst first. Empty if nobody did. */
  readonly backpressure: readonly Backpressure[];
  readonly nodes: number;
  readonly seconds: number;
  readonly recordsPerSecond: number;
  readonly log: { readonly position: string; readonly bytes: number };
}
