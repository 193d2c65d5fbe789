/** The library's door: what pipelines and programs import as "headwater". */
import type { ResumeRequest } from "./app/forks-types.ts";
import type { Lineage, LineageRequest } from "./app/lineage-types.ts";
import type { OpenAtRequest, PipelineView } from "./app/open-at-types.ts";
import type { ReplayReport, ReplayRequest } from "./app/replay-types.ts";
import type { RunReport, RunRequest } from "./app/run-types.ts";
import type { RunningPipeline, StartOptions } from "./app/start-types.ts";
import type { StageState, StateRequest } from "./app/state-types.ts";
import type { WhatIfReport, WhatIfRequest } from "./app/what-if-types.ts";
import type { Pipeline } from "./pipeline/pipeline.ts";

export type {
  Audit,
  AuditedCheckpoint,
  AuditedEvent,
  AuditedLog,
  AuditedUpstream,
  AuditFailure,
  AuditItem,
  Tally,
} from "./app/audit-types.ts";
export type { CheckpointTimes } from "./app/checkpoint-types.ts";
export type { ResumeRequest } from "./app/forks-types.ts";
export type { Lineage, LineageRequest, LineageVertex, ViewOptions } from "./app/lineage-types.ts";
export type { OpenAtRequest, PipelineView, Projection, StatefulStage } from "./app/open-at-types.ts";
export type { ExplainedDivergence, ReplayProgress, ReplayReport, ReplayRequest } from "./app/replay-types.ts";
export type { Backpressure, RunNotice, RunProgress, RunReport, RunRequest } from "./app/run-types.ts";
export type { ReplaySelection } from "./app/selection-types.ts";
export type {
  BatchDelivery,
  Delivery,
  Feed,
  RunningPipeline,
  SinkBinding,
  StartOptions,
} from "./app/start-types.ts";
export type {
  HistoryPoint,
  JoinStateEntry,
  KeptRecord,
  OpenWindow,
  ReduceStateEntry,
  StageState,
  StateRequest,
  WindowStateEntry,
} from "./app/state-types.ts";
export type {
  ForkProgress,
  NewlyRefused,
  OutputsDiff,
  PutBackReport,
  SinkDifference,
  WhatIfReport,
  WhatIfRequest,
} from "./app/what-if-types.ts";
export type { ErrorCode, ErrorDetails } from "./core/errors.ts";
export type { Aggregate, Aggregates, ReducerOptions } from "./pipeline/aggregates.ts";
export type { CaptureLevel, CaptureOptions } from "./pipeline/capture.ts";
export type { EffectContext, StageContext } from "./pipeline/context.ts";
export type {
  FunctionOptions,
  Key,
  MakingOptions,
  MaybePromise,
  PipelineDefinition,
  StageOptions,
  WaitingOptions,
} from "./pipeline/definition.ts";
export type { Duration } from "./pipeline/duration.ts";
export type { EffectCall, EffectOptions } from "./pipeline/effects.ts";
export type { FailurePolicy, RetryPolicy } from "./pipeline/failure-policy.ts";
export * from "./pipeline/library.ts";
export type { ParameterInForce, ParameterSettings } from "./pipeline/parameter-overrides.ts";
export type { Parameter, ParameterDeclarations, ParameterValues } from "./pipeline/parameters.ts";
export type { PipelineOptions, SourceOptions, WatermarkOptions } from "./pipeline/pipeline.ts";
export type { RetentionBounds, RetentionOptions } from "./pipeline/retention.ts";
export type { RetrySettings } from "./pipeline/retries.ts";
export type { Size } from "./pipeline/size.ts";
export type { ReduceOptions } from "./pipeline/stream.ts";
export type { JoinOptions, TableJoinOptions, WindowOptions } from "./pipeline/timed-stages.ts";
export type { EarlyFiring, FiringKind, WindowInfo, Windows } from "./pipeline/windows.ts";

/** Runs a pipeline's module from files to files, as `headwater run` does. Throws a `HeadwaterError`. */
export async function run(request: RunRequest): Promise<RunReport> {
  const app = await import("./app/run.ts");
  return app.run(request);
}

/**
 * Runs a pipeline in this process: records come from iterables or are offered, outputs go to functions.
 * Throws a `HeadwaterError`.
 */
export async function start(pipeline: Pipeline, options: StartOptions): Promise<RunningPipeline> {
  const app = await import("./app/start.ts");
  return app.start(pipeline, options);
}

/**
 * What a stage keeps (the totals of a reduce, the open windows of a window, the waiting records of a join) as of any
 * ordinal or time, as `headwater state` does. Only reads; the log may be at work in another process. Code in the log
 * is run where no snapshot stands at that point. Throws a `HeadwaterError`.
 */
export async function state(request: StateRequest): Promise<StageState> {
  const app = await import("./app/state.ts");
  return app.stateAt(request);
}

/**
 * A read-only view of a pipeline as of any ordinal or time: what its stages kept, its parameters, what audits and folds
 * of one's own come to over the log as it was, and the lineage that there was by then. Neither the log nor a run that is
 * at work on it is touched. Code in the log is run where no snapshot stands at that point. Throws a `HeadwaterError`.
 */
export async function openAt(request: OpenAtRequest): Promise<PipelineView> {
  const app = await import("./app/open-at.ts");
  return app.openAt(request);
}

/**
 * Where a record came from, or with `forward` what it went into, as `headwater lineage` does. Only reads; the log may be
 * at work in another process. Code in the log is run to make again what is not stored, unless `recompute` is false.
 * Throws a `HeadwaterError`.
 */
export async function lineage(request: LineageRequest): Promise<Lineage> {
  const app = await import("./app/lineage.ts");
  return app.lineage(request);
}

/**
 * Runs a part of a pipeline's history again, by the code that ran then, and compares every step with what was recorded,
 * as `headwater replay` does. Only reads; the pipeline may be at work meanwhile. Where that is in this process, the replay
 * is in another one, which goes last where processors are short. Runs code from the log.
 * Throws a `HeadwaterError`.
 */
export async function replay(request: ReplayRequest): Promise<ReplayReport> {
  const app = await import("./app/replay-apart.ts");
  return app.replay(request);
}

/**
 * Runs another version of a pipeline over a part of its history, and compares what comes of it with what was recorded,
 * as `headwater replay --what-if` does. Writes to streams of its own alone; while others write to the log it takes little
 * of it. Where this process runs a pipeline, it is in another one. Runs code from the log where a version of it is asked
 * for, or state has to be brought back. Throws a `HeadwaterError`.
 */
export async function whatIf(request: WhatIfRequest): Promise<WhatIfReport> {
  const app = await import("./app/replay-apart.ts");
  return app.whatIf(request);
}

/**
 * Goes on with a replay where it is in the log, by its id, as `headwater replay resume` does: one of another version, or
 * one that compares and was given an id. Its sinks write to where they did when it was begun, but for functions and
 * receivers with headers, which the log cannot keep: those are given again. Throws a `HeadwaterError`.
 */
export async function resumeReplay(request: ResumeRequest): Promise<WhatIfReport | ReplayReport> {
  const app = await import("./app/replay-apart.ts");
  return app.resumeReplay(request);
}
