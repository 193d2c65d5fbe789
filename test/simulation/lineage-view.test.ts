import { beforeAll, describe, expect, test } from "vitest";
import { createMemoryViewStore } from "../../src/adapters/memory/view-store.ts";
import { isHeadwaterError } from "../../src/core/errors.ts";
import { decodeEvent } from "../../src/core/event-codec.ts";
import { digestTerm, type Term } from "../../src/core/index-terms.ts";
import { LIMITS } from "../../src/core/limits.ts";
import { count } from "../../src/pipeline/aggregates.ts";
import { pipeline } from "../../src/pipeline/pipeline.ts";
import { sliding } from "../../src/pipeline/windows.ts";
import type { ViewFound, ViewStore } from "../../src/ports/view-store.ts";
import { LineageView } from "../../src/runtime/lineage-view.ts";
import { arrayLog, copyEvents } from "../array-log.ts";
import { emptyLog } from "../small-log.ts";
import { ORDINARY } from "./expectations.ts";
import { type Outcome, simulate } from "./harness.ts";
import { withoutWarnings } from "./property-runs.ts";
import { seededRandom, upTo } from "./virtual-world.ts";

withoutWarnings();

interface Item {
  readonly k: number;
  readonly at: number;
}

/** A log of many small batches: more events than a view takes in before it commits. Late items are shifted by `other`. */
async function longRun(other = 0): Promise<Outcome> {
  const p = pipeline("p", { partitions: 2 });
  const items = p.source<undefined, number>("m", {
    key: (item) => (item as Item).k,
    eventTime: (item) => (item as Item).at,
  });
  items.window("slides", sliding("8s", "2s"), { aggregate: count(), emit: (n) => n }).sink("slides");
  items.reduce("totals", { init: () => 0, step: (n: number) => n + 1, emit: (n) => n }).sink("totals");
  const given = Array.from({ length: 1_500 }, (_, n) => ({
    value: { k: (n < 700 ? n : n + other) % 5, at: 100 * n },
    ordinal: n + 1,
  }));
  return simulate(p.definition, new Map([["m", given]]), { ...ORDINARY, batchRecords: 1 });
}

async function termsOf(outcome: Outcome): Promise<Term[]> {
  const terms: Term[] = [];
  for await (const event of outcome.log.readAll()) {
    const { type, data } = decodeEvent(event);
    if (type === "RecordsAccepted" && data.digests !== undefined) terms.push(digestTerm(data.digests, 0));
  }
  return terms;
}

/** A store in which one commit, the `at`-th, does not come back: before it is made, or after. */
function dying(store: ViewStore, at: number, made: boolean): ViewStore {
  let commits = 0;
  return {
    ...store,
    commit: async (guard, entries) => {
      if (++commits !== at) return store.commit(guard, entries);
      if (made) await store.commit(guard, entries);
      throw new Error("the process is gone");
    },
  };
}

