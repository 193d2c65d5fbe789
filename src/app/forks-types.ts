import type { DeployedParameters, DeployedSelection } from "../core/events.ts";
import type { ReplayProgress, ReplayReport } from "./replay-types.ts";
import type { ForkRequest, WhatIfReport } from "./what-if-types.ts";

/** Which replay of those in a log. */
export interface ForkQuery {
  readonly log: string;
  /** Its id, or `PIPELINE~ID` where several pipelines have one of that id. */
  readonly id: string;
}

/** What is to be gone on with. `diff`, and where sinks write to, are of replays with a fork alone. */
export type ResumeRequest = ForkQuery &
  ForkRequest & { readonly onVerifyProgress?: (progress: ReplayProgress) => void };

/**
 * How a replay is: a process is at it (`running`), somebody has asked it to stand still (`paused`), or to end
 * (`stopped`), nobody is at it although it is not through (`interrupted`), or it is (`done`).
 */
export type ForkStatus = "running" | "paused" | "stopped" | "interrupted" | "done";

/** What every replay that is in the log says of itself. */
interface CommonSummary {
  readonly id: string;
  readonly pipeline: string;
  readonly status: ForkStatus;
  /**
   * Until when none of the pipeline's history is let go of, so that it can go on, in milliseconds since 1970; each word of
   * it moves that. `undefined`: nothing is kept for it, as it needs nothing more.
   */
  readonly heldUntil: number | undefined;
  /** When it was begun, in milliseconds since 1970. */
  readonly begun: number;
  readonly from: number;
  readonly to: number;
  /** Records of the window that are through, of so many. Of a verification that is the share of its work. */
  readonly records: number;
  readonly of: number;
  /** What it tells of, if that is not everything. */
  readonly only: DeployedSelection | undefined;
}

/** A replay that compares history with what was recorded, and that was given an id. */
export interface VerificationSummary extends CommonSummary {
  readonly mode: "verify";
  /** Steps that were compared, and such that did not give what was recorded. */
  readonly steps: number;
  readonly diverged: number;
}

/** A replay that has a fork in the log. */
export interface ForkSummary extends CommonSummary {
  readonly mode: "what-if";
  /** The module that it runs, and its parameters. */
  readonly module: string | undefined;
  readonly parameters: DeployedParameters;
  readonly newEffects: "refused" | "called";
}

/** A replay that is in the log. */
export type ReplaySummary = ForkSummary | VerificationSummary;

/** A replay as it is, and what came of it if it is done. */
export type ReplayDetails =
  | (ForkSummary & { readonly report: Omit<WhatIfReport, "seconds"> | undefined })
  | (VerificationSummary & { readonly report: ReplayReport | undefined });
