import { afterEach, beforeEach, describe, expect, it } from "vitest";
import type { ViewFound, ViewStore } from "../../src/ports/view-store.ts";

/** A store to test; `reopen` closes it and opens it again, where it outlives that. */
export interface ViewStoreHarness {
  readonly store: ViewStore;
  readonly reopen?: () => Promise<ViewStore>;
  dispose(): Promise<void>;
}

const bytes = (...values: number[]) => Uint8Array.from(values);
const list = (found: Iterable<ViewFound>) =>
  [...found].map(({ key, value }) => {
    expect([...key]).toEqual([...value]);
    return [...value];
  });

/** Registers the tests that every adapter of the `ViewStore` port has to pass. */
export function describeViewStore(name: string, make: () => Promise<ViewStoreHarness>): void {
  describe(`${name} as a store of views`, () => {
    let harness: ViewStoreHarness;
    let store: ViewStore;
    const guard = { key: bytes(1), value: undefined };
    beforeEach(async () => {
      harness = await make();
      store = harness.store;
    });
    afterEach(() => harness.dispose());

    it("gives back what was committed", async () => {
      expect(store.get(bytes(2))).toBeUndefined();
      const entries = [
        { key: bytes(1), value: bytes(7) },
        { key: bytes(2), value: bytes() },
      ];
      expect(await store.commit(guard, entries)).toBe(true);
      expect([...(store.get(bytes(1)) ?? [])]).toEqual([7]);
      expect([...(store.get(bytes(2)) ?? [0])]).toEqual([]);
    });

    it("goes through the keys with a prefix in the order of their bytes", async () => {
      const keys = [
        bytes(9, 2),
        bytes(9, 255, 1),
        bytes(9, 1, 200),
        bytes(9, 1, 3),
        bytes(10),
        bytes(8, 255),
        bytes(9),
      ];
      await store.commit(
        guard,
        keys.map((key) => ({ key, value: key })),
      );
      expect(list(store.range(bytes(9)))).toEqual([[9], [9, 1, 3], [9, 1, 200], [9, 2], [9, 255, 1]]);
      expect(list(store.range(bytes(9, 255)))).toEqual([[9, 255, 1]]);
      expect(list(store.range(bytes(7)))).toEqual([]);
    });

    it("writes nothing where the guard is not as it was", async () => {
      expect(await store.commit(guard, [{ key: bytes(1), value: bytes(7) }])).toBe(true);
      const late = [
        { key: bytes(1), value: bytes(8) },
        { key: bytes(3), value: bytes(8) },
      ];
      expect(await store.commit(guard, late)).toBe(false);
      expect(await store.commit({ key: bytes(1), value: bytes(8) }, late)).toBe(false);
      expect(store.get(bytes(3))).toBeUndefined();
      expect(await store.commit({ key: bytes(1), value: bytes(7) }, late)).toBe(true);
      expect([...(store.get(bytes(3)) ?? [])]).toEqual([8]);
    });

    it("removes what is to have no value any more, together with what it writes", async () => {
      const [one, two, three] = [bytes(4, 1), bytes(4, 2), bytes(4, 3)];
      await store.commit(
        guard,
        [one, two].map((key) => ({ key, value: key })),
      );
      expect(
        await store.commit(guard, [
          { key: one, value: undefined },
          { key: three, value: three },
          { key: bytes(4, 9), value: undefined },
        ]),
      ).toBe(true);
      expect(list(store.range(bytes(4)))).toEqual([
        [4, 2],
        [4, 3],
      ]);
    });

    it("is there no more when it was discarded", async () => {
      await store.commit(guard, [{ key: bytes(1), value: bytes(7) }]);
      await store.discard();
      const again = (await harness.reopen?.()) ?? store;
      expect(again.get(bytes(1))).toBeUndefined();
    });

    it("is empty when it was cleared", async () => {
      await store.commit(guard, [{ key: bytes(1), value: bytes(7) }]);
      await store.clear();
      expect(store.get(bytes(1))).toBeUndefined();
      expect(await store.commit(guard, [])).toBe(true);
    });

    it("keeps what was committed when it is closed and opened again", async ({ skip }) => {
      const { reopen } = harness;
      if (reopen === undefined) return skip("it ends with the process");
      await store.commit(guard, [{ key: bytes(1), value: bytes(7) }]);
      const again = await reopen();
      expect([...(again.get(bytes(1)) ?? [])]).toEqual([7]);
    });
  });
}
