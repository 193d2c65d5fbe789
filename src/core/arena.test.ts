import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { keys, leaves, reversed, values } from "../../test/vectors/arbitrary-value.ts";
import { canonicalVectors, untagged } from "../../test/vectors/canonical-vectors.ts";
import { REFUSED_VALUES } from "../../test/vectors/not-canonical.ts";
import { Arena } from "./arena.ts";
import { encodeCanonical } from "./canonical.ts";
import { sha256, toHex } from "./digest.ts";
import { HeadwaterError } from "./errors.ts";
import { LIMITS } from "./limits.ts";

function outcome(action: () => Uint8Array): unknown {
  try {
    return toHex(action());
  } catch (error) {
    if (!(error instanceof HeadwaterError)) throw error;
    return { code: error.code, message: error.message, where: error.where, hint: error.hint };
  }
}

/** The arena packs `value` to what the reference encodes, also once its shape is compiled; and says the same. */
function checkSame(arena: Arena, make: () => unknown): void {
  const expected = outcome(() => encodeCanonical(make()));
  for (let time = 0; time < 5; time++) {
    const count = arena.count;
    const actual = outcome(() => {
      arena.append(make());
      return arena.bytes(arena.count - 1);
    });
    expect(actual).toEqual(expected);
    expect(arena.count).toBe(typeof expected === "string" ? count + 1 : count);
  }
}

describe("packing", () => {
  test("gives the reference's bytes", () => {
    const arena = new Arena();
    fc.assert(
      fc.property(values, (value) => {
        arena.reset();
        checkSame(arena, () => value);
        checkSame(arena, () => reversed(value));
      }),
      { numRuns: 500 },
    );
  });

  test("gives the reference's bytes for values that change their type from record to record", () => {
    const arena = new Arena();
    const changing = fc.oneof(
      { weight: 5, arbitrary: leaves },
      { weight: 1, arbitrary: fc.constant(undefined) },
      values,
    );
    const property = fc.property(
      fc.uniqueArray(keys, { minLength: 1, maxLength: 8 }),
      fc.infiniteStream(changing),
      (names, stream) => {
        arena.reset();
        const expected: string[] = [];
        for (let record = 0; record < 12; record++) {
          const value = Object.fromEntries(names.map((name) => [name, stream.next().value]));
          arena.append(value);
          expected.push(toHex(encodeCanonical(value)));
        }
        expect(expected.map((_, index) => toHex(arena.bytes(index)))).toEqual(expected);
      },
    );
    fc.assert(property, { numRuns: 300 });
  });

  test.each(canonicalVectors().accepted)("the vector: $name", ({ value }) => {
    checkSame(new Arena(), () => untagged(value));
  });

  test.each(REFUSED_VALUES)("refuses like the reference: $name", ({ make }) => {
    const arena = new Arena();
    arena.append("before");
    checkSame(arena, make);
    checkSame(arena, () => [{ id: 1, inner: [make()] }]);
    expect(toHex(arena.all())).toBe(toHex(encodeCanonical("before")));
  });

  test("refuses in a compiled shape what the same property held before", () => {
    const arena = new Arena();
    for (let time = 0; time < 5; time++) arena.append({ id: time, name: "x", when: 1 });
    checkSame(arena, () => ({ id: 1, name: "x", when: new Date(0) }));
    checkSame(arena, () => ({ id: 1, name: "\ud800", when: 1 }));
    checkSame(arena, () => ({ id: 1, name: "x", when: undefined }));
    checkSame(arena, () => Object.defineProperty({ id: 1, name: "x", when: 1 }, "id", { enumerable: false }));
    checkSame(arena, () => ({ id: 1, name: "x", when: 1, [Symbol("s")]: 1 }));
    checkSame(arena, () => Object.assign(Object.create({ inherited: 1 }), { id: 1, name: "x", when: 1 }));
    checkSame(arena, () => Object.assign(Object.create(null), { id: 1, name: "x", when: 1 }));
  });

  test("reads an accessor once a record", () => {
    const arena = new Arena();
    let calls = 0;
    const record = {
      a: 1,
      get b() {
        return ++calls;
      },
    };
    for (let time = 1; time <= 10; time++) {
      arena.append(record);
      expect(calls).toBe(time);
      expect(toHex(arena.bytes(time - 1))).toBe(toHex(encodeCanonical({ a: 1, b: time })));
    }
  });

  test("refuses an accessor that appends to the same arena, and goes on", () => {
    const arena = new Arena();
    const record = {
      get a() {
        arena.append(1);
        return 1;
      },
    };
    expect(() => arena.append(record)).toThrow(/one record at a time/);
    expect(arena.count).toBe(0);
    arena.append(2);
    expect(toHex(arena.all())).toBe("02");
  });

  test("stays right with more shapes than it keeps", () => {
    const arena = new Arena();
    for (let round = 0; round < 3; round++) {
      for (let shape = 0; shape < 700; shape++) {
        for (let time = 0; time < 4; time++) {
          const record = {
            [`key${shape}`]: time,
            inner: { [`x${shape}`]: "y", z: null },
            rows: [{ [`k${shape}`]: 1 }],
          };
          arena.reset();
          arena.append(record);
          expect(toHex(arena.all())).toBe(toHex(encodeCanonical(record)));
        }
      }
    }
  });

  test("has room for whatever is in the way of its buffer's end", () => {
    const arena = new Arena();
    const sizes = [0, 30, 31, 32, 100, 5_000, 40_000, 70_000, 200_000, 700_000];
    const expected: string[] = [];
    for (const size of [...sizes, ...sizes]) {
      const record = {
        a: "é".repeat(size / 2),
        b: 1.5,
        c: new Uint8Array(size / 8),
        d: [size, { e: "x".repeat(31) }],
        z: "end",
      };
      for (let time = 0; time < 3; time++) {
        if (encodesTo(record) > LIMITS.recordBytes) continue;
        arena.append(record);
        expected.push(toHex(encodeCanonical(record)));
      }
    }
    expect(expected.length).toBeGreaterThan(50);
    expect(toHex(arena.all())).toBe(expected.join(""));
  });

  test("has room for what follows a value of any size", () => {
    const record = (id: number) => ({
      a: id,
      b: new Uint8Array(1_000),
      f: "twenty characters long",
      g: "and some more of them",
    });
    const capacity = 64 * 1024;
    for (let id = 0; id < 400; id++) {
      const arena = new Arena();
      arena.appendBytes(new Uint8Array(capacity - 1_000 - id));
      arena.append(record(id));
      expect(toHex(arena.bytes(1))).toBe(toHex(encodeCanonical(record(id))));
    }
  });

  test("refuses records above the limit, and takes those of the limit", () => {
    const arena = new Arena();
    const most = "x".repeat(LIMITS.recordBytes - 5);
    checkSame(arena, () => most);
    checkSame(arena, () => `${most}x`);
    checkSame(arena, () => ({ a: most }));
    checkSame(arena, () => ({ a: "é".repeat(LIMITS.recordBytes / 2) }));
    checkSame(arena, () => [new Uint8Array(LIMITS.recordBytes)]);
    let shared: unknown = { x: "x" };
    for (let level = 0; level < 100; level++) shared = { a: shared, b: shared };
    checkSame(arena, () => shared);
  });
});

