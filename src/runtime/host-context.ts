import type { Arena } from "../core/arena.ts";
import type { Plan } from "../pipeline/plan.ts";
import type { Clock } from "../ports/clock.ts";
import type { EventLog } from "../ports/event-log.ts";
import type { RecordedOutcomes } from "./effect-calls.ts";
import type { EffectGates } from "./effect-gates.ts";
import type { DecodeRecord } from "./merge-reader.ts";
import type { Pace } from "./pace.ts";
import type { ProgressBoard } from "./progress-board.ts";
import type { MissingOutput } from "./sink-target.ts";
import type { Turnstile } from "./turnstile.ts";
import type { WorkMarks } from "./work-marks.ts";

/** What every worker of a process has at hand while a pipeline runs in it. */
export interface HostContext {
  readonly log: EventLog;
  readonly clock: Clock;
  readonly plan: Plan;
  /** Identity of the deployment that runs. */
  readonly deployment: Uint8Array;
  /** Records below this ordinal were for earlier deployments. */
  readonly deployedFrom: number;
  readonly process: string;
  readonly provenance: "full" | "off";
  readonly batchRecords: number;
  readonly tickMs: number;
  readonly arena: Arena;
  readonly decode: DecodeRecord;
  /** Bounds the calls of effects that are under way in this process. */
  readonly gates: EffectGates;
  readonly board: ProgressBoard;
  /** The end of an input does not close windows: they are left to the next run. */
  readonly keepOpen: boolean;
  /** Whether records that were asked for are put back; not where a deployment only ends what it has begun. */
  readonly takesRetries: boolean;
  /**
   * Where history is let go of, partitions take snapshots also after this long, so that little of it is held;
   * `undefined`: it is not.
   */
  readonly snapshotEveryMs: number | undefined;
  /** Of a fork: what effects have given in the history that it runs over. */
  readonly recordedEffects?: (segment: string, partition: number) => RecordedOutcomes;
  /** Of a fork: holds back what is read of history. */
  readonly pace?: Pace;
  /** For tests: called at named points, such as `steps:before`, to kill or stall the process there. */
  readonly probe: Probe | undefined;
  /** The receiver of a sink does not take what it is given for now; without a reason: it does so again. */
  onOutputWaits(sink: string, reason: string | undefined): void;
  /** The last of a sink's files is gone, and may not have been complete. */
  onOutputMissing(sink: string, missing: MissingOutput): void;
  /** Where the workers of a thread say what they are at, and wait for each other; absent outside of threads. */
  readonly thread?: ThreadPlace;
  /** Where the workers say what they are at, if this thread is watched though it is not a node's. */
  readonly marks?: WorkMarks;
  onQuarantined(stage: string, address: string, message: string): void;
  /** Makes of a stack of the pipeline's code one that names its files and lines. */
  places(stack: string): string;
}

/** What the workers of one thread share. */
export interface ThreadPlace {
  readonly marks: WorkMarks;
  readonly turnstile: Turnstile;
}

/** Called at a named point of the system. Answers a promise to hold the worker there. */
export type Probe = (point: string) => void | Promise<void>;
