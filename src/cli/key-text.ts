import type { StateRequest } from "../app/state-types.ts";
import { findJsonFault } from "../core/json-check.ts";

type Key = NonNullable<StateRequest["key"]> | null;

/** What a key on the command line may mean, the likeliest first. */
export function readingsOfKey(text: string): readonly Key[] {
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch {
    return [text];
  }
  // An integer beyond 2^53 would be another one.
  if (findJsonFault(text) !== undefined) return [text];
  if (value === null || typeof value === "number" || typeof value === "boolean") return [value, text];
  if (typeof value === "string") return [value, text];
  const digits = typeof value === "object" && "$bigint" in value ? value.$bigint : undefined;
  return typeof digits === "string" && /^-?\d+$/.test(digits) ? [BigInt(digits), text] : [text];
}
