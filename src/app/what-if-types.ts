import type { DeployedSelection } from "../core/events.ts";
import type { NewlyRefused } from "../runtime/newly-refused.ts";
import type { OutputDifference } from "../runtime/outputs-diff.ts";
import type { Rate } from "../runtime/pace.ts";
import type { RefusedReport } from "../runtime/refused-again.ts";
import type { HistoryPoint } from "./history-point.ts";
import type { ReplaySelection } from "./selection-types.ts";
import type { SinkBinding } from "./start-types.ts";

export type { NewlyRefused } from "../runtime/newly-refused.ts";
export type { OutputDifference } from "../runtime/outputs-diff.ts";

/** What another version of a pipeline is to be run over. At least one of `whatIf` and `parameters` is given. */
export interface WhatIfRequest extends ForkRequest, ReplaySelection {
  /** The name of a pipeline that is deployed in the log, or its module's path. */
  readonly pipeline: string;
  /** The path of another module, or the number of a version in the log; the version that runs now if absent. */
  readonly whatIf?: string;
  /** `STAGE.PARAM` → value: others keep their default, or where no module is given those of the version. */
  readonly parameters?: ReadonlyMap<string, string>;
  /** Of the replay: small letters, digits and inner hyphens; made up if absent. */
  readonly id?: string;
  /** Records from this point on; the beginning if absent. Of an event time from the first record that is as late. */
  readonly from?: HistoryPoint;
  /**
   * Records up to this point; as far as the pipeline has come, if absent. Of an event time up to the last record of the
   * window that is not later, however late it came.
   */
  readonly to?: HistoryPoint;
  /** Everything is run, also what would give what was recorded. */
  readonly full?: boolean;
  /** What becomes of effects whose results were not recorded; `refused` if absent. */
  readonly newEffects?: "refused" | "called";
}

/** How a replay with a fork is gone about. */
export interface ForkRequest {
  /** `lmdb:<dir>` or `esdb://…`. Another process may be at work on it. */
  readonly log: string;
  /**
   * Sink → file, address of a receiver, or `-` for standard output, that gets what the fork has for it. Others hand out
   * nothing. They are remembered: gone on with, the replay writes there, unless another is named.
   */
  readonly outputs?: ReadonlyMap<string, string>;
  /** Sink, or "" for all files → size or time after which its next file is begun. */
  readonly rotations?: ReadonlyMap<string, string>;
  /**
   * Where sinks deliver to, as for `start`. Functions, and receivers with headers or a password, cannot be remembered: a
   * replay that is gone on with is to be given them again.
   */
  readonly sinks?: Readonly<Record<string, SinkBinding>>;
  /**
   * A file that gets all differences as JSON lines, in the place of older ones that are in it: one with anything else is
   * refused. It is remembered: gone on with, the replay writes it unless another is named. `-` is standard output, for
   * this once.
   */
  readonly diff?: string;
  /** As fast as it goes, if absent. */
  readonly rate?: Rate;
  /** Aborting it rejects with `Stopped`; the replay can be resumed. */
  readonly signal?: AbortSignal;
  onProgress?(progress: ForkProgress): void;
}

/** How far a replay with a fork is. */
export interface ForkProgress {
  /** Records of the window's sources that are through. */
  readonly records: number;
  readonly of: number;
  /** Since this process took it up. */
  readonly recordsPerSecond: number;
  /** At that rate; `undefined` while there is none. */
  readonly secondsLeft: number | undefined;
}

/** How many of some outputs, or of a stage's results, are as they were recorded. */
export interface DiffTotals {
  readonly same: number;
  readonly changed: number;
  readonly added: number;
  readonly gone: number;
  /** Such as cannot be compared, because they are made of records that were let go of; absent: none. */
  readonly unverifiable?: number;
}

/** Records of the window that were let go of, so that they were not run. */
export interface GoneRecords {
  readonly records: number;
  /** The address of the first. */
  readonly first: string;
  /** The first ordinal that was asked for, where it could only be begun at a later one: `from`. */
  readonly asked: number | undefined;
}

