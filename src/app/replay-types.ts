import type { DeployedSelection } from "../core/events.ts";
import type { DivergenceDetails } from "../runtime/divergence-details.ts";
import type { Divergence } from "../runtime/history-check.ts";
import type { Rate } from "../runtime/pace.ts";
import type { GoneInputs } from "../runtime/reexecution.ts";
import type { RefusedReport } from "../runtime/refused-again.ts";
import type { HistoryPoint } from "./history-point.ts";
import type { ReplaySelection } from "./selection-types.ts";

export type { Divergence } from "../runtime/history-check.ts";
export type { HistoryPoint } from "./history-point.ts";

/** What is run again. */
export interface ReplayRequest extends ReplaySelection {
  /** `lmdb:<dir>` or `esdb://…`. Another process may be at work on it. */
  readonly log: string;
  /** The name of a pipeline that is deployed in the log, or its module's path. The code that runs is the log's. */
  readonly pipeline: string;
  /** Records from this point on; the beginning if absent. Of an event time from the first record that is as late. */
  readonly from?: HistoryPoint;
  /**
   * Records up to this point; the end of the log if absent. Of an event time up to the last record of the window that is
   * not later, however late it came.
   */
  readonly to?: HistoryPoint;
  /**
   * Small letters, digits and inner hyphens. It is then listed under this id, can be paused, and gone on with after it was
   * stopped or killed: how far it is is written to the log, and nothing else. Without one nothing is written.
   */
  readonly id?: string;
  /**
   * So that all of it takes as long as the records of the window take at this rate; as fast as it goes, if absent.
   */
  readonly rate?: Rate;
  /** Aborting it rejects with `Stopped`; with an `id` it can be gone on with. */
  readonly signal?: AbortSignal;
  onProgress?(progress: ReplayProgress): void;
}

/** How far a replay is. */
export interface ReplayProgress {
  /** Steps that were compared. */
  readonly steps: number;
  /** Units of work that are done, of so many. */
  readonly units: number;
  readonly of: number;
  /** From 0 to 1, by how much of each unit's window is behind. */
  readonly share: number;
  readonly stepsPerSecond: number;
  /** At the rate by now; `undefined` while there is none. */
  readonly secondsLeft: number | undefined;
}

/** The first divergence, with what was recorded in its place, and why it is another as far as that shows. */
export interface ExplainedDivergence extends Divergence, DivergenceDetails {}

/** What came of running history again; `headwater replay --json` prints it. */
export interface ReplayReport {
  readonly id: string;
  readonly mode: "verify";
  readonly pipeline: string;
  /** The window: records after the ordinal `from` up to and with `to`. */
  readonly from: number;
  readonly to: number;
  /** What is told of, if that is not everything. */
  readonly only: DeployedSelection | undefined;
  /**
   * Records that sources had accepted in it; of a selection those that are chosen: of a key all that have it, of a
   * quarantine all that were refused.
   */
  readonly records: number;
  /** Of `key`: of so many records it cannot be told whether they have it, as they are not kept; absent: of none. */
  readonly keysUnknown: number | undefined;
  /** Steps that were recorded for it: input rows of all stages, as far as they are told of. `matched` and `diverged` make them up. */
  readonly steps: number;
  readonly matched: number;
  readonly diverged: number;
  /** In the order of records. */
  readonly firstDivergence: ExplainedDivergence | undefined;
  /** Of `quarantined`: whether they fail again. `passed` and `otherError` are divergences. */
  readonly quarantined: RefusedReport | undefined;
  /**
   * Inputs of partitions that could not be run again, because what they need, or the events that tell of them, was let go
   * of or never kept.
   */
  readonly unverifiable: number;
  readonly firstGone: GoneInputs | undefined;
  /** Steps that were run, and such whose recorded result was taken for granted. */
  readonly reexecuted: number;
  readonly reused: number;
  readonly seconds: number;
}
