import type { StandardSchemaV1 } from "@standard-schema/spec";
import type { RetentionPolicy } from "../core/events.ts";
import type { Aggregate } from "./aggregates.ts";
import type { CaptureOptions } from "./capture.ts";
import type { EffectContext, StageContext } from "./context.ts";
import type { FailurePolicy, PlannedPolicy, RetryPolicy } from "./failure-policy.ts";
import type { NoParameters, ParameterDeclarations, StageParameters } from "./parameters.ts";
import type { WindowInfo, Windows } from "./windows.ts";

/** What a stage's function may answer: the value, or a promise of it. */
export type MaybePromise<T> = T | Promise<T>;

/** A record's key: what partitions are made by and reduces are kept by. */
export type Key = string | number | bigint | boolean | null;

/** Settings of one stage. */
export interface StageOptions {
  /** What happens to a record at which the stage's function fails; `skip` (quarantine it) if absent. */
  readonly onError?: FailurePolicy;
}

/** Settings of a stage whose function gets a {@link StageContext}. */
export interface FunctionOptions<P extends ParameterDeclarations = NoParameters> extends StageOptions {
  /** What may be set when the pipeline is started; each made by `parameter(schema, default)`. */
  readonly parameters?: P;
}

/** Settings of a stage whose function may wait, and so be tried again. */
export interface WaitingOptions<P extends ParameterDeclarations = NoParameters> {
  /** What happens to a record at which the stage's function fails; `skip` (quarantine it) if absent. */
  readonly onError?: FailurePolicy | RetryPolicy;
  /** What may be set when the pipeline is started; each made by `parameter(schema, default)`. */
  readonly parameters?: P;
}

/** {@link WaitingOptions} of a stage that makes records. */
export interface MakingOptions<P extends ParameterDeclarations = NoParameters>
  extends WaitingOptions<P>,
    CaptureOptions {}

export interface SourceDefinition extends CaptureOptions {
  readonly kind: "source";
  readonly name: string;
  readonly schema: StandardSchemaV1 | undefined;
  readonly key: ((record: unknown) => Key) | undefined;
  readonly eventTime: ((record: unknown) => string | number) | undefined;
  readonly id: ((record: unknown) => string | number) | undefined;
  readonly watermark: WatermarkPolicy;
}

/** How a source's watermark follows the event times of its records. All in milliseconds. */
export interface WatermarkPolicy {
  /** The watermark stays this much behind the highest event time: so much later than others a record may come. */
  readonly outOfOrdernessMs: number;
  /** Others wait no more for a source that has been silent for so long; `undefined`: they do. */
  readonly idleAfterMs: number | undefined;
  /** A time further ahead of all before it than this is believed only when several in a row have been. */
  readonly aheadMs: number;
}

interface StageBase extends PlannedPolicy, CaptureOptions {
  readonly name: string;
  /** Names of the sources or stages that it reads. Several only for a union or join. */
  readonly inputs: readonly string[];
  /** Absent if it declares none. */
  readonly parameters?: StageParameters;
}

export interface MapDefinition extends StageBase {
  readonly kind: "map";
  readonly fn: (record: unknown, ctx: EffectContext) => MaybePromise<unknown>;
}

export interface FilterDefinition extends StageBase {
  readonly kind: "filter";
  readonly fn: (record: unknown, ctx: EffectContext) => MaybePromise<boolean>;
}

export interface FlatMapDefinition extends StageBase {
  readonly kind: "flatMap";
  readonly fn: (record: unknown, ctx: EffectContext) => MaybePromise<Iterable<unknown>>;
}

export interface KeyByDefinition extends StageBase {
  readonly kind: "keyBy";
  readonly fn: (record: unknown) => Key;
}

export interface ReduceDefinition extends StageBase {
  readonly kind: "reduce";
  readonly init: (key: Key) => unknown;
  readonly step: (total: unknown, record: unknown, ctx: StageContext) => unknown;
  readonly emit: (total: unknown, key: Key, record: unknown) => unknown;
}