/** Results of effects that were let go of: the replay begins behind the records that they were for. */
export interface GoneEffects {
  /** The first input of a partition whose effects have no results any more. */
  readonly first: string;
  /** The first ordinal that was asked for. */
  readonly asked: number;
  /** Records of sources that are not run because of it, or of what else was not there. */
  readonly records: number;
}

/** A difference, and the sink that it would reach. */
export interface SinkDifference extends OutputDifference {
  readonly sink: string;
}

/** How the outputs of a fork differ from what was recorded. */
export interface OutputsDiff extends DiffTotals {
  readonly sinks: readonly (DiffTotals & {
    readonly sink: string;
    /** How many of the changed outputs differ in each field; of very many fields the first ones. */
    readonly fields: Readonly<Record<string, number>>;
  })[];
  /** What stages gave, each by itself, in the order of the pipeline. */
  readonly stages: readonly (DiffTotals & { readonly stage: string })[];
  /** The first differences of each kind of each sink. */
  readonly examples: readonly SinkDifference[];
}

/**
 * Records that were put back from quarantine in the window. The replay decides anew what fails, and puts nothing back:
 * what came of a record that was put back is compared with what the replay gave where the record had failed.
 */
export interface PutBackReport {
  /** Of those that had been refused in the window, how many came back, each time that they did. */
  readonly records: number;
  /** The address of the first of them, `retry_P@I`; absent: there is none. */
  readonly first?: string;
  /** Such as had been refused before the window: they are not in the replay, and what came of them is not compared. */
  readonly earlier: number;
  /** Such as went on then, and are refused at the same stage in the replay: what came of them is `gone`. */
  readonly refused: readonly NewlyRefused[];
}

/** What came of running another version over history; `headwater replay --what-if --json` prints it. */
export interface WhatIfReport {
  readonly id: string;
  readonly mode: "what-if";
  readonly pipeline: string;
  /** The window: records with ordinals from `from` up to and with `to`. */
  readonly from: number;
  readonly to: number;
  /** The version that it is compared with: the one that the last record was for. */
  readonly version: number;
  /** What is told of, if that is not everything: in `records`, `matched`, `diverged` and `diff`. All of it was run. */
  readonly only: DeployedSelection | undefined;
  /**
   * Records that sources had accepted in it; of a selection those that are chosen: of a key all that have it, of a
   * quarantine all that were refused.
   */
  readonly records: number;
  /** Of `key`: of so many records it cannot be told whether they have it, as they are not kept; absent: of none. */
  readonly keysUnknown: number | undefined;
  /** Steps of the fork: input rows of all its stages. */
  readonly steps: number;
  /** Results of stages that are as they were recorded, and such that are not. */
  readonly matched: number;
  readonly diverged: number;
  /** Steps that were run, and such whose recorded result was taken. */
  readonly reexecuted: number;
  readonly reused: number;
  readonly diff: OutputsDiff;
  /** What was put back from quarantine in the window, by hand; `undefined`: nothing was. */
  readonly putBack: PutBackReport | undefined;
  /** What of the window was not there any more; `undefined`: all was. */
  readonly gone: GoneRecords | undefined;
  /** Whether it begins later than was asked for because results of effects are not there any more. */
  readonly effectsGone: GoneEffects | undefined;
  /** Of `quarantined`: what becomes of the refused records. */
  readonly quarantined: RefusedReport | undefined;
  /**
   * Records that stages of the fork refuse, and that were not refused there: what came of them is `gone`. Each stage that
   * refuses some, in the order of the pipeline; `undefined`: there are none. `headwater quarantine list P~ID` has them all.
   * Those that were refused and went on when they were put back are among `putBack.refused`.
   */
  readonly newlyRefused: readonly NewlyRefused[] | undefined;
  /**
   * Stages with windows, or with records that wait to be joined, that may still be open at `to`: these have given nothing
   * yet in the replay, and what they gave later is not compared. `undefined`: there are none, or all inputs had ended.
   */
  readonly stillOpen: readonly string[] | undefined;
  readonly seconds: number;
}
