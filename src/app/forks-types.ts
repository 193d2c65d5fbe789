import type { DeployedParameters, DeployedSelection } from "../core/events.ts";
import type { WhatIfReport } from "./what-if-types.ts";

/** Which replay of those in a log. */
export interface ForkQuery {
  readonly log: string;
  /** Its id, or `PIPELINE~ID` where several pipelines have one of that id. */
  readonly id: string;
}

/**
 * How a replay is: a process is at it (`running`), somebody has asked it to stand still (`paused`), or to end
 * (`stopped`), nobody is at it although it is not through (`interrupted`), or it is (`done`).
 */
export type ForkStatus = "running" | "paused" | "stopped" | "interrupted" | "done";

/** A replay that has a fork in the log. */
export interface ForkSummary {
  readonly id: string;
  readonly mode: "what-if";
  readonly pipeline: string;
  readonly status: ForkStatus;
  /** When it was begun, in milliseconds since 1970. */
  readonly begun: number;
  readonly from: number;
  readonly to: number;
  /** Records of the window that are through, of so many. */
  readonly records: number;
  readonly of: number;
  /** The module that it runs, and its parameters. */
  readonly module: string | undefined;
  readonly parameters: DeployedParameters;
  readonly newEffects: "refused" | "called";
  /** What it tells of, if that is not everything. */
  readonly only: DeployedSelection | undefined;
}

/** A replay as it is, and what came of it if it is done. */
export interface ForkDetails extends ForkSummary {
  readonly report: Omit<WhatIfReport, "seconds"> | undefined;
}
