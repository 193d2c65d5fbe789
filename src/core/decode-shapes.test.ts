import { isDeepStrictEqual } from "node:util";
import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { keys, leaves, values } from "../../test/vectors/arbitrary-value.ts";
import { canonicalVectors, untagged } from "../../test/vectors/canonical-vectors.ts";
import { decodeCanonical, encodeCanonical } from "./canonical.ts";
import { RecordDecoder } from "./decode-shapes.ts";
import { fromHex } from "./digest.ts";
import { HeadwaterError } from "./errors.ts";
import { LIMITS } from "./limits.ts";

type Outcome = { readonly value: unknown } | { readonly code: string; readonly where: string | undefined };

function outcome(action: () => unknown): Outcome {
  try {
    return { value: action() };
  } catch (error) {
    if (!(error instanceof HeadwaterError)) throw error;
    return { code: error.code, where: error.where };
  }
}

/** The decoder gives what the strict one gives, also once the shapes are compiled, and inside other bytes. */
function checkSame(decoder: RecordDecoder, record: Uint8Array): Outcome {
  const expected = outcome(() => decodeCanonical(record));
  const around = Buffer.concat([Buffer.from("81a161", "hex"), record, Buffer.from("81a161018101", "hex")]);
  for (let time = 0; time < 4; time++) {
    const alone = outcome(() => decoder.decode(record, 0, record.length));
    const inside = outcome(() => decoder.decode(around, 3, 3 + record.length));
    expect(isDeepStrictEqual(alone, expected)).toBe(true);
    expect(isDeepStrictEqual(inside, expected)).toBe(true);
  }
  return expected;
}

describe("RecordDecoder", () => {
  test("gives the strict decoder's values", () => {
    const decoder = new RecordDecoder();
    const property = fc.property(values, (value) => {
      expect(checkSame(decoder, encodeCanonical(value))).toHaveProperty("value");
    });
    fc.assert(property, { numRuns: 500 });
  });

  test("gives them for values that change their type from record to record", () => {
    const decoder = new RecordDecoder();
    const names = fc.uniqueArray(keys, { minLength: 1, maxLength: 8 });
    const stream = fc.infiniteStream(
      fc.oneof({ weight: 5, arbitrary: leaves }, fc.constant(undefined), values),
    );
    const property = fc.property(names, stream, (all, next) => {
      for (let record = 0; record < 12; record++) {
        const bytes = encodeCanonical(Object.fromEntries(all.map((name) => [name, next.next().value])));
        expect(isDeepStrictEqual(decoder.decode(bytes), decodeCanonical(bytes))).toBe(true);
      }
    });
    fc.assert(property, { numRuns: 300 });
  });

  test.each(canonicalVectors().accepted)("reads the vector: $name", ({ value }) => {
    checkSame(new RecordDecoder(), encodeCanonical(untagged(value)));
  });

  test.each(canonicalVectors().refused)("refuses: $why", ({ hex }) => {
    const decoder = new RecordDecoder();
    expect(checkSame(decoder, fromHex(hex))).toHaveProperty("code", "NotCanonical");
    const inMap = Buffer.concat([Buffer.from("81a161", "hex"), fromHex(hex)]);
    for (let time = 0; time < 5; time++) decoder.decode(encodeCanonical({ a: time }));
    expect(checkSame(decoder, inMap)).toHaveProperty("code", "NotCanonical");
  });

  test("treats damaged bytes of known shapes like the strict decoder", () => {
    const decoder = new RecordDecoder();
    const damage = fc.array(fc.tuple(fc.nat(), fc.nat(255)), { minLength: 1, maxLength: 3 });
    let refused = 0;
    const property = fc.property(values, damage, fc.nat(), (value, changes, cut) => {
      const bytes = encodeCanonical(value);
      checkSame(decoder, bytes);
      for (const [at, byte] of changes) bytes[at % bytes.length] = byte;
      if ("code" in checkSame(decoder, bytes)) refused++;
      checkSame(decoder, bytes.subarray(0, cut % bytes.length));
    });
    fc.assert(property, { numRuns: 500 });
    expect(refused).toBeGreaterThan(50);
  });

  test("reads on after a key that the shape does not have", () => {
    const decoder = new RecordDecoder();
    const records = [
      { a: 1, b: "x", c: true, e: null },
      { a: 1, b: "x", c: true, d: null },
      { a: 1, b: "x", cc: [{ x: 1 }, { x: 2, y: 3 }], d: null },
      { a: 1, b: { a: 1, b: "x" }, c: 2.5 },
      { a: 1 },
      { b: 1 },
      {},
    ];
    for (let time = 0; time < 30; time++) {
      for (const record of time % 2 === 0 ? records : records.toReversed()) {
        expect(decoder.decode(encodeCanonical(record))).toStrictEqual(record);
      }
    }
  });

  test("does not take exponential time for shapes that mislead it", () => {
    const decoder = new RecordDecoder();
    const deep = (last: string): unknown => {
      let value: unknown = { a: 1, [last]: 1 };
      for (let level = 0; level < 100; level++) value = { a: value, [last]: level };
      return value;
    };
    for (let time = 0; time < 40; time++) {
      const value = deep(["b", "c", "d", "e", "f"][time % 5] ?? "b");
      expect(isDeepStrictEqual(decoder.decode(encodeCanonical(value)), value)).toBe(true);
    }
  });

  test("stays right with more shapes than it keeps", () => {
    const decoder = new RecordDecoder();
    for (let round = 0; round < 3; round++) {
      for (let shape = 0; shape < 700; shape++) {
        const record = { [`key${shape}`]: round, inner: { [`x${shape}`]: "y", z: null } };
        for (let time = 0; time < 4; time++) {
          expect(decoder.decode(encodeCanonical(record))).toStrictEqual(record);
        }
      }
    }
  });

  test("copies what it gives", () => {
    const decoder = new RecordDecoder();
    const bytes = encodeCanonical({ text: "x".repeat(40), bytes: Uint8Array.of(1, 2) });
    const value = decoder.decode(bytes);
    bytes.fill(0);
    expect(value).toStrictEqual({ text: "x".repeat(40), bytes: Uint8Array.of(1, 2) });
  });

  test("gives plain Uint8Arrays whatever it reads from", () => {
    const bytes = Buffer.from(encodeCanonical([Uint8Array.of(1)]));
    expect(new RecordDecoder().decode(bytes)).toStrictEqual([Uint8Array.of(1)]);
  });

  test("refuses what is too large, and a range outside of the bytes", () => {
    const decoder = new RecordDecoder();
    const large = new Uint8Array(LIMITS.recordBytes + 1);
    expect(() => decoder.decode(large, 0, large.length)).toThrow(
      expect.objectContaining({ code: "RecordTooLarge" }),
    );
    expect(() => decoder.decode(large, 5, 4)).toThrow(RangeError);
    expect(() => decoder.decode(large, 0, large.length + 1)).toThrow(RangeError);
    expect(() => decoder.decode(large, -1, 1)).toThrow(RangeError);
  });
});