function encodesTo(value: unknown): number {
  try {
    return encodeCanonical(value).length;
  } catch {
    return Infinity;
  }
}

describe("an arena", () => {
  test("knows where its records are, and their digests", () => {
    const arena = new Arena();
    for (let batch = 0; batch < 3; batch++) {
      arena.reset();
      expect([arena.count, arena.all().length, arena.digests().length]).toEqual([0, 0, 0]);
      const records = Array.from({ length: 3_000 }, (_, id) => ({
        id,
        text: "x".repeat((id * batch) % 700),
      }));
      for (const record of records) arena.append(record);
      arena.appendBytes(encodeCanonical({ already: "canonical" }));
      expect(arena.count).toBe(3_001);
      const digests = arena.digests();
      expect(digests.length).toBe(32 * 3_001);
      for (let index = 0; index < arena.count; index++) {
        const bytes = encodeCanonical(records[index] ?? { already: "canonical" });
        expect(toHex(arena.bytes(index))).toBe(toHex(bytes));
        expect(toHex(arena.all().subarray(arena.start(index), arena.end(index)))).toBe(toHex(bytes));
        expect(toHex(digests.subarray(32 * index, 32 * index + 32))).toBe(toHex(sha256(bytes)));
      }
    }
  });

  test("does not share its bytes with another", () => {
    const [first, second] = [new Arena(), new Arena()];
    first.append("first");
    second.append("second");
    const digest = toHex(first.digests());
    expect(toHex(second.digests())).toBe(toHex(sha256(encodeCanonical("second"))));
    expect(digest).toBe(toHex(sha256(encodeCanonical("first"))));
    expect(toHex(first.all())).toBe(toHex(encodeCanonical("first")));
  });
});
