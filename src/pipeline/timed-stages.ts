import { HeadwaterError } from "../core/errors.ts";
import { type Aggregate, type Aggregates, combined } from "./aggregates.ts";
import type {
  JoinDefinition,
  Key,
  StageOptions,
  TableJoinDefinition,
  WindowDefinition,
} from "./definition.ts";
import { type Duration, durationMs } from "./duration.ts";
import type { JoinOptions, TableJoinOptions } from "./stream.ts";
import type { EarlyFiring, WindowInfo, Windows } from "./windows.ts";

type AnyAggregate = Aggregate<unknown, unknown>;

interface AnyWindowOptions extends StageOptions {
  readonly aggregate: AnyAggregate | Aggregates<unknown>;
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
  const { aggregate, emit, lateness = 0, early, onError = "skip" } = options;
  if (typeof emit !== "function") throw bad("the stage has no emit", where);
  if (!["time", "session", "global"].includes(windows?.kind)) {
    throw bad("the stage has no windows", where, 'Give tumbling("10m"), sliding, session or globalWindow.');
  }
  if (windows.kind === "global" && (lateness !== 0 || early !== undefined)) {
    throw bad("a global window has neither lateness nor early firings", where);
  }
  return {
    kind: "window",
    name,
    inputs: [input],
    onError,
    windows,
    aggregate: aggregateOf(aggregate, where),
    emit,
    latenessMs: durationMs(lateness, "the lateness", where),
    early: early && earlyOf(early, where),
  };
}

function aggregateOf(aggregate: AnyAggregate | Aggregates<unknown>, where: string): AnyAggregate {
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
  return combined(aggregate);
}

function isAggregate(value: unknown): value is AnyAggregate {
  const parts = value as Partial<AnyAggregate> | null | undefined;
  return [parts?.init, parts?.step, parts?.merge, parts?.result].every((part) => typeof part === "function");
}

function earlyOf(early: EarlyFiring, where: string): { everyMs: number } | { records: number } {
  if ("every" in early) return { everyMs: durationMs(early.every, "early.every", where, 1) };
  if (Number.isSafeInteger(early.records) && early.records >= 1) return { records: early.records };
  throw bad("early.records has to be a whole number from 1 on", where);
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
  const within = options?.within;
  if (within === undefined) {
    throw bad("the join has no bound in time", where, 'Give within: "10m", or { before, after }.');
  }
  const bounds = typeof within === "object" && within !== null ? within : { before: within, after: within };
  return {
    kind: "join",
    name,
    inputs,
    onError: options.onError ?? "skip",
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
  return {
    kind: "tableJoin",
    name,
    inputs,
    onError: options.onError ?? "skip",
    type,
    latenessMs: durationMs(options.lateness ?? 0, "the lateness", `stage ${name}`),
    fn,
  };
}

function bad(message: string, where: string, hint?: string): HeadwaterError {
  return new HeadwaterError("BadPipeline", message, { where, ...(hint !== undefined && { hint }) });
}
