import type { AuditFailure } from "../../projections/audit.ts";

export type { AuditFailure } from "../../projections/audit.ts";

export interface AuditRequest {
  readonly log: string;
  /** Only the records of this pipeline, where a check is about records. */
  readonly pipeline?: string;
  /** Files with signed notes. */
  readonly checkpoints: readonly string[];
  /** Verifier keys: `name+id+base64`. */
  readonly verifiers: readonly string[];
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
}

export interface AuditReport {
  readonly ok: boolean;
  readonly checks: readonly CheckReport[];
}
