import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { NumberSet } from "./number-set.ts";

const number = fc.oneof(fc.nat(200), fc.nat(100_000), fc.integer({ min: 32_760, max: 32_776 }));

describe("a set of numbers", () => {
  test("has what an ordinary set has, and finds and counts it", () => {
    fc.assert(
      fc.property(fc.array(number), number, number, (added, a, b) => {
        const set = new NumberSet();
        for (const n of added) set.add(n);
        const wanted = new Set(added);
        const sorted = [...wanted].sort((x, y) => x - y);
        const [from, to] = [Math.min(a, b), Math.max(a, b)];
        const between = sorted.filter((n) => n >= from && n < to);
        expect(set.size).toBe(wanted.size);
        expect([set.lowest, set.highest]).toEqual([sorted[0], sorted.at(-1)]);
        for (const n of [a, b, ...added]) expect(set.has(n)).toBe(wanted.has(n));
        expect(set.below(a)).toBe(sorted.findLast((n) => n < a));
        expect(set.hasBetween(from, to)).toBe(between.length > 0);
        expect(set.countBetween(from, to)).toBe(between.length);
      }),
    );
  });
});
