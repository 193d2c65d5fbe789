/**
 * What a record may hold. Maps are plain objects (prototype `Object.prototype` or `null`); a property that is
 * `undefined` counts as absent. `number` and `bigint` stay apart: 1 and 1n are different records.
 */
export type Value =
  | null
  | boolean
  | number
  | bigint
  | string
  | Uint8Array
  | readonly Value[]
  | { readonly [key: string]: Value | undefined };

/** The steps from a record's root to a value in it: keys of maps and indexes of arrays. */
export type ValuePath = readonly (string | number)[];

const PLAIN_KEY = /^[A-Za-z_$][\w$]*$/;

/** A path as people write it, `$` being the record: `$.orders[3].when`, `$["first name"]`. */
export function formatPath(path: ValuePath): string {
  let text = "$";
  for (const step of path) {
    if (typeof step === "number") text += `[${step}]`;
    else if (PLAIN_KEY.test(step)) text += `.${step}`;
    else text += `[${JSON.stringify(step)}]`;
  }
  return text;
}