describe("the lineage view", () => {
  let outcome: Outcome;
  let terms: Term[];
  let whole: LineageView;
  beforeAll(async () => {
    outcome = await longRun();
    terms = await termsOf(outcome);
    whole = await LineageView.open(createMemoryViewStore(), outcome.log);
    await whole.catchUp();
  }, 600_000);

  const same = (view: LineageView) => {
    expect(view.position).toEqual(whole.position);
    for (const term of terms) expect(view.find(term)).toEqual(whole.find(term));
  };

  test("finds events by what is in them", () => {
    expect(terms.length).toBeGreaterThan(LIMITS.viewEventsPerCommit / 2);
    for (const term of terms) expect(whole.find(term).map(({ stream }) => stream)).toContain("source_p.m");
    expect(whole.find(12_345)).toEqual([]);
  });

  test("finds the same in chunks that were merged, and after a kill at any of the merges", async () => {
    const sizes = { entries: 300, merge: 3 };
    for (const at of [2, 3, 4, 5]) {
      for (const made of [false, true]) {
        const store = createMemoryViewStore();
        const first = await LineageView.open(dying(store, at, made), outcome.log, sizes);
        await expect(first.catchUp()).rejects.toThrow("the process is gone");
        const second = await LineageView.open(store, outcome.log, sizes);
        await second.catchUp();
        same(second);
      }
    }
  });

  test("goes on after a kill at any commit, and is what it would have been", async () => {
    for (const at of [1, 2, 3]) {
      for (const made of [false, true]) {
        const store = createMemoryViewStore();
        const first = await LineageView.open(dying(store, at, made), outcome.log);
        await expect(first.catchUp()).rejects.toThrow("the process is gone");
        const second = await LineageView.open(store, outcome.log);
        await second.catchUp();
        same(second);
      }
    }
  });

  test("is taken further by two processes at the same time", async () => {
    const store = createMemoryViewStore();
    const views = [await LineageView.open(store, outcome.log), await LineageView.open(store, outcome.log)];
    await Promise.all(views.map((view) => view.catchUp()));
    for (const view of views) same(view);
  });

  test("stops when it is told to, keeps what was committed, and can be dropped", async () => {
    const store = createMemoryViewStore();
    const stop = new AbortController();
    const view = await LineageView.open(store, outcome.log);
    await expect(view.catchUp(stop.signal, () => stop.abort())).rejects.toMatchObject({ code: "Stopped" });
    expect(view.position.commit).toBeGreaterThan(0n);
    expect((await LineageView.open(store, outcome.log)).position).toEqual(view.position);
    await view.drop();
    expect(view.position.commit).toBe(0n);
    await view.catchUp();
    same(view);
  });

  test("begins anew where the log was put back from an older copy, and has gone on in another way", async () => {
    const other = await longRun(1);
    const others = await copyEvents(other.log);
    for (const shorter of [others.length, others.length >> 1]) {
      const log = arrayLog(outcome.log.id, others.slice(0, shorter));
      const store = createMemoryViewStore();
      await (await LineageView.open(store, outcome.log)).catchUp();
      const view = await LineageView.open(store, log);
      expect(view.putBack).toBe(true);
      expect(await view.isBehind()).toBe(true);
      await view.catchUp();
      expect(await view.isBehind()).toBe(false);
      const fresh = await LineageView.open(createMemoryViewStore(), log);
      await fresh.catchUp();
      for (const term of [...terms, ...(await termsOf(other))])
        expect(view.find(term)).toEqual(fresh.find(term));
      expect((await LineageView.open(store, log)).putBack).toBe(false);
    }
  });

  test("goes on where what it had seen last was let go of since", async () => {
    const events = await copyEvents(outcome.log);
    const store = createMemoryViewStore();
    const before = await LineageView.open(store, arrayLog(outcome.log.id, events.slice(0, 2_000)));
    await before.catchUp();
    const last = events.slice(0, 2_000).findLast(({ stream }) => stream.startsWith("steps_"));
    const { stream, revision } = last ?? { stream: "", revision: 0 };
    const left = events.map((event) =>
      // Positions are places in the array: what was let go of leaves its place to a stream that is not looked at.
      event.stream === stream && event.revision <= revision ? { ...event, stream: "supervisor_p" } : event,
    );
    const view = await LineageView.open(
      store,
      arrayLog(outcome.log.id, left, new Map([[stream, revision + 1]])),
    );
    expect(view.putBack).toBe(false);
    expect(view.position.commit).toBeGreaterThan(1_000n);
    await view.catchUp();
    for (const term of terms) expect(view.find(term)).toEqual(whole.find(term));
  });

  test("says that it is damaged, or answers as before, whatever bit of it was turned, and whatever of it is lost", async () => {
    const sizes = { entries: 300, merge: 3 };
    const store = createMemoryViewStore();
    await (await LineageView.open(store, outcome.log, sizes)).catchUp();
    const all = [...store.range(new Uint8Array(0))];
    const random = seededRandom(7);
    let damaged = 0;
    for (let fault = 0; fault < 300; fault++) {
      const { key, value } = all[upTo(random, all.length - 1)] as ViewFound;
      const changed = fault % 3 === 0 ? undefined : Uint8Array.from(value);
      const at = upTo(random, value.length - 1);
      if (changed !== undefined) changed[at] = (changed[at] as number) ^ (1 << upTo(random, 7));
      const copy = createMemoryViewStore();
      const entries = all.map((entry) => (entry.key === key ? { key, value: changed } : entry));
      await copy.commit({ key: Uint8Array.of(0), value: undefined }, entries);
      const view = await LineageView.open(copy, outcome.log, sizes);
      // What was kept of it could not be read: it is made anew.
      if (view.position.commit === 0n) damaged++;
      else {
        for (const term of terms.filter((_, index) => index % 10 === fault % 10)) {
          try {
            expect(view.find(term)).toEqual(whole.find(term));
          } catch (error) {
            if (!isHeadwaterError(error, "ViewDamaged")) throw error;
            damaged++;
          }
        }
      }
    }
    expect(damaged).toBeGreaterThan(50);
  });

  test("begins anew with another log", async () => {
    const store = createMemoryViewStore();
    await (await LineageView.open(store, outcome.log)).catchUp();
    const other = await LineageView.open(store, emptyLog());
    expect(other.position.commit).toBe(0n);
    expect(other.find(terms[0] as Term)).toEqual([]);
  });
});
