import type { StandardSchemaV1 } from "@standard-schema/spec";
import { decodeCanonical, encodeCanonical } from "../core/canonical.ts";
import { equalBytes } from "../core/digest.ts";
import { describeThrown, isHeadwaterError } from "../core/errors.ts";
import type { Value } from "../core/value.ts";
import { describeIssues } from "./schema-issues.ts";

/** A parameter's value as its schema answers it, deeply frozen and shared with nobody; or why there is none. */
export type Taken = { readonly value: Value } | { readonly problem: string };

/**
 * What `schema` makes of `given`. It is refused unless the schema takes its own answer and answers the same: the
 * answer is what the log keeps, and what a later run validates again.
 */
export function takeValue(schema: StandardSchemaV1, given: unknown): Taken {
  const first = canonicalAnswer(schema, given);
  if ("problem" in first) return first;
  const value = decodeCanonical(first.bytes);
  const second = canonicalAnswer(schema, decodeCanonical(first.bytes));
  if ("problem" in second || !equalBytes(first.bytes, second.bytes)) {
    return { problem: "its schema makes another value of what it has answered itself" };
  }
  return { value: frozen(value) };
}

function canonicalAnswer(
  schema: StandardSchemaV1,
  given: unknown,
): { readonly bytes: Uint8Array } | { readonly problem: string } {
  let answer: ReturnType<StandardSchemaV1["~standard"]["validate"]>;
  try {
    answer = schema["~standard"].validate(given);
  } catch (error) {
    return { problem: `its schema failed: ${describeThrown(error)}` };
  }
  if (answer instanceof Promise) {
    // What it comes to is of no interest any more.
    answer.catch(() => {});
    return { problem: "its schema answers a promise, and has to answer at once" };
  }
  if (answer.issues !== undefined) {
    const { message, path } = describeIssues(answer.issues);
    return { problem: path === "$" ? message : `${message} at ${path}` };
  }
  try {
    return { bytes: encodeCanonical(answer.value) };
  } catch (error) {
    if (!isHeadwaterError(error)) throw error;
    const { message, where = "$" } = error;
    return { problem: where === "$" ? message : `${message} at ${where}` };
  }
}

function frozen(value: Value): Value {
  // Bytes cannot be frozen.
  if (typeof value !== "object" || value === null || value instanceof Uint8Array) return value;
  for (const part of Object.values(value)) if (part !== undefined) frozen(part);
  return Object.freeze(value);
}
