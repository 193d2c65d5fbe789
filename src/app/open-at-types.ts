import type { AuditedLog, AuditItem } from "../../projections/audit.ts";
import type { DeployedParameters } from "../core/events.ts";
import type { AuditReport } from "./audit-types.ts";
import type { HistoryPoint } from "./history-point.ts";
import type { Lineage, LineageRequest } from "./lineage-types.ts";
import type { StageState, StateRequest } from "./state-types.ts";

/** Which point in a pipeline's history is to be looked at. */
export interface OpenAtRequest {
  /** `lmdb:<dir>` or `esdb://…`. Another process may be at work on it. */
  readonly log: string;
  /** The name of a pipeline that is deployed in the log, or its module's path. The code that counts is the log's. */
  readonly pipeline: string;
  /** An ordinal, an event time or a time of acceptance. */
  readonly at: HistoryPoint;
}

/**
 * A pure fold over a log: `init`, then `apply` for each {@link AuditItem} in their order. `apply` may change and answer
 * the state that it was given; it does nothing else. An `Audit` is one whose state is a tally.
 */
export interface Projection<State> {
  init(about: AuditedLog): State;
  apply(state: State, item: AuditItem): State;
}

/** A stage that keeps state. */
export interface StatefulStage {
  readonly name: string;
  readonly kind: StageState["kind"];
}

/**
 * A pipeline as of a point in its history. Only reads: neither the log nor a run that is at work on it is touched, and
 * what comes later changes nothing that it answers. What retention lets go of meanwhile it cannot tell any more.
 */
export interface PipelineView {
  readonly pipeline: string;
  /** It is as of after all records up to this ordinal. */
  readonly ordinal: number;
  /** The deployment that a record with this ordinal is for: its identity in hex, and which version it is. */
  readonly deployment: string;
  readonly version: number;
  /** The parameters of that deployment: stage → name → value. */
  readonly parameters: DeployedParameters;
  /** Those whose state can be asked for. */
  readonly stages: readonly StatefulStage[];

  /**
   * What a stage kept, of one key or of all: see `state`. Throws `UnknownStage`; `BadUsage` for a stage without state;
   * `RecordGone` where what is needed was let go of.
   */
  state(stage: string, options?: Pick<StateRequest, "key" | "signal">): Promise<StageState>;

  /**
   * What a fold comes to over the log as it was before the first later record of the pipeline was accepted, or the first
   * later version deployed: the very events, of all pipelines in the log. Throws `Stopped`, and what the fold throws.
   */
  project<State>(projection: Projection<State>, options?: { readonly signal?: AbortSignal }): Promise<State>;

  /** What the audits said of the log as it was then. Its checkpoints are left out. */
  audit(options?: { readonly signal?: AbortSignal }): Promise<AuditReport>;

  /**
   * Where a record came from, or with `forward` what it had gone into by then. A record that came later is
   * `RecordNotFound`. The index that `forward` needs is made in memory, in time proportional to the log up to then.
   */
  lineage(
    record: string,
    options?: Pick<LineageRequest, "forward" | "depth" | "limit" | "recompute" | "signal">,
  ): Promise<Lineage>;

  /** Lets go of the log. */
  close(): Promise<void>;
}
