import { HeadwaterError } from "../core/errors.ts";
import { type Aggregate, type Aggregates, combined } from "./aggregates.ts";
import { type CaptureOptions, captureOptions } from "./capture.ts";
import type {
  JoinDefinition,
  Key,
  StageOptions,
  TableJoinDefinition,
  WindowDefinition,
} from "./definition.ts";
import { type Duration, durationMs } from "./duration.ts";
import { failurePolicy } from "./failure-policy.ts";
import { mustBeKnownOptions } from "./known-options.ts";
import { refuseParameters } from "./parameters.ts";
import type { EarlyFiring, WindowInfo, Windows } from "./windows.ts";

/** What a window makes of its records, and when. */
export interface WindowOptions<T, K extends Key, R, Out> extends StageOptions, CaptureOptions {
  /** What is kept of the records: an aggregate, or several under the names of the fields that they give. */
  readonly aggregate: Aggregate<T, R> | Aggregates<T, R>;
  /** Makes the output of a firing. */
  readonly emit: (result: R, window: WindowInfo<K>) => Out;
  /** How long after its end a window is kept: a record that comes by then gives a new result at once. 0 if absent. */
  readonly lateness?: Duration;
  /** Gives results before the end, too. */
  readonly early?: EarlyFiring;
}

/** Which records of two streams with the same key belong together, by their event times. */
export interface JoinOptions extends StageOptions, CaptureOptions {
  /** How far apart they may be, or how much before and after the left one the right one may be. */
  readonly within: Duration | { readonly before?: Duration; readonly after?: Duration };
  /** How much later than the watermark a record may come; 0 if absent. */
  readonly lateness?: Duration;
}

/** Settings of a join with a table. */
export interface TableJoinOptions extends StageOptions, CaptureOptions {
  /** How much later than the watermark a record may come; 0 if absent. */
  readonly lateness?: Duration;
}

/** What only a program without types can give. */
interface Undeclared {
  readonly parameters?: unknown;
}

type AnyAggregate = Aggregate<unknown, unknown>;

interface AnyWindowOptions extends StageOptions, CaptureOptions {
  readonly aggregate: AnyAggregate | Aggregates<unknown, unknown>;
  readonly emit: (result: unknown, window: WindowInfo<Key>) => unknown;
  readonly lateness?: Duration;
  readonly early?: EarlyFiring;
}

/** A window stage as data. Throws `BadPipeline` for options that mean nothing. */
export function windowDefinition(
  name: string,
  input: string,
  windows: Windows,
  options: AnyWindowOptions,
): WindowDefinition {
  const where = `stage ${name}`;
  refuseParameters(name, "window", (options as Undeclared | undefined)?.parameters);
  if (typeof options?.emit !== "function") {
    throw bad("the stage has no emit", where, "Give { aggregate, emit }: emit makes the output of a window.");
  }
  mustBeKnownOptions(options, "window", name);
  const { aggregate, emit, lateness = 0, early } = options;
  if (!["time", "session", "global"].includes(windows?.kind)) {
    throw bad("the stage has no windows", where, 'Give tumbling("10m"), sliding, session or globalWindow.');
  }
  if (windows.kind === "global" && (lateness !== 0 || early !== undefined)) {
    throw bad(
      "a global window has neither lateness nor early firings",
      where,
      "Leave them out: it fires at every so many records.",
    );
  }
  return {
    kind: "window",
    name,
    inputs: [input],
    ...failurePolicy(options.onError, "window", name),
    ...captureOptions(options, "window", name),
    windows,
    aggregate: aggregateOf(aggregate, where),
    emit,
    latenessMs: durationMs(lateness, "the lateness", where),
    early: early && earlyOf(early, where),
  };
}

function aggregateOf(aggregate: AnyAggregate | Aggregates<unknown, unknown>, where: string): AnyAggregate {
  if (isAggregate(aggregate)) return aggregate;
  const parts = Object.entries(aggregate ?? {});
  if (parts.length === 0)
    throw bad("the stage has no aggregate", where, "Give count(), sum(…) or a reducer.");
  for (const [field, part] of parts) {
    if (!isAggregate(part) || field === "__proto__") {
      throw bad(
        `the stage's aggregate ${JSON.stringify(field)} is none`,
        where,
        "Give count(), sum(…) or a reducer.",
      );
    }
  }
  return combined(aggregate as never);
}

function isAggregate(value: unknown): value is AnyAggregate {
  const parts = value as Partial<AnyAggregate> | null | undefined;
  return [parts?.init, parts?.step, parts?.merge, parts?.result].every((part) => typeof part === "function");
}

const EARLY = 'Give early: { every: "10s" }, or early: { records: 100 }.';

function earlyOf(early: EarlyFiring, where: string): { everyMs: number } | { records: number } {
  const { every, records } = early;
  if ((every === undefined) === (records === undefined)) {
    throw bad("early has to be either a time or a number of records", where, EARLY);
  }
  if (every !== undefined) return { everyMs: durationMs(every, "early.every", where, 1) };
  if (Number.isSafeInteger(records) && records >= 1) return { records };
  throw bad(`early.records has to be a whole number from 1 on, not ${String(records)}`, where, EARLY);
}

/** A stream–stream join as data. Throws `BadPipeline`. */
export function joinDefinition(
  type: "inner" | "left",
  name: string,
  inputs: readonly [string, string],
  fn: JoinDefinition["fn"],
  options: JoinOptions,
): JoinDefinition {
  const where = `stage ${name}`;
  refuseParameters(name, "join", (options as Undeclared | undefined)?.parameters);
  const within = options?.within;
  const bounds = typeof within === "object" ? within : { before: within, after: within };
  if ((bounds?.before ?? bounds?.after) === undefined) {
    throw bad(
      "the join has no bound in time",
      where,
      'Give within: "10m", or { before, after } or one of them.',
    );
  }
  mustBeKnownOptions(options, "join", name);
  return {
    kind: "join",
    name,
    inputs,
    ...failurePolicy(options.onError, "join", name),
    ...captureOptions(options, "join", name),
    type,
    beforeMs: durationMs(bounds.before ?? 0, "within.before", where),
    afterMs: durationMs(bounds.after ?? 0, "within.after", where),
    latenessMs: durationMs(options.lateness ?? 0, "the lateness", where),
    fn,
  };
}

/** A join with a table as data. Throws `BadPipeline`. */
export function tableJoinDefinition(
  type: "inner" | "left",
  name: string,
  inputs: readonly [string, string],
  fn: TableJoinDefinition["fn"],
  options: TableJoinOptions,
): TableJoinDefinition {
  refuseParameters(name, "join with a table", (options as Undeclared).parameters);
  mustBeKnownOptions(options, "tableJoin", name);
  return {
    kind: "tableJoin",
    name,
    inputs,
    ...failurePolicy(options.onError, "join", name),
    ...captureOptions(options, "tableJoin", name),
    type,
    latenessMs: durationMs(options.lateness ?? 0, "the lateness", `stage ${name}`),
    fn,
  };
}

function bad(message: string, where: string, hint?: string): HeadwaterError {
  return new HeadwaterError("BadPipeline", message, { where, ...(hint !== undefined && { hint }) });
}
