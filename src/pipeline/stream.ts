import { HeadwaterError } from "../core/errors.ts";
import { type CaptureOptions, captureOptions } from "./capture.ts";
import type { EffectContext, StageContext } from "./context.ts";
import type {
  FunctionOptions,
  Key,
  MakingOptions,
  MaybePromise,
  StageDefinition,
  StageOptions,
  WaitingOptions,
} from "./definition.ts";
import { failurePolicy } from "./failure-policy.ts";
import { mustBeKnownOptions } from "./known-options.ts";
import type { Output } from "./output.ts";
import {
  declareParameters,
  type NoParameters,
  type ParameterDeclarations,
  type ParameterValues,
  refuseParameters,
} from "./parameters.ts";
import { labelled, REST } from "./side-outputs.ts";
import {
  type JoinOptions,
  joinDefinition,
  type TableJoinOptions,
  tableJoinDefinition,
  type WindowOptions,
  windowDefinition,
} from "./timed-stages.ts";
import type { Windows } from "./windows.ts";

/**
 * How to keep a running total for each key. `step` answers the next total and must not change the one it is
 * given; totals have to be values that a record may hold. `emit` makes the output of each step; the total itself
 * if absent.
 */
export interface ReduceOptions<T, K extends Key, Total, Out, P extends ParameterDeclarations = NoParameters>
  extends FunctionOptions<P>,
    CaptureOptions {
  readonly init: (key: K) => Total;
  readonly step: (total: Total, record: T, ctx: ContextOf<P>) => Total;
  readonly emit: (total: Total, key: K, record: T) => Out;
}

/** A result of a route, and the output that it goes to. */
export interface Routed<L extends string> {
  readonly to: L;
  readonly value: unknown;
}

/** What a route's answer has for the output `L`. */
type ValueRouted<A, L> = A extends Iterable<infer R> ? ValueOf<R, L> : never;
type ValueOf<R, L> = R extends { readonly to: L; readonly value: infer V } ? V : never;
/** The context of a stage that declares the parameters `P`, which only the declaration tells the compiler. */
type ContextOf<P extends ParameterDeclarations> = StageContext<ParameterValues<NoInfer<P>>>;
type EffectContextOf<P extends ParameterDeclarations> = EffectContext<ParameterValues<NoInfer<P>>>;

/** A typed stream of records: what a source or stage gives to the next. */
export class Stream<T> {
  readonly output: Output;
  /** Keeps streams of different records apart for the compiler; never set. */
  declare protected readonly recordType: T;

  constructor(output: Output) {
    this.output = output;
  }

  /** One record out for each one in. */
  map<U, P extends ParameterDeclarations = NoParameters>(
    name: string,
    fn: (record: T, ctx: EffectContextOf<P>) => MaybePromise<U>,
    options?: MakingOptions<P>,
  ): Stream<U> {
    return new Stream(this.add("map", name, fn, options));
  }

  /** Lets through the records for which `fn` answers `true`. Anything but a boolean is a failure of the stage. */
  filter<P extends ParameterDeclarations = NoParameters>(
    name: string,
    fn: (record: T, ctx: EffectContextOf<P>) => MaybePromise<boolean>,
    options?: WaitingOptions<P>,
  ): Stream<T> {
    return new Stream(this.add("filter", name, fn, options));
  }

  /** Any number of records out for each one in, at most `LIMITS.outputsPerInput`. */
  flatMap<U, P extends ParameterDeclarations = NoParameters>(
    name: string,
    fn: (record: T, ctx: EffectContextOf<P>) => MaybePromise<Iterable<U>>,
    options?: MakingOptions<P>,
  ): Stream<U> {
    return new Stream(this.add("flatMap", name, fn, options));
  }

  /** Gives the records a key, and moves each to the partition of its key. */
  keyBy<K extends Key>(name: string, fn: (record: T) => K, options?: StageOptions): KeyedStream<T, K> {
    return new KeyedStream(this.add("keyBy", name, fn, options));
  }

