import { encodeCanonical } from "../core/canonical.ts";
import { equalBytes } from "../core/digest.ts";

/**
 * The fields in which two records differ, as paths through maps (`delta`, `user.name`), in the order of keys. Arrays
 * count as a whole, and so does a record that is no map on either side: its path is empty. None if the two are equal.
 */
export function differingFields(before: unknown, after: unknown): string[] {
  const fields: string[] = [];
  compare(before, after, "", fields);
  return fields;
}

function compare(before: unknown, after: unknown, path: string, fields: string[]): void {
  if (isMap(before) && isMap(after)) {
    const keys = new Set([...Object.keys(before), ...Object.keys(after)]);
    for (const key of [...keys].sort()) {
      compare(before[key], after[key], path === "" ? key : `${path}.${key}`, fields);
    }
    return;
  }
  if (!sameValue(before, after)) fields.push(path);
}

function isMap(value: unknown): value is Readonly<Record<string, unknown>> {
  return (
    typeof value === "object" && value !== null && !Array.isArray(value) && !(value instanceof Uint8Array)
  );
}

/** A property that is `undefined` is absent. */
function sameValue(before: unknown, after: unknown): boolean {
  if (before === undefined || after === undefined) return before === after;
  return equalBytes(encode(before), encode(after));
}

function encode(value: unknown): Uint8Array {
  return encodeCanonical(value, Number.MAX_SAFE_INTEGER);
}