export interface UnionDefinition extends StageBase {
  readonly kind: "union";
}

/** Sends each record to one of its outputs: the first whose predicate answers `true`, else `rest`. */
export interface SplitDefinition extends StageBase {
  readonly kind: "split";
  /** Labels of the outputs; the last one takes what no predicate takes. */
  readonly labels: readonly string[];
  /** For each label but the last. */
  readonly predicates: readonly ((record: unknown, ctx: StageContext) => boolean)[];
}

/** A flatMap each of whose results goes to an output that it names. */
export interface RouteDefinition extends StageBase {
  readonly kind: "route";
  readonly labels: readonly string[];
  readonly fn: (
    record: unknown,
    ctx: EffectContext,
  ) => MaybePromise<Iterable<{ readonly to: string; readonly value: unknown }>>;
}

/** One of the outputs of a split or route: lets through the records with that label. */
export interface SelectDefinition extends StageBase {
  readonly kind: "select";
  readonly label: string;
}

/** Lets through the records that came too late for the window or join that it reads: its inputs, as they were. */
export interface LateDefinition extends StageBase {
  readonly kind: "late";
}

export interface WindowDefinition extends StageBase {
  readonly kind: "window";
  readonly windows: Windows;
  readonly aggregate: Aggregate<unknown, unknown>;
  readonly emit: (result: unknown, window: WindowInfo<Key>) => unknown;
  /** How long after its end a window is kept, for records that come late. */
  readonly latenessMs: number;
  readonly early: { readonly everyMs: number } | { readonly records: number } | undefined;
}

export interface JoinDefinition extends StageBase {
  readonly kind: "join";
  /** `inputs` are the left and the right one. */
  readonly type: "inner" | "left";
  /** A right record matches whose event time is from `beforeMs` before the left one's to `afterMs` after it. */
  readonly beforeMs: number;
  readonly afterMs: number;
  readonly latenessMs: number;
  readonly fn: (left: unknown, right: unknown, key: Key) => unknown;
}

/** Joins each record of the left input with what the right one had last for its key, as of its event time. */
export interface TableJoinDefinition extends StageBase {
  readonly kind: "tableJoin";
  readonly type: "inner" | "left";
  readonly latenessMs: number;
  readonly fn: (left: unknown, right: unknown, key: Key) => unknown;
}

/** One step that records go through. A closed union: the engine and the plan switch over `kind`. */
export type StageDefinition =
  | MapDefinition
  | FilterDefinition
  | FlatMapDefinition
  | KeyByDefinition
  | ReduceDefinition
  | UnionDefinition
  | SplitDefinition
  | RouteDefinition
  | SelectDefinition
  | LateDefinition
  | WindowDefinition
  | JoinDefinition
  | TableJoinDefinition;

/** Stages that watch event time go by: they keep state, and may give results when no record comes. */
export type TimedDefinition = WindowDefinition | JoinDefinition | TableJoinDefinition;

export function isTimed(stage: StageDefinition): stage is TimedDefinition {
  return stage.kind === "window" || stage.kind === "join" || stage.kind === "tableJoin";
}

const STATEFUL: ReadonlySet<string> = new Set<StageDefinition["kind"]>([
  "reduce",
  "window",
  "join",
  "tableJoin",
]);

/** Whether a stage of this kind keeps state between records. */
export function isStateful(stage: { readonly kind: string }): boolean {
  return STATEFUL.has(stage.kind);
}

export interface SinkDefinition {
  readonly kind: "sink";
  readonly name: string;
  /** Name of the source or stage whose output it takes. */
  readonly input: string;
}

/** A pipeline as data: what {@link pipeline} builds and everything else reads. Immutable once it is planned. */
export interface PipelineDefinition {
  readonly name: string;
  readonly partitions: number;
  readonly batchRecords: number;
  readonly tickMs: number;
  /** How long history is kept; for ever if absent. */
  readonly retention?: RetentionPolicy;
  readonly sources: readonly SourceDefinition[];
  readonly stages: readonly StageDefinition[];
  readonly sinks: readonly SinkDefinition[];
}
