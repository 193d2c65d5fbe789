import { isDeepStrictEqual } from "node:util";
import fc from "fast-check";
import { Unpackr } from "msgpackr";
import { describe, expect, test } from "vitest";
import { leaves, reversed, values } from "../../test/vectors/arbitrary-value.ts";
import { canonicalVectors, untagged } from "../../test/vectors/canonical-vectors.ts";
import { decodeCanonical, encodeCanonical } from "./canonical.ts";
import { fromHex, sha256, toHex } from "./digest.ts";
import { HeadwaterError } from "./errors.ts";
import { LIMITS } from "./limits.ts";

const VECTORS = canonicalVectors();
const stock = new Unpackr({ useRecords: false, mapsAsObjects: true, int64AsType: "bigint" });

/** What decoding gives for `value`: without undefined properties. */
function plain(value: unknown): unknown {
  if (value === null || typeof value !== "object" || value instanceof Uint8Array) return value;
  if (Array.isArray(value)) return value.map(plain);
  return Object.fromEntries(
    Object.entries(value)
      .filter(([, inner]) => inner !== undefined)
      .map(([key, inner]) => [key, plain(inner)]),
  );
}

/** Buffers as plain byte arrays, for comparing with what the stock decoder gives. */
function withoutBuffers(value: unknown): unknown {
  if (value instanceof Uint8Array) return new Uint8Array(value);
  if (Array.isArray(value)) return value.map(withoutBuffers);
  if (value === null || typeof value !== "object") return value;
  return Object.fromEntries(Object.entries(value).map(([key, inner]) => [key, withoutBuffers(inner)]));
}

function refusal(action: () => unknown): HeadwaterError {
  try {
    action();
  } catch (error) {
    if (error instanceof HeadwaterError) return error;
    throw error;
  }
  throw new Error("nothing was refused");
}

describe("vectors", () => {
  test("there are enough of them", () => {
    expect(VECTORS.accepted.length).toBeGreaterThanOrEqual(60);
    expect(VECTORS.refused.length).toBeGreaterThanOrEqual(40);
  });

  test.each(VECTORS.accepted)("$name", (vector) => {
    const value = untagged(vector.value);
    const bytes = encodeCanonical(value);
    if (vector.hex !== undefined) expect(toHex(bytes)).toBe(vector.hex);
    else expect([bytes.length, toHex(bytes.subarray(0, 12))]).toEqual([vector.bytes, vector.start]);
    expect(toHex(sha256(bytes))).toBe(vector.sha256);
    expect(decodeCanonical(bytes)).toStrictEqual(plain(value));
    expect(withoutBuffers(stock.unpack(bytes))).toStrictEqual(plain(value));
  });

  test.each(VECTORS.refused)("refused: $why", ({ hex }) => {
    const error = refusal(() => decodeCanonical(fromHex(hex)));
    expect(error.code).toBe("NotCanonical");
    expect(error.where).toMatch(/^byte \d+ \(\$.*\)$/);
  });
});

