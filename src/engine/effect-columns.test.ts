import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { isHeadwaterError } from "../core/errors.ts";
import { decodeEffects, type EffectColumns, type EffectRow, encodeEffects } from "./effect-columns.ts";
import { effectKey } from "./effect-key.ts";

const row: fc.Arbitrary<EffectRow> = fc.record({
  n: fc.nat(2 ** 31),
  k: fc.constantFrom(0, 0, 1, 700),
  stage: fc.constantFrom("a", "b"),
  name: fc.constantFrom("x", "y", "naïve ☃"),
  key: fc.uuid({ version: 4 }),
  turn: fc.constantFrom(0, 0, 3),
  kind: fc.constantFrom("value", "nothing", "failed", "timedOut"),
  bytes: fc.uint8Array({ maxLength: 40 }).map((bytes) => Uint8Array.from(bytes)),
  calls: fc.constantFrom(1, 1, 0, 5),
  millis: fc.nat(100_000),
});

describe("the columns of what became of effects", () => {
  test("are what they were made of", () => {
    fc.assert(
      fc.property(fc.array(row, { minLength: 1, maxLength: 30 }), (rows) => {
        const decoded = decodeEffects(encodeEffects(rows));
        expect(decoded.map((one) => ({ ...one, bytes: Uint8Array.from(one.bytes) }))).toEqual(rows);
      }),
      { numRuns: 200 },
    );
  });

  test("leave out what would say nothing", () => {
    const usual = { k: 0, stage: "s", name: "e", turn: 0, kind: "value", calls: 1, millis: 5 } as const;
    const key = "00112233-4455-8677-8899-aabbccddeeff";
    const columns = encodeEffects([{ ...usual, key, n: 7, bytes: Uint8Array.of(1) }]);
    expect(Object.keys(columns)).toEqual(["ns", "stages", "names", "keys", "millis", "lengths", "bytes"]);
    expect(columns).toMatchObject({ stages: ["s"], names: ["e"], ns: Uint8Array.of(14) });
  });

  test("that do not fit together are refused", () => {
    const [columns] = fc.sample(row, 1).map((one) => encodeEffects([one]));
    const damaged = () => decodeEffects({ ...(columns as EffectColumns), keys: new Uint8Array(15) });
    expect(damaged).toThrow(/do not fit together/);
    try {
      damaged();
    } catch (error) {
      expect(isHeadwaterError(error, "LogDamaged")).toBe(true);
    }
  });
});

describe("the key of an effect", () => {
  test("follows from the record's place alone, and tells it from all others", () => {
    const place = { root: "source_p.in@7", path: "\x01" };
    const key = effectKey("p", place, "enriched", "customer");
    // Worked out by another program from docs/format.md.
    expect(key).toBe("23c22947-bc16-8dcb-b584-a5c9da83ab2b");
    const others = [
      effectKey("q", place, "enriched", "customer"),
      effectKey("p", { ...place, root: "source_p.in@8" }, "enriched", "customer"),
      effectKey("p", { ...place, path: "\x02" }, "enriched", "customer"),
      effectKey("p", place, "other", "customer"),
      effectKey("p", place, "enriched", "price"),
    ];
    expect(new Set([key, ...others]).size).toBe(6);
  });
});
