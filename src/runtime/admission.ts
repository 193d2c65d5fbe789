import type { StandardSchemaV1 } from "@standard-schema/spec";
import { HeadwaterError } from "../core/errors.ts";
import { parseIsoTime } from "../core/iso-time.ts";
import { LIMITS } from "../core/limits.ts";
import { checkKey } from "../engine/operators.ts";
import { answered, isThenable } from "../engine/promises.ts";
import { messageOf } from "../engine/thrown.ts";
import type { Key, SourceDefinition } from "../pipeline/definition.ts";
import { describeIssues } from "../pipeline/schema-issues.ts";
import type { IntakeRecord } from "./intake-record.ts";

/** A record that a source takes, and what the source's functions say of it. */
export interface Admitted {
  readonly value: unknown;
  readonly id: string | undefined;
  readonly time: number | undefined;
  readonly key: Key | undefined;
}

/** Rejects a record: thrown, and kept with the record. */
function reject(message: string, where: string, hint?: string): HeadwaterError {
  return new HeadwaterError("BadInput", message, { where, ...(hint !== undefined && { hint }) });
}

/**
 * What a source makes of a record from outside: validated by its schema, with id, event time and key. Throws a
 * `BadInput` that names the field. Answers a promise only where the schema does.
 */
export function admit(source: SourceDefinition, record: IntakeRecord): Admitted | Promise<Admitted> {
  if (record.problem !== undefined) throw reject(record.problem.message, record.problem.field ?? "$");
  if (source.schema === undefined) return describe(source, record.value);
  const result = withSchema(() => {
    const answer: unknown = source.schema?.["~standard"].validate(record.value);
    return isThenable(answer) ? Promise.resolve(answer) : validated(answer);
  });
  if (!(result instanceof Promise)) return describe(source, mustBeValid(result));
  return result.then(
    (answer) => describe(source, mustBeValid(withSchema(() => validated(answer)))),
    (error: unknown) => {
      throw schemaFailed(error);
    },
  );
}

type Validated = { readonly value: unknown } | { readonly message: string; readonly path: string };

/** What a schema has answered, read once: it may be anything. */
function validated(answer: unknown): Validated {
  if (typeof answer !== "object" || answer === null) {
    const what = answer === undefined ? "nothing" : typeof answer;
    return { message: `the source's schema answered ${what}, and not { value } or { issues }`, path: "$" };
  }
  const { issues, value } = answer as {
    readonly issues?: readonly StandardSchemaV1.Issue[];
    value?: unknown;
  };
  return issues === undefined ? { value } : describeIssues(issues);
}

function mustBeValid(result: Validated): unknown {
  if ("value" in result) return result.value;
  throw reject(result.message, result.path);
}

function withSchema<T>(work: () => T): T {
  try {
    return work();
  } catch (error) {
    throw schemaFailed(error);
  }
}

function schemaFailed(error: unknown): HeadwaterError {
  return reject(`the source's schema failed: ${messageOf(error)}`, "$");
}

function describe(source: SourceDefinition, value: unknown): Admitted {
  return {
    value,
    id: source.id === undefined ? undefined : idOf(call("id", source.id, value)),
    time: source.eventTime === undefined ? undefined : timeOf(call("eventTime", source.eventTime, value)),
    key: source.key === undefined ? undefined : checkKey(call("key", source.key, value)),
  };
}

function call<T>(what: string, fn: (value: unknown) => T, value: unknown): T {
  let answer: T;
  try {
    answer = fn(value);
  } catch (error) {
    throw reject(`the source's ${what} function failed: ${messageOf(error)}`, "$");
  }
  return answered(answer, `the source's ${what} function`);
}

function idOf(id: unknown): string {
  if (typeof id === "string" && id.length <= LIMITS.idChars && id.isWellFormed()) return id;
  if (typeof id === "number" && Number.isFinite(id)) return String(id);
  throw reject(
    `the source's id function answered ${typeof id === "string" ? "a text that cannot be kept" : Number.isNaN(id) ? "NaN" : typeof id}`,
    "$",
    `An id is a finite number, or a text of at most ${LIMITS.idChars} characters.`,
  );
}

/** Years that event times may have: what ISO 8601 writes with four digits. */
const TIME_LEAST = Date.UTC(0, 0, 1) - 1900 * 366 * 86_400_000;
const TIME_MOST = Date.UTC(9999, 11, 31, 23, 59, 59, 999);

function timeOf(time: unknown): number {
  const ms =
    typeof time === "number" ? Math.floor(time) : typeof time === "string" ? parseIsoTime(time) : undefined;
  if (ms !== undefined && ms >= TIME_LEAST && ms <= TIME_MOST) return ms;
  throw reject(
    `the event time is not a time: ${JSON.stringify(time) ?? typeof time}`.slice(0, LIMITS.reasonChars),
    "$",
    "An event time is ISO 8601 text or milliseconds since 1970.",
  );
}
