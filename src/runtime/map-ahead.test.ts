import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { mapAhead } from "./map-ahead.ts";

async function* upTo(count: number, asked: (item: number) => void = () => {}) {
  for (let item = 0; item < count; item++) {
    asked(item);
    yield item;
  }
}

const turns = async (count: number) => {
  for (let turn = 0; turn < count; turn++) await Promise.resolve();
};

describe("mapAhead", () => {
  it("gives everything in order, however long each takes, and goes on with no more than it may", () =>
    fc.assert(
      fc.asyncProperty(
        fc.array(fc.nat(20), { maxLength: 30 }),
        fc.integer({ min: 1, max: 5 }),
        async (delays, most) => {
          let underWay = 0;
          let highest = 0;
          const mapped = mapAhead(upTo(delays.length), most, async (item) => {
            highest = Math.max(highest, ++underWay);
            await turns(delays[item] as number);
            underWay--;
            return item;
          });
          const got: number[] = [];
          for await (const item of mapped) got.push(item);
          expect(got).toEqual([...delays.keys()]);
          expect(highest).toBeLessThanOrEqual(most);
        },
      ),
    ));

  it("is ahead of whoever uses it slowly, by no more than it may", async () => {
    const asked: number[] = [];
    const mapped = mapAhead(
      upTo(100, (item) => asked.push(item)),
      3,
      (item) => item,
    );
    await mapped.next();
    await turns(50);
    // The one that is used, and three that wait.
    expect(asked.length).toBeGreaterThanOrEqual(3);
    expect(asked.length).toBeLessThanOrEqual(4);
    await mapped.return();
    await turns(50);
    expect(asked.length).toBeLessThanOrEqual(5);
  });

  it("throws what went wrong in its place, after what came before", async () => {
    const mapped = mapAhead(upTo(5), 4, async (item) => {
      if (item === 2) throw new Error("two");
      await turns(5);
      return item;
    });
    const got: number[] = [];
    await expect(
      (async () => {
        for await (const item of mapped) got.push(item);
      })(),
    ).rejects.toThrow("two");
    expect(got).toEqual([0, 1]);
    async function* broken() {
      yield 1;
      throw new Error("broken");
    }
    const items = mapAhead(broken(), 4, (item) => item);
    expect(await items.next()).toEqual({ done: false, value: 1 });
    await expect(items.next()).rejects.toThrow("broken");
  });
});
