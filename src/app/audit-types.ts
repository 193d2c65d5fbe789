import type { AuditFailure } from "../../projections/audit.ts";

export type {
  Audit,
  AuditedCheckpoint,
  AuditedEvent,
  AuditedLog,
  AuditedUpstream,
  AuditFailure,
  AuditItem,
  Tally,
} from "../../projections/audit.ts";

export interface AuditRequest {
  readonly log: string;
  /** Only the records of this pipeline, where a check is about records. */
  readonly pipeline?: string;
  /** Files with signed notes. */
  readonly checkpoints: readonly string[];
  /** Verifier keys: `name+id+base64`. */
  readonly verifiers: readonly string[];
  /** Modules with checks of the user's own, which are run besides. */
  readonly checks?: readonly string[];
  /** The share of inputs that are run again, above 0 up to 1, by the code in the log; none if absent. */
  readonly reexecute?: number;
  /** Decides which: the log's id if absent. */
  readonly seed?: string;
  readonly signal?: AbortSignal;
  /** Told how many events have been read, of how many. */
  readonly onProgress?: (events: number, of: number) => void;
}

/** What one check has found. */
export interface CheckReport {
  readonly name: string;
  readonly ok: boolean;
  readonly checked: number;
  /** What could not be checked: never part of what is ok. */
  readonly unverifiable: number;
  /** How many failures there are; at most `LIMITS.auditFailures` are told. */
  readonly failed: number;
  readonly failures: readonly AuditFailure[];
  /** What became of what was looked at, by names of the check's own. */
  readonly counts?: Readonly<Record<string, number>>;
  /** How many there were that were let go of, by names of the check's own; they are among the unverifiable. */
  readonly gone?: Readonly<Record<string, number>>;
  /** Streams of which something was let go of, and nothing is left that says how many records it was. */
  readonly uncounted?: readonly string[];
  /** The least share of the records that was kept, of the sources and stages (`pipeline/name`) of which a sample is. */
  readonly samples?: Readonly<Record<string, number>>;
  /** Of a check that looks at a sample, and has found nothing wrong. */
  readonly assurance?: CheckAssurance;
}

/** What a sample in which all is right says of all `of` things that it was taken from. */
export interface CheckAssurance {
  /** How sure it is that at least `share` of them are right. */
  readonly confidence: number;
  readonly share: number;
  /** About how many, where some cannot be looked at: nothing is said of those. */
  readonly of: number;
}

export interface AuditReport {
  readonly ok: boolean;
  readonly checks: readonly CheckReport[];
}
