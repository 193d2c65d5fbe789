import type { StandardSchemaV1 } from "@standard-schema/spec";
import type { StageContext } from "./context.ts";
import type { NoParameters, ParameterDeclarations, StageParameters } from "./parameters.ts";

/** What a stage's function may answer: the value, or a promise of it. */
export type MaybePromise<T> = T | Promise<T>;

/** A record's key: what partitions are made by and reduces are kept by. */
export type Key = string | number | bigint | boolean | null;

/** What happens to a record at which a stage fails. */
export type FailurePolicy =
  /** The record is quarantined with the reason, the rest goes on. The default. */
  | "skip"
  /** The pipeline stops at the record, and goes on from it at the next start. */
  | "fail";

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

export interface SourceDefinition {
  readonly kind: "source";
  readonly name: string;
  readonly schema: StandardSchemaV1 | undefined;
  readonly key: ((record: unknown) => Key) | undefined;
  readonly eventTime: ((record: unknown) => string | number) | undefined;
  readonly id: ((record: unknown) => string | number) | undefined;
}

interface StageBase {
  readonly name: string;
  /** Names of the sources or stages that it reads. Several only for a union. */
  readonly inputs: readonly string[];
  readonly onError: FailurePolicy;
  /** Absent if it declares none. */
  readonly parameters?: StageParameters;
}

export interface MapDefinition extends StageBase {
  readonly kind: "map";
  readonly fn: (record: unknown, ctx: StageContext) => MaybePromise<unknown>;
}

export interface FilterDefinition extends StageBase {
  readonly kind: "filter";
  readonly fn: (record: unknown, ctx: StageContext) => MaybePromise<boolean>;
}

export interface FlatMapDefinition extends StageBase {
  readonly kind: "flatMap";
  readonly fn: (record: unknown, ctx: StageContext) => MaybePromise<Iterable<unknown>>;
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

/** One step that records go through. A closed union: the engine and the plan switch over `kind`. */
export type StageDefinition =
  | MapDefinition
  | FilterDefinition
  | FlatMapDefinition
  | KeyByDefinition
  | ReduceDefinition
  | UnionDefinition;

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
  readonly sources: readonly SourceDefinition[];
  readonly stages: readonly StageDefinition[];
  readonly sinks: readonly SinkDefinition[];
}