  /**
   * Sends each record to one of several streams: to that of the first predicate that answers `true`, else to `rest`.
   * Their stages are named after it: `name-label`.
   */
  split<L extends string, P extends ParameterDeclarations = NoParameters>(
    name: string,
    predicates: Readonly<Record<L, (record: T, ctx: ContextOf<P>) => boolean>>,
    options?: FunctionOptions<P>,
  ): { readonly [Label in L | typeof REST]: Stream<T> } {
    const outputs = this.splitInto(name, predicates, options);
    return Object.fromEntries(outputs.map(([label, output]) => [label, new Stream(output)])) as never;
  }

  /**
   * Any number of records out for each one in, each to the output that it names: main and side outputs. Their
   * stages are named after it: `name-label`.
   */
  route<
    L extends string,
    A extends MaybePromise<Iterable<Routed<L>>>,
    P extends ParameterDeclarations = NoParameters,
  >(
    name: string,
    labels: readonly L[],
    fn: (record: T, ctx: EffectContextOf<P>) => A,
    options?: MakingOptions<P>,
  ): { readonly [Label in L]: Stream<ValueRouted<Awaited<A>, Label>> } {
    const outputs = this.routeInto(name, labels, fn, options);
    return Object.fromEntries(outputs.map(([label, output]) => [label, new Stream(output)])) as never;
  }

  /** Ends here under the name that `--output` and the library bind to a file or a function. */
  sink(name: string): void {
    this.output.addSink(name);
  }

  protected splitInto(
    name: string,
    predicates: Readonly<Record<string, unknown>>,
    options: FunctionOptions<ParameterDeclarations> = {},
  ): [string, Output][] {
    mustBeKnownOptions(options, "split", name);
    const labels = Object.keys(predicates ?? {});
    for (const label of labels) mustBeFunction(predicates[label], name, `predicate ${label}`);
    return labelled(this.output, [...labels, REST], {
      kind: "split",
      name,
      inputs: [this.output.name],
      ...failurePolicy(options.onError, "split", name),
      ...captureOptions(options as CaptureOptions, "split", name),
      labels: [...labels, REST],
      predicates: Object.values(predicates ?? {}) as never,
      ...declareParameters(name, options.parameters),
    });
  }

  protected routeInto(
    name: string,
    labels: readonly string[],
    fn: unknown,
    options: MakingOptions<ParameterDeclarations> = {},
  ): [string, Output][] {
    mustBeFunction(fn, name, "function");
    mustBeKnownOptions(options, "route", name);
    return labelled(this.output, labels ?? [], {
      kind: "route",
      name,
      inputs: [this.output.name],
      ...failurePolicy(options.onError, "route", name),
      ...captureOptions(options, "route", name),
      labels: [...(labels ?? [])],
      fn: fn as never,
      ...declareParameters(name, options.parameters),
    });
  }

  /** Adds a stage whose only input is this stream. */
  protected add(
    kind: "map" | "filter" | "flatMap" | "keyBy",
    name: string,
    fn: unknown,
    options: MakingOptions<ParameterDeclarations> = {},
  ): Output {
    mustBeFunction(fn, name, "function");
    mustBeKnownOptions(options, kind, name);
    if (kind === "keyBy") refuseParameters(name, kind, options.parameters);
    return this.output.addStage({
      kind,
      name,
      inputs: [this.output.name],
      ...failurePolicy(options.onError, kind, name),
      ...captureOptions(options, kind, name),
      ...declareParameters(name, options.parameters),
      fn,
    } as StageDefinition);
  }
}

/** A stream whose records have a key, so that they can be reduced by it. The key stays through map, filter, flatMap. */
export class KeyedStream<T, K extends Key> extends Stream<T> {
  /** Keeps streams of different keys apart for the compiler; never set. */
  declare protected readonly keyType: K;

  override map<U, P extends ParameterDeclarations = NoParameters>(
    name: string,
    fn: (record: T, ctx: EffectContextOf<P>) => MaybePromise<U>,
    options?: MakingOptions<P>,
  ): KeyedStream<U, K> {
    return new KeyedStream(this.add("map", name, fn, options));
  }

