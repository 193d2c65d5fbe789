import type { HeadwaterError } from "../core/errors.ts";
import type { ParameterInForce, ParameterSettings } from "../pipeline/parameter-overrides.ts";
import type { CheckpointTimes } from "./checkpoint-types.ts";

/** What `headwater run` is asked to do. */
export interface RunRequest {
  /** A module's path, or the name of a pipeline that is deployed in the log. */
  readonly pipeline: string;
  /** `lmdb:<dir>` or `memory:`. */
  readonly log: string;
  /** Source → file, or `-` for standard input. */
  readonly inputs: ReadonlyMap<string, string>;
  /** Sink → file, or `-` for standard output. Sinks that are not named only count. */
  readonly outputs: ReadonlyMap<string, string>;
  /**
   * Values of the pipeline's parameters, by stage and name. Those that are not named have their default or, in a
   * pipeline that is run by its deployed name, the value that it is deployed with.
   */
  readonly parameters?: ParameterSettings;
  /** `STAGE.PARAMETER` → value as text, which is read as JSON if the parameter takes that. Counts before `parameters`. */
  readonly parameterTexts?: ReadonlyMap<string, string>;
  /** Node actors in this process; 1 if absent. */
  readonly nodes?: number;
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
  /** First abort: finish what is in flight and stop. */
  readonly signal?: AbortSignal;
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
  /** Event time of a record, milliseconds since 1970, that is too far ahead of all before it to be believed yet. */
  | { readonly kind: "time-ahead"; readonly source: string; readonly where: string; readonly time: number }
  /** A checkpoint was not signed, or not taken by the command it was given to. */
  | { readonly kind: "checkpoint"; readonly message: string }
  | { readonly kind: "standing-by"; readonly message: string }
  /** A run that follows its inputs goes on after a failure that need not last. */
  | { readonly kind: "begun-again"; readonly message: string }
  /** What the log says: it keeps everyone waiting, or goes on. */
  | { readonly kind: "log"; readonly waiting: boolean; readonly message: string }
  | { readonly kind: "restarted"; readonly node: string; readonly message: string };

/** What a run did; `headwater run --json` prints it as it is. */
export interface RunReport {
  readonly pipeline: string;
  /** Digest of the deployment's code and parameters, hex. */
  readonly deployment: string;
  /** Of this run. `pending`: accepted, by this or an earlier run, and not at its end yet. */
  readonly records: {
    readonly read: number;
    readonly accepted: number;
    readonly duplicate: number;
    readonly rejected: number;
    readonly quarantined: number;
    /** Came too late for a window or join; counted at each that they came too late for. */
    readonly late: number;
    readonly pending: number;
  };
  /** How many came too late for which window or join; only those with some. */
  readonly late: Readonly<Record<string, number>>;
  /** Stage executions recorded by this run. */
  readonly steps: number;
  /** Records delivered to each sink by this run. */
  readonly outputs: Readonly<Record<string, number>>;
  readonly nodes: number;
  readonly seconds: number;
  readonly recordsPerSecond: number;
  readonly log: { readonly position: string; readonly bytes: number };
}