describe("values", () => {
  test("come back, whatever the order of their keys", () => {
    fc.assert(
      fc.property(values, (value) => {
        const bytes = encodeCanonical(value);
        // Not toStrictEqual, which takes a key "constructor" for the class.
        expect(isDeepStrictEqual(decodeCanonical(bytes), value)).toBe(true);
        expect(encodeCanonical(reversed(value))).toEqual(bytes);
        expect(encodeCanonical(decodeCanonical(bytes))).toEqual(bytes);
      }),
    );
  });

  test("that differ have different bytes", () => {
    fc.assert(
      fc.property(leaves, leaves, (a, b) => {
        const same =
          a instanceof Uint8Array && b instanceof Uint8Array ? toHex(a) === toHex(b) : Object.is(a, b);
        expect(toHex(encodeCanonical(a)) === toHex(encodeCanonical(b))).toBe(same);
      }),
    );
    const different = [
      1,
      1n,
      0,
      -0,
      "1",
      1.5,
      null,
      {},
      { a: null },
      [],
      [null],
      "",
      new Uint8Array(0),
      true,
    ];
    expect(new Set(different.map((value) => toHex(encodeCanonical(value)))).size).toBe(different.length);
  });

  test("come back with their keys in the order of the bytes", () => {
    const decoded = decodeCanonical(
      encodeCanonical({ é: 1, b: 2, "": 3, aa: 4, "\u{1F600}": 5, "\uffee": 6 }),
    );
    expect(Object.keys(Object(decoded))).toEqual(["", "aa", "b", "é", "\uffee", "\u{1F600}"]);
  });

  test("of other kinds that hold the same data", () => {
    const bare = Object.assign(Object.create(null), { b: 1, a: 2 });
    expect(encodeCanonical(bare)).toEqual(encodeCanonical({ a: 2, b: 1 }));
    expect(encodeCanonical(Buffer.from([1, 2]))).toEqual(encodeCanonical(new Uint8Array([1, 2])));
    let calls = 0;
    const accessor = {
      get a() {
        calls++;
        return 2;
      },
    };
    expect(encodeCanonical(accessor)).toEqual(encodeCanonical({ a: 2 }));
    expect(calls).toBe(1);
    const shared = { x: 1 };
    expect(encodeCanonical([shared, shared])).toEqual(encodeCanonical([{ x: 1 }, { x: 1 }]));
  });
});

describe("byte strings", () => {
  /** Refused, or the only bytes of their value. */
  function check(bytes: Uint8Array): boolean {
    let value: unknown;
    try {
      value = decodeCanonical(bytes);
    } catch (error) {
      expect(error).toBeInstanceOf(HeadwaterError);
      return false;
    }
    expect(encodeCanonical(value)).toEqual(bytes);
    return true;
  }

  test("at random are refused or canonical", () => {
    const property = fc.property(fc.uint8Array({ maxLength: 24 }), (bytes) => {
      check(bytes);
    });
    fc.assert(property, { numRuns: 5_000 });
  });

  test("that are damaged are refused or canonical", () => {
    let accepted = 0;
    let refused = 0;
    const damage = fc.array(fc.tuple(fc.nat(), fc.nat(255)), { minLength: 1, maxLength: 3 });
    fc.assert(
      fc.property(values, damage, fc.nat(), (value, changes, cut) => {
        const bytes = encodeCanonical(value);
        for (const [at, byte] of changes) bytes[at % bytes.length] = byte;
        if (check(bytes)) accepted++;
        else refused++;
        check(bytes.subarray(0, cut % bytes.length));
      }),
      { numRuns: 2_000 },
    );
    // Both ways were taken.
    expect(Math.min(accepted, refused)).toBeGreaterThan(20);
  });
});

describe("a large record", () => {
  test("has at most the bytes of the limit", () => {
    const head = 5;
    const most = "x".repeat(LIMITS.recordBytes - head);
    expect(decodeCanonical(encodeCanonical(most))).toBe(most);
    expect(refusal(() => encodeCanonical(`${most}x`)).code).toBe("RecordTooLarge");
    expect(refusal(() => decodeCanonical(new Uint8Array(LIMITS.recordBytes + 1))).code).toBe(
      "RecordTooLarge",
    );
  });

  test("that only refers to itself a lot is refused without taking its memory", () => {
    let value: unknown = "x";
    for (let level = 0; level < 100; level++) value = [value, value];
    expect(refusal(() => encodeCanonical(value)).code).toBe("RecordTooLarge");
  });
});

describe("a decoder's error", () => {
  test("names the byte and the path", () => {
    const bytes = encodeCanonical({ orders: [{ id: 1 }, { id: 300 }] });
    bytes[bytes.length - 2] = 0;
    expect(refusal(() => decodeCanonical(bytes))).toMatchObject({
      where: `byte ${bytes.length - 3} ($.orders[1].id)`,
      message: "there is a shorter form",
    });
  });
});