  override filter<P extends ParameterDeclarations = NoParameters>(
    name: string,
    fn: (record: T, ctx: EffectContextOf<P>) => MaybePromise<boolean>,
    options?: WaitingOptions<P>,
  ): KeyedStream<T, K> {
    return new KeyedStream(this.add("filter", name, fn, options));
  }

  override flatMap<U, P extends ParameterDeclarations = NoParameters>(
    name: string,
    fn: (record: T, ctx: EffectContextOf<P>) => MaybePromise<Iterable<U>>,
    options?: MakingOptions<P>,
  ): KeyedStream<U, K> {
    return new KeyedStream(this.add("flatMap", name, fn, options));
  }

  override split<L extends string, P extends ParameterDeclarations = NoParameters>(
    name: string,
    predicates: Readonly<Record<L, (record: T, ctx: ContextOf<P>) => boolean>>,
    options?: FunctionOptions<P>,
  ): { readonly [Label in L | typeof REST]: KeyedStream<T, K> } {
    const outputs = this.splitInto(name, predicates, options);
    return Object.fromEntries(outputs.map(([label, output]) => [label, new KeyedStream(output)])) as never;
  }

  override route<
    L extends string,
    A extends MaybePromise<Iterable<Routed<L>>>,
    P extends ParameterDeclarations = NoParameters,
  >(
    name: string,
    labels: readonly L[],
    fn: (record: T, ctx: EffectContextOf<P>) => A,
    options?: MakingOptions<P>,
  ): { readonly [Label in L]: KeyedStream<ValueRouted<Awaited<A>, Label>, K> } {
    const outputs = this.routeInto(name, labels, fn, options);
    return Object.fromEntries(outputs.map(([label, output]) => [label, new KeyedStream(output)])) as never;
  }

  /**
   * Aggregates the records of each key in windows of event time, or of so many records. Every source that the
   * stream descends from has to have an event time, unless the window is a global one.
   *
   * ```ts
   * edits.window("per-channel", tumbling("10m"), {
   *   aggregate: { edits: count(), added: sum((edit) => edit.added) },
   *   emit: (totals, { key, start }) => ({ channel: key, start, ...totals }),
   * })
   * ```
   */
  window<R, Out>(
    name: string,
    windows: Windows,
    options: WindowOptions<T, K, R, Out>,
    ...misplaced: readonly never[]
  ): TimedStream<Out, K, T> {
    mustBeAll(misplaced, name, "window");
    return new TimedStream(
      this.output.addStage(windowDefinition(name, this.output.name, windows, options as never)),
    );
  }

  /**
   * Pairs each record with those of `right` that have the same key and an event time near its own. With
   * `joinLeft` a record without a counterpart comes out, too, when none can come any more.
   */
  join<R, Out>(
    name: string,
    right: KeyedStream<R, K>,
    fn: (left: T, right: R, key: K) => Out,
    options: JoinOptions,
  ): TimedStream<Out, K, T | R> {
    return this.#join("inner", name, right?.output, fn, options);
  }

  /** {@link join}, and each record of this stream that has found no counterpart, with `undefined`. */
  joinLeft<R, Out>(
    name: string,
    right: KeyedStream<R, K>,
    fn: (left: T, right: R | undefined, key: K) => Out,
    options: JoinOptions,
  ): TimedStream<Out, K, T | R> {
    return this.#join("left", name, right?.output, fn, options);
  }

  /**
   * Joins each record with what `table` had last for its key as of the record's event time. It waits until the
   * watermark has passed that time, so that the answer does not depend on which came first. A record for whose key
   * the table had nothing gives nothing.
   */
  joinTable<R, Out>(
    name: string,
    table: KeyedStream<R, K>,
    fn: (left: T, right: R, key: K) => Out,
    options: TableJoinOptions = {},
  ): TimedStream<Out, K, T | R> {
    return this.#joinTable("inner", name, table?.output, fn, options);
  }

