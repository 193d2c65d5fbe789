import type { Value } from "../core/canonical.ts";
import type { RunReport, RunRequest } from "./run-types.ts";

/** What a refused record has come to. */
export type RefusedState =
  | { readonly state: "waiting" }
  /** It is to be put back, as `retry_P@I`. */
  | { readonly state: "asked"; readonly retry: string }
  | {
      readonly state: "retried";
      readonly retry: string;
      readonly fate: "went on" | "quarantined again" | "rejected again" | "duplicate";
      /** What it was taken in as. */
      readonly as: string | null;
    }
  | { readonly state: "discarded"; readonly reason: string };

/** A record that was quarantined in a stage or rejected at a door, as `headwater quarantine list` shows it. */
export type RefusedRecord = RefusedState & {
  /** `steps_P.G.Q@N.K/stage` or `quarantine_P.S@I`. */
  readonly address: string;
  readonly kind: "quarantined" | "rejected";
  /** The stage, or the source. */
  readonly at: string;
  /** When, ISO 8601. */
  readonly time: string;
  readonly code: string;
  readonly message: string;
  /** A path in the record, or `null`. */
  readonly where: string | null;
};

/** One of them with all that is kept, as `headwater quarantine show` shows it. */
export type RefusedDetails = RefusedRecord & {
  /** The record; `null` where it is a firing or could not be read. */
  readonly value: Value;
  readonly stack: string | null;
  /** What it was made of; of a rejected record the input and line. */
  readonly parent: string;
  readonly key: Value;
  /** Event time, ISO 8601. */
  readonly eventTime: string | null;
  /** Bytes as they came in, as text, of a rejected record. */
  readonly frame: string | null;
  /** Of a firing at which a window or join failed. */
  readonly firing: {
    readonly start: number | null;
    readonly end: number | null;
    readonly total: Value;
    readonly left: Value;
    /** Addresses of the inputs that it would have been made of. */
    readonly members: readonly string[];
  } | null;
  /** Why it cannot be put back; `null`: it can. */
  readonly obstacle: string | null;
};

export type StateCounts = Readonly<Record<RefusedState["state"], number>>;

/** What is in a pipeline's quarantine. */
export interface QuarantineList {
  readonly pipeline: string;
  readonly counts: StateCounts;
  /** The first ones, of all states. */
  readonly records: readonly RefusedRecord[];
  readonly complete: boolean;
}

/** Which refused records are meant. */
export interface RefusedSelection {
  /** Their addresses; they have to be in quarantine. */
  readonly records?: readonly string[];
  /** All that wait: at one stage, at one source, or everywhere. */
  readonly stage?: string;
  readonly source?: string;
  readonly all?: boolean;
}

export interface QuarantineRequest {
  /** `lmdb:<dir>` and the like. */
  readonly log: string;
  /** A module's path, or the name of a deployed pipeline. */
  readonly pipeline: string;
}

export interface RetryRequest extends QuarantineRequest, RefusedSelection {
  /** Only ask: the next run puts them back. */
  readonly later?: boolean;
  /** How the pipeline is run then. */
  readonly run: Omit<RunRequest, "pipeline" | "log" | "inputs" | "again">;
}

/** What `headwater quarantine retry` did. */
export interface RetryReport {
  readonly pipeline: string;
  /** Records that were asked for. */
  readonly asked: number;
  /** Those of the selection that cannot be put back. */
  readonly impossible: number;
  /** Who puts them back: this run, the process that runs the pipeline, or the next run. */
  readonly by: "this run" | "another process" | "the next run";
  readonly process: { readonly host: string; readonly pid: number } | null;
  readonly run: RunReport | null;
}
