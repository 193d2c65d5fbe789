import type { HeadwaterError } from "../core/errors.ts";
import type { PipelineDeployed } from "../core/events.ts";
import type { Plan } from "../pipeline/plan.ts";
import type { Bundle, Bundler } from "../ports/bundler.ts";
import type { Clock } from "../ports/clock.ts";
import type { EventLog } from "../ports/event-log.ts";
import type { Ids } from "../ports/ids.ts";
import type { Processes } from "../ports/processes.ts";
import type { Threads } from "../ports/threads.ts";
import type { Watchdog } from "../ports/watchdog.ts";
import type { RuntimeVersions } from "./deployment.ts";
import type { Probe } from "./host-context.ts";
import type { Intake } from "./intake.ts";
import type { ThreadSettings } from "./node-thread.ts";
import type { ProgressBoard } from "./progress-board.ts";
import type { MissingOutput, SinkTarget } from "./sink-target.ts";

/** What a pipeline runs on. */
export interface RunEnvironment {
  readonly log: EventLog;
  readonly clock: Clock;
  readonly ids: Ids;
  readonly processes: Processes;
  readonly bundler: Bundler;
  readonly runtime: RuntimeVersions;
  /** Where nodes run if they are to run in threads. */
  readonly threads?: Threads;
  /** Tells on standard error if a function keeps this thread, where nodes run in it. */
  readonly watchdog?: Watchdog;
  readonly probe?: Probe;
  /** How fast history is let go of; as `LIMITS` has it, if absent. In milliseconds. */
  readonly pace?: { readonly retentionTickMs: number; readonly snapshotEveryMs: number };
  /** Called when the actors have been started; a test makes them lose nodes with what it is given. */
  readonly onOperating?: (controls: RunControls) => void;
}

/** How a run ended that nothing went wrong in. */
export interface RunEnd {
  readonly deployed: PipelineDeployed;
  /** Whether all that was accepted has come to its end. If not, the time for that was over when the run was stopped. */
  readonly drained: boolean;
}

/** What can be done to the actors of a pipeline while they run. */
export interface RunControls {
  /** A node is gone without a word: its partitions go to the others, or to the one that takes its place. */
  loseNode(node: string): void;
  /** The names of the nodes that can be lost now. */
  nodes(): readonly string[];
}

/** What is to be run, and how. */
export interface RunOptions {
  readonly plan: Plan;
  readonly bundle: Bundle | undefined;
  readonly intakes: ReadonlyMap<string, Intake>;
  readonly targets: ReadonlyMap<string, SinkTarget>;
  readonly nodes: number;
  /** Nodes run in threads of their own; absent: in this one. They need a bundle. */
  readonly threads?: ThreadSettings;
  readonly batchRecords: number;
  readonly tickMs: number;
  readonly provenance: "full" | "off";
  /** Does not end with the intakes. */
  readonly follow: boolean;
  /** The end of an input does not close windows: they are left to the next run. */
  readonly keepOpen: boolean;
  /** Do not put back what was asked for: that is for the deployment that comes. */
  readonly leaveRetries?: boolean;
  /** When it aborts nothing more is taken in, what was accepted is brought to its end, and then the run ends. */
  readonly signal: AbortSignal;
  /** How many milliseconds that may take; 30 s if absent. */
  readonly drainMs?: number;
  /** Since when that time runs, by the monotonic clock; absent: since `signal` aborts. */
  drainSince?(): number | undefined;
  readonly board: ProgressBoard;
  /** Called when the pipeline is this process's own and deployed. With it nobody stands by: see `Supervision.claim`. */
  beforeWork?(): Promise<void> | undefined;
  /** `before` is what was deployed until then. */
  onDeployed(deployed: PipelineDeployed, before: PipelineDeployed | undefined): void;
  onRejected(source: string, where: string, error: HeadwaterError): void;
  onQuarantined(stage: string, address: string, message: string): void;
  onResumed(source: string, input: string, records: number): void;
  /** An input has failed, and what it gave before is taken, while others go on: the run ends with it when they have ended. */
  onInputFailed?(source: string, error: HeadwaterError): void;
  /** A record's event time (milliseconds since 1970) is too far ahead to be believed yet. */
  onTimeAhead(source: string, where: string, time: number): void;
  /** See `HostContext.onOutputWaits`. */
  onOutputWaits?(sink: string, reason: string | undefined): void;
  /** See `HostContext.onOutputMissing`. */
  onOutputMissing?(sink: string, missing: MissingOutput): void;
  /**
   * A stage has waited for LIMITS.waitToldMs for what its function promised for one record; `what` names both, `why` says
   * what keeps it, if that is not the function itself.
   */
  onStageWaits?(what: string, why: string | undefined): void;
  /** The time to bring to its end what was accepted is over: the rest is left to the next start. */
  onDrainTimeout?(drainMs: number): void;
  onStandBy(message: string): void;
  /** A run that follows its inputs has failed for now, and goes on: see `runPipeline`. */
  onBegunAgain(error: HeadwaterError): void;
  onRestarted(unit: string, error: unknown): void;
  /** The thread of a node is gone, and another node takes its place. */
  onNodeLost?(node: string, replacement: string, error: HeadwaterError): void;
}