  /** {@link joinTable}, with `undefined` where the table had nothing. */
  joinTableLeft<R, Out>(
    name: string,
    table: KeyedStream<R, K>,
    fn: (left: T, right: R | undefined, key: K) => Out,
    options: TableJoinOptions = {},
  ): TimedStream<Out, K, T | R> {
    return this.#joinTable("left", name, table?.output, fn, options);
  }

  #join(type: "inner" | "left", name: string, right: Output | undefined, fn: unknown, options: JoinOptions) {
    mustBeFunction(fn, name, "function");
    mustBeOfOne(this.output, right, name);
    const inputs = [this.output.name, right.name] as const;
    return new TimedStream<never, never, never>(
      this.output.addStage(joinDefinition(type, name, inputs, fn as never, options)),
    );
  }

  #joinTable(
    type: "inner" | "left",
    name: string,
    table: Output | undefined,
    fn: unknown,
    options: TableJoinOptions,
  ) {
    mustBeFunction(fn, name, "function");
    mustBeOfOne(this.output, table, name);
    const inputs = [this.output.name, table.name] as const;
    return new TimedStream<never, never, never>(
      this.output.addStage(tableJoinDefinition(type, name, inputs, fn as never, options)),
    );
  }

  /** A running total for each key, and one output for each record. */
  reduce<Total, Out, P extends ParameterDeclarations = NoParameters>(
    name: string,
    options: ReduceOptions<T, K, Total, Out, P>,
    ...misplaced: readonly never[]
  ): KeyedStream<Out, K> {
    mustBeAll(misplaced, name, "reduce");
    if (typeof options !== "object" || options === null) {
      throw new HeadwaterError("BadPipeline", "a reduce takes one object after its name", {
        where: `stage ${name}`,
        hint: `Write it like .reduce(${JSON.stringify(name)}, { init, step, emit }).`,
      });
    }
    mustBeKnownOptions(options, "reduce", name);
    for (const part of ["init", "step", "emit"] as const) mustBeFunction(options[part], name, part);
    return new KeyedStream(
      this.output.addStage({
        kind: "reduce",
        name,
        inputs: [this.output.name],
        ...failurePolicy(options.onError, "reduce", name),
        ...captureOptions(options, "reduce", name),
        ...declareParameters(name, options.parameters),
        init: options.init,
        step: options.step,
        emit: options.emit,
      } as unknown as StageDefinition),
    );
  }
}

/** What comes out of a window or join, and beside it what came too late. */
export class TimedStream<T, K extends Key, Late> extends KeyedStream<T, K> {
  /** Keeps streams apart for the compiler; never set. */
  declare protected readonly lateType: Late;

  /** The records that came too late for the stage, as they were: a side output of this name. */
  late(name: string): KeyedStream<Late, K> {
    return new KeyedStream(
      this.output.addStage({ kind: "late", name, inputs: [this.output.name], onError: "skip" }),
    );
  }
}

function mustBeOfOne(left: Output, right: Output | undefined, stage: string): asserts right is Output {
  if (right === undefined) {
    throw new HeadwaterError("BadPipeline", "the join has no other stream", {
      where: `stage ${stage}`,
      hint: 'Name it after the stage\'s name: orders.join("paid", payments, …).',
    });
  }
  if (left.owner === right.owner) return;
  throw new HeadwaterError("BadPipeline", "a join reads a stream of another pipeline", {
    where: `stage ${stage}`,
    hint: "Define both in one pipeline: it may have several sources.",
  });
}

function mustBeFunction(fn: unknown, stage: string, what: string): void {
  if (typeof fn === "function") return;
  throw new HeadwaterError("BadPipeline", `the stage has no ${what}`, { where: `stage ${stage}` });
}

/** Options that are given behind those that there are would be passed over. */
function mustBeAll(misplaced: readonly unknown[], stage: string, kind: string): void {
  if (misplaced.length === 0) return;
  throw new HeadwaterError(
    "BadPipeline",
    `a ${kind} has all its options in one object, and more were given`,
    {
      where: `stage ${stage}`,
      hint: "Put them, such as onError, into that object.",
    },
  );
}
