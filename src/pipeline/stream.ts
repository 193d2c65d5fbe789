import { HeadwaterError } from "../core/errors.ts";
import type { StageContext } from "./context.ts";
import type { FunctionOptions, Key, MaybePromise, StageDefinition, StageOptions } from "./definition.ts";
import {
  declareParameters,
  type NoParameters,
  type ParameterDeclarations,
  type ParameterValues,
  refuseParameters,
} from "./parameters.ts";

/** The place in a pipeline under construction that a stream stands for. */
export interface Output {
  /** The pipeline; compared by identity only. */
  readonly owner: object;
  /** Name of the source or stage that this is the output of. */
  readonly name: string;
  addStage(stage: StageDefinition): Output;
  addSink(name: string): void;
}

/**
 * How to keep a running total for each key. `step` answers the next total and must not change the one it is
 * given; totals have to be values that a record may hold. `emit` makes the output of each step; the total itself
 * if absent.
 */
export interface ReduceOptions<T, K extends Key, Total, Out, P extends ParameterDeclarations = NoParameters>
  extends FunctionOptions<P> {
  readonly init: (key: K) => Total;
  readonly step: (total: Total, record: T, ctx: ContextOf<P>) => Total;
  readonly emit: (total: Total, key: K, record: T) => Out;
}

/** The context of a stage that declares the parameters `P`, which only the declaration tells the compiler. */
type ContextOf<P extends ParameterDeclarations> = StageContext<ParameterValues<NoInfer<P>>>;

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
    fn: (record: T, ctx: ContextOf<P>) => MaybePromise<U>,
    options?: FunctionOptions<P>,
  ): Stream<U> {
    return new Stream(this.add("map", name, fn, options));
  }

  /** Lets through the records for which `fn` answers `true`. Anything but a boolean is a failure of the stage. */
  filter<P extends ParameterDeclarations = NoParameters>(
    name: string,
    fn: (record: T, ctx: ContextOf<P>) => MaybePromise<boolean>,
    options?: FunctionOptions<P>,
  ): Stream<T> {
    return new Stream(this.add("filter", name, fn, options));
  }

  /** Any number of records out for each one in, at most `LIMITS.outputsPerInput`. */
  flatMap<U, P extends ParameterDeclarations = NoParameters>(
    name: string,
    fn: (record: T, ctx: ContextOf<P>) => MaybePromise<Iterable<U>>,
    options?: FunctionOptions<P>,
  ): Stream<U> {
    return new Stream(this.add("flatMap", name, fn, options));
  }

  /** Gives the records a key, and moves each to the partition of its key. */
  keyBy<K extends Key>(name: string, fn: (record: T) => K, options?: StageOptions): KeyedStream<T, K> {
    return new KeyedStream(this.add("keyBy", name, fn, options));
  }

  /** Ends here under the name that `--output` and the library bind to a file or a function. */
  sink(name: string): void {
    this.output.addSink(name);
  }

  /** Adds a stage whose only input is this stream. */
  protected add(
    kind: "map" | "filter" | "flatMap" | "keyBy",
    name: string,
    fn: unknown,
    options: FunctionOptions<ParameterDeclarations> = {},
  ): Output {
    mustBeFunction(fn, name, "function");
    if (kind === "keyBy") refuseParameters(name, kind, options.parameters);
    return this.output.addStage({
      kind,
      name,
      inputs: [this.output.name],
      onError: options.onError ?? "skip",
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
    fn: (record: T, ctx: ContextOf<P>) => MaybePromise<U>,
    options?: FunctionOptions<P>,
  ): KeyedStream<U, K> {
    return new KeyedStream(this.add("map", name, fn, options));
  }

  override filter<P extends ParameterDeclarations = NoParameters>(
    name: string,
    fn: (record: T, ctx: ContextOf<P>) => MaybePromise<boolean>,
    options?: FunctionOptions<P>,
  ): KeyedStream<T, K> {
    return new KeyedStream(this.add("filter", name, fn, options));
  }

  override flatMap<U, P extends ParameterDeclarations = NoParameters>(
    name: string,
    fn: (record: T, ctx: ContextOf<P>) => MaybePromise<Iterable<U>>,
    options?: FunctionOptions<P>,
  ): KeyedStream<U, K> {
    return new KeyedStream(this.add("flatMap", name, fn, options));
  }

  /** A running total for each key, and one output for each record. */
  reduce<Total, Out, P extends ParameterDeclarations = NoParameters>(
    name: string,
    options: ReduceOptions<T, K, Total, Out, P>,
  ): KeyedStream<Out, K> {
    for (const part of ["init", "step", "emit"] as const) mustBeFunction(options[part], name, part);
    return new KeyedStream(
      this.output.addStage({
        kind: "reduce",
        name,
        inputs: [this.output.name],
        onError: options.onError ?? "skip",
        ...declareParameters(name, options.parameters),
        init: options.init,
        step: options.step,
        emit: options.emit,
      } as unknown as StageDefinition),
    );
  }
}

function mustBeFunction(fn: unknown, stage: string, what: string): void {
  if (typeof fn === "function") return;
  throw new HeadwaterError("BadPipeline", `the stage has no ${what}`, { where: `stage ${stage}` });
}
