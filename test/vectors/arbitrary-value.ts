import fc from "fast-check";
import type { Value } from "../../src/core/value.ts";

type Leaf = Exclude<Value, readonly Value[] | { readonly [key: string]: Value | undefined }>;

const numbers = fc.oneof(
  fc.integer(),
  fc.integer({ min: 0, max: 2 ** 32 + 2 }),
  fc.constantFrom(
    0,
    -0,
    127,
    128,
    255,
    256,
    65535,
    65536,
    2 ** 31,
    2 ** 32 - 1,
    2 ** 32,
    -32,
    -33,
    -128,
    -129,
  ),
  fc.constantFrom(-(2 ** 15), -(2 ** 15) - 1, -(2 ** 31), -(2 ** 31) - 1, NaN, Infinity, -Infinity, 2 ** 53),
  fc.double(),
);

/** Well-formed text: ASCII of lengths around the heads' limits, and text beyond ASCII. */
const texts = fc.oneof(
  fc.string({ unit: "binary", maxLength: 12 }),
  fc.string({ unit: "grapheme", maxLength: 40 }),
  fc.string({ unit: "binary-ascii", maxLength: 70 }),
  fc.constantFrom(
    "x".repeat(31),
    "x".repeat(32),
    "é".repeat(16),
    "x".repeat(255),
    "é".repeat(128),
    "x".repeat(300),
  ),
);

const bytes = fc.uint8Array({ maxLength: 40 });

export const leaves: fc.Arbitrary<Leaf> = fc.oneof(
  { weight: 4, arbitrary: numbers },
  { weight: 4, arbitrary: texts },
  { weight: 1, arbitrary: bytes },
  { weight: 1, arbitrary: fc.bigInt({ min: -(2n ** 63n), max: 2n ** 64n - 1n }) },
  { weight: 2, arbitrary: fc.constantFrom(null, true, false) },
);

/** Keys: often of a few names, so that shapes come again, else anything that may be one. */
export const keys: fc.Arbitrary<string> = fc.oneof(
  {
    weight: 4,
    arbitrary: fc.constantFrom("a", "b", "id", "name", "constructor", "toString", "0", "10", "2"),
  },
  {
    weight: 1,
    arbitrary: fc.constantFrom("", "'", '"', "\n", "\u2028", "`$a`", "\\", "ROOM", "\u007f\u{1F600}"),
  },
  { weight: 1, arbitrary: texts.filter((text) => text !== "__proto__") },
);

/** Any record: maps with `Object.prototype`, no property of which is undefined. */
export const values: fc.Arbitrary<Value> = fc.letrec<{ value: Value }>((tie) => ({
  value: fc.oneof(
    { maxDepth: 4, withCrossShrink: true },
    leaves,
    fc.array(tie("value"), { maxLength: 20 }),
    fc
      .uniqueArray(fc.tuple(keys, tie("value")), { maxLength: 20, selector: ([key]) => key })
      .map((entries) => Object.fromEntries(entries) as Value),
  ),
})).value;

/** A map with the same entries, put in in the opposite order; all the way down. */
export function reversed(value: Value): Value {
  if (value === null || typeof value !== "object" || value instanceof Uint8Array) return value;
  if (Array.isArray(value)) return value.map(reversed);
  return Object.fromEntries(
    Object.entries(value)
      .reverse()
      .map(([key, inner]) => [key, inner === undefined ? undefined : reversed(inner)]),
  );
}
