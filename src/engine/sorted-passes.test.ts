import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { sortedInPasses } from "./sorted-passes.ts";

interface Item {
  readonly at: number;
  readonly bytes: number;
}

const items = fc.uniqueArray(fc.record({ at: fc.nat(500), bytes: fc.integer({ min: 1, max: 40 }) }), {
  selector: ({ at }) => at,
  maxLength: 120,
});

describe("items that are sorted in passes", () => {
  it("come in order, each once, whatever room there is", async () => {
    let several = 0;
    await fc.assert(
      fc.asyncProperty(items, fc.integer({ min: 1, max: 400 }), async (all, bytesMost) => {
        let passes = 0;
        const sorted = sortedInPasses<Item>({
          async *pass() {
            passes++;
            yield* all;
          },
          order: (a, b) => a.at - b.at,
          hold: (item) => item,
          bytesOf: ({ bytes }) => bytes,
          bytesMost,
        });
        const found: Item[] = [];
        for await (const item of sorted) found.push(item);
        expect(found).toEqual([...all].sort((a, b) => a.at - b.at));
        const total = all.reduce((sum, { bytes }) => sum + bytes, 0);
        // Each pass but the last fills half of the room, and none holds more than one item beyond it at its end.
        expect(passes).toBeGreaterThanOrEqual(total / (bytesMost + 40));
        expect(passes).toBeLessThanOrEqual(Math.floor((2 * total) / bytesMost) + 1);
        if (passes > 1) several++;
      }),
    );
    expect(several).toBeGreaterThan(0);
  });
});
