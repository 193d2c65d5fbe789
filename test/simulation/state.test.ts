import { describe, expect, onTestFinished, test } from "vitest";
import type { StageState } from "../../src/app/state-types.ts";
import { LIMITS } from "../../src/core/limits.ts";
import { sum } from "../../src/pipeline/aggregates.ts";
import type { PipelineDefinition } from "../../src/pipeline/definition.ts";
import { pipeline } from "../../src/pipeline/pipeline.ts";
import { session, tumbling } from "../../src/pipeline/windows.ts";
import type { Given } from "./harness.ts";
import { withoutWarnings } from "./property-runs.ts";
import { counted, type Inputs, StateRuns } from "./state-runs.ts";

withoutWarnings();

interface Item {
  readonly key: string;
  readonly value: number;
  readonly time: number;
}

const items = (count: number, make: (index: number) => Item) =>
  Array.from({ length: count }, (_, index): Given & { readonly value: Item; readonly ordinal: number } => ({
    value: make(index),
    ordinal: 10 * (index + 1),
  }));

const source = {
  key: (item: unknown) => (item as Item).key,
  eventTime: (item: unknown) => (item as Item).time,
};

/** Every ordinal that a record may have, and those beside it. */
const ordinals = (last: number) =>
  Array.from({ length: last / 10 + 1 }, (_, at) => [10 * at - 5, 10 * at - 1, 10 * at])
    .flat()
    .slice(2);

function entriesOf(state: StageState): unknown[] {
  return [...(state.entries as Iterable<unknown>)];
}

/** What came in up to an ordinal. */
function upTo(inputs: Inputs, ordinal: number): Inputs {
  return Object.fromEntries(
    Object.entries(inputs).map(([name, given]) => [
      name,
      given.filter((record) => (record.ordinal as number) <= ordinal),
    ]),
  );
}

/** What came in after `from` and up to `to`. */
function part(inputs: Inputs, from: number, to: number): Inputs {
  return Object.fromEntries(
    Object.entries(upTo(inputs, to)).map(([name, given]) => [
      name,
      given.filter((record) => (record.ordinal as number) > from),
    ]),
  );
}

/** Each record becomes several, of other keys: those of one ordinal meet in partitions at several places. */
function fannedOut(weight: number): PipelineDefinition {
  const p = pipeline("p", { partitions: 3 });
  p.source<undefined, string>("s", source)
    .flatMap("parts", (item) => {
      const { key, value } = item as Item;
      return Array.from({ length: value % 5 }, (_, index) => ({
        key: `${key}${index % 3}`,
        value: weight * value,
      }));
    })
    .keyBy("by", ({ key }) => key)
    .reduce("sums", {
      init: () => ({ sum: 0, count: 0 }),
      step: ({ sum, count }, { value }) => ({ sum: sum + value, count: count + 1 }),
      emit: (total, key) => ({ key, ...total }),
    })
    .sink("out");
  return p.definition;
}

/** The same by hand. `weight` of a record is that of the version it is for. */
function sumsByHand(given: readonly Given[], ordinal: number, weight: (ordinal: number) => number) {
  const totals = new Map<string, { sum: number; count: number }>();
  for (const { value: item, ordinal: at = 0 } of given) {
    if (at > ordinal) break;
    const { key, value } = item as Item;
    for (let index = 0; index < value % 5; index++) {
      const total = totals.get(`${key}${index % 3}`) ?? { sum: 0, count: 0 };
      totals.set(`${key}${index % 3}`, { sum: total.sum + weight(at) * value, count: total.count + 1 });
    }
  }
  return [...totals].sort(([a], [b]) => (a < b ? -1 : 1)).map(([key, total]) => ({ key, total }));
}

describe("the state of a reduce", () => {
  const given = items(30, (index) => ({ key: `k${index % 4}`, value: (7 * index) % 23, time: 0 }));
  const inputs = { s: given };

  test.each([1, 2, 7])(
    "at each ordinal is the sum by hand, also in the middle of batches of %i and of a fan-out, across versions",
    async (batchRecords) => {
      const runs = new StateRuns();
      const [first, second] = [fannedOut(1), fannedOut(100)];
      await runs.run(first, part(inputs, 0, 80), { batchRecords });
      await runs.run(first, part(inputs, 80, 150), { batchRecords });
      await runs.run(second, part(inputs, 150, 220), { batchRecords });
      await runs.run(second, part(inputs, 220, 300), { batchRecords });
      for (const ordinal of ordinals(300)) {
        const state = await runs.state("sums", { ordinal });
        expect(state).toMatchObject({ kind: "reduce", ordinal, asked: ordinal, complete: true });
        expect(state.version).toBe(ordinal <= 150 ? 1 : 2);
        const expected = sumsByHand(given, ordinal, (at) => (at <= 150 ? 1 : 100));
        expect(entriesOf(state), `as of ${ordinal}`).toMatchObject(expected);
        expect(entriesOf(state)).toHaveLength(expected.length);
        expect(state.keys).toBe(expected.length);
      }
      const end = await runs.state("sums");
      expect(end).toMatchObject({ complete: true, version: 2 });
      expect(entriesOf(end)).toEqual(entriesOf(await runs.state("sums", { ordinal: 300 })));
    },
  );

  test("is that sum, too, where runs were stopped, and snapshots left between records of one ordinal", async () => {
    let parted = 0;
    // Stops bring records to their end: snapshots between those of one ordinal are the ones that are due in between.
    const limits = LIMITS as { snapshotInputs: number };
    const { snapshotInputs } = limits;
    limits.snapshotInputs = 5;
    onTestFinished(() => {
      limits.snapshotInputs = snapshotInputs;
    });
    for (let stopAt = 20; stopAt < 90; stopAt += 15) {
      const runs = new StateRuns();
      const definition = fannedOut(1);
      for (let run = 1; run <= 3; run++)
        await runs.run(definition, inputs, { batchRecords: 1, stopAt: run * stopAt });
      await runs.run(definition, inputs, { batchRecords: 2 });
      parted += await runs.partedSnapshots();
      for (const ordinal of ordinals(300)) {
        const state = await runs.state("sums", { ordinal });
        expect(entriesOf(state), `stop ${stopAt}, as of ${ordinal}`).toMatchObject(
          sumsByHand(given, ordinal, () => 1),
        );
      }
    }
    expect(parted).toBeGreaterThan(0);
  });

  test("before a record that stopped a version is what that version made, whatever its successor makes of it", async () => {
    const stuck = (weight: number, mended: boolean) => {
      const p = pipeline("p", { partitions: 1 });
      p.source<undefined, string>("s", source)
        .map(
          "check",
          (item) => {
            if ((item as Item).value === 18 && !mended) throw new Error("18 is not expected");
            return item as Item;
          },
          { onError: "fail" },
        )
        .reduce("sums", { init: () => 0, step: (sum, item) => sum + weight * item.value, emit: (sum) => sum })
        .sink("out");
      return p.definition;
    };
    const runs = new StateRuns();
    await runs.run(stuck(1, true), part(inputs, 0, 40), { batchRecords: 4 });
    await expect(runs.run(stuck(10, false), inputs, { batchRecords: 1 })).rejects.toMatchObject({
      code: "StageFailed",
    });
    await runs.run(stuck(100, true), inputs, { batchRecords: 4 });
    const failed = given.find(({ value, ordinal }) => value.value === 18 && ordinal > 40)?.ordinal ?? 0;
    expect(failed).toBeGreaterThan(100);
    for (const ordinal of ordinals(failed - 10)) {
      let total = 0;
      for (const record of given) {
        if (record.ordinal > ordinal || record.value.key !== "k1") continue;
        total += record.value.value * (record.ordinal <= 40 ? 1 : 10);
      }
      const state = await runs.state("sums", { ordinal });
      const k1 = state.kind === "reduce" ? [...state.entries].find(({ key }) => key === "k1") : undefined;
      expect(k1?.total ?? 0, `as of ${ordinal}`).toBe(total);
    }
    // The successor goes on from those totals, and from no others.
    let total = 0;
    for (const { value, ordinal } of given) {
      if (value.key === "k1") total += value.value * (ordinal <= 40 ? 1 : ordinal < failed ? 10 : 100);
    }
    expect(entriesOf(await runs.state("sums"))).toContainEqual(expect.objectContaining({ key: "k1", total }));
  });

  test("is there as long as its stage was, and where the stage is another one later", async () => {
    const named = (name: string) => {
      const p = pipeline("p", { partitions: 2 });
      p.source<undefined, string>("s", source)
        .map("first", (item) => item as Item)
        .reduce(name, { init: () => 0, step: (sum, item) => sum + item.value, emit: (sum) => sum })
        .sink("out");
      return p.definition;
    };
    const runs = new StateRuns();
    await runs.run(named("old"), part(inputs, 0, 100), { batchRecords: 4 });
    await runs.run(named("new"), part(inputs, 100, 200), { batchRecords: 4 });
    const k1 = given.filter(({ value }) => value.key === "k1");
    const total = (records: typeof k1) => records.reduce((sum, { value }) => sum + value.value, 0);
    expect(entriesOf(await runs.state("old", { ordinal: 100 }))).toContainEqual(
      expect.objectContaining({ key: "k1", total: total(k1.filter(({ ordinal }) => ordinal <= 100)) }),
    );
    expect(entriesOf(await runs.state("new"))).toContainEqual(
      expect.objectContaining({
        key: "k1",
        total: total(k1.filter(({ ordinal }) => ordinal > 100 && ordinal <= 200)),
      }),
    );
    await expect(runs.state("old")).rejects.toMatchObject({
      code: "UnknownStage",
      hint: "Version 1 has it: ask for an ordinal from 0 to 100.",
    });
    await expect(runs.state("new", { ordinal: 100 })).rejects.toMatchObject({
      code: "UnknownStage",
      hint: "Version 2 has it: ask for an ordinal from 101 on.",
    });
    await expect(runs.state("first")).rejects.toMatchObject({
      code: "BadUsage",
      hint: "Those that keep state: new.",
    });
  });

  test("as of a point that the log has not come to is that of where it is, and says so", async () => {
    const runs = new StateRuns();
    await runs.run(fannedOut(1), inputs, { batchRecords: 4 });
    const state = await runs.state("sums", { ordinal: 10_000 });
    expect(state).toMatchObject({ complete: false, asked: 10_000 });
    expect(state.ordinal).toBeLessThan(10_000);
    expect(entriesOf(state)).toMatchObject(sumsByHand(given, 300, () => 1));
  });
});

describe("the open windows", () => {
  const SIZE = 4_000;
  const LATENESS = 3_000;
  // Times rise by a second, so that each record is a step of the watermark; every seventh comes late.
  const given = items(40, (index) => ({
    key: `k${index % 3}`,
    value: index,
    time: index % 7 === 6 ? 1_000 * (index - 5) : 1_000 * index,
  }));

  function windowed(): PipelineDefinition {
    const p = pipeline("p", { partitions: 2 });
    p.source<undefined, string>("s", source)
      .window("sums", tumbling(SIZE), {
        aggregate: sum((item) => (item as Item).value),
        emit: (total, { key, start }) => ({ key, start, total }),
        lateness: LATENESS,
      })
      .sink("out");
    return p.definition;
  }

  /** What is kept after the records up to `ordinal`, by sorting records into windows. */
  function windowsByHand(ordinal: number) {
    const kept = new Map<string, { start: number; total: number; records: number; changed: boolean }[]>();
    let watermark = Number.NEGATIVE_INFINITY;
    let highest = Number.NEGATIVE_INFINITY;
    for (const [index, { value: item, ordinal: at }] of given.entries()) {
      if (at > ordinal) break;
      highest = Math.max(highest, item.time);
      if (index > 0 && highest >= watermark + 1_000) watermark = highest;
      for (const [key, windows] of kept) {
        const open = windows.filter(({ start }) => start + SIZE + LATENESS > watermark);
        for (const window of open) if (window.start + SIZE <= watermark) window.changed = false;
        if (open.length === 0) kept.delete(key);
        else kept.set(key, open);
      }
      const start = Math.floor(item.time / SIZE) * SIZE;
      if (start + SIZE + LATENESS <= watermark) continue;
      const windows = kept.get(item.key) ?? [];
      kept.set(item.key, windows);
      const found = windows.find((window) => window.start === start);
      const window = found ?? { start, total: 0, records: 0, changed: true };
      if (found === undefined) windows.push(window);
      window.total += item.value;
      window.records++;
      window.changed = start + SIZE > watermark;
    }
    return [...kept]
      .sort(([a], [b]) => (a < b ? -1 : 1))
      .map(([key, windows]) => ({
        key,
        windows: windows
          .sort((a, b) => a.start - b.start)
          .map(({ start, ...window }) => ({
            start,
            end: start + SIZE,
            fired: start + SIZE <= watermark,
            ...window,
          })),
      }));
  }

  test("at each ordinal are those by hand: before, at and after firings, and with late records", async () => {
    const runs = new StateRuns();
    const definition = windowed();
    for (let from = 0; from < 400; from += 130) {
      await runs.run(definition, part({ s: given }, from, from + 130), { batchRecords: 3, keepOpen: true });
    }
    const fired = new Set<boolean>();
    for (const ordinal of ordinals(400)) {
      const expected = windowsByHand(ordinal);
      const state = await runs.state("sums", { ordinal });
      expect(entriesOf(state), `as of ${ordinal}`).toMatchObject(expected);
      expect(state.keys).toBe(expected.length);
      for (const { windows } of expected) for (const window of windows) fired.add(window.fired);
    }
    expect(fired).toEqual(new Set([true, false]));
  });

  test("have nothing more to say where the inputs have ended, but stay", async () => {
    const runs = new StateRuns();
    await runs.run(windowed(), { s: given }, { batchRecords: 8 });
    const before = await runs.state("sums", { ordinal: 400 });
    const after = await runs.state("sums");
    const flags = (state: StageState) =>
      state.kind === "window"
        ? [...state.entries].flatMap(({ windows }) => windows.map(({ changed }) => changed))
        : [];
    expect(after.ordinal).toBeGreaterThan(400);
    expect(flags(before)).toContain(true);
    expect(flags(after)).toHaveLength(flags(before).length);
    expect(flags(after)).not.toContain(true);
  });
});

/** Two sources, joined, in windows; and a table join. */
function met(): PipelineDefinition {
  const p = pipeline("p", { partitions: 2 });
  const a = p.source<undefined, string>("a", source);
  const b = p.source<undefined, string>("b", source);
  a.joinLeft(
    "pairs",
    b,
    (left, right) => ({ ...(left as Item), with: (right as Item | undefined)?.value ?? null }),
    {
      within: { before: 2_000, after: 3_000 },
    },
  )
    .keyBy("by", (pair) => `w${pair.with === null ? "" : pair.with % 2}`)
    .window("visits", session(3_000), {
      aggregate: sum((pair) => (pair as Item).value),
      emit: (total, { key, start }) => ({ key, start, total }),
    })
    .sink("visits");
  a.join("inner", b, (left, right) => ({ left, right }), { within: 2_000 }).sink("inner");
  a.joinTableLeft("priced", b, (left, right) => ({ left, right })).sink("priced");
  return p.definition;
}

describe("the state of joins and of what follows them", () => {
  const at = (random: number, index: number) => 1_000 * index + ((random * 7_919) % 4_000);
  const inputs = {
    a: items(26, (index) => ({ key: `k${index % 3}`, value: index, time: at(index, index) })),
    b: items(26, (index) => ({ key: `k${index % 2}`, value: index, time: at(index + 3, index) })).map(
      ({ ordinal, ...given }) => ({ ...given, ordinal: ordinal + 4 }),
    ),
  };

  test("at each ordinal is what a run over the records up to there has come to", async () => {
    const runs = new StateRuns();
    const definition = met();
    const settings = { batchRecords: 3, keepOpen: true };
    for (let from = 0; from < 280; from += 100) {
      await runs.run(definition, part(inputs, from, from + 100), settings);
    }
    const seen = new Set<string>();
    for (let ordinal = 4; ordinal <= 264; ordinal += 20) {
      for (const last of [ordinal, ordinal + 6]) {
        const only = new StateRuns();
        await only.run(definition, upTo(inputs, last), { ...settings, batchRecords: 64 });
        for (const stage of ["pairs", "inner", "priced", "visits"]) {
          const found = entriesOf(await runs.state(stage, { ordinal: last }));
          expect(found, `${stage} as of ${last}`).toEqual(
            entriesOf(await only.state(stage, { ordinal: last })),
          );
          if (found.length > 0) seen.add(stage);
        }
      }
    }
    expect(seen).toEqual(new Set(["pairs", "inner", "priced", "visits"]));
  });

  test("tells the buffered records of both sides with their times and whether they have met", async () => {
    const runs = new StateRuns();
    await runs.run(met(), inputs, { batchRecords: 5, keepOpen: true });
    const state = await runs.state("pairs", { ordinal: 264 });
    if (state.kind !== "join") throw new Error("it is a join");
    const left = [...state.entries].flatMap((entry) => entry.left);
    const right = [...state.entries].flatMap((entry) => entry.right);
    expect(left.length).toBeGreaterThan(0);
    expect(right.length).toBeGreaterThan(0);
    for (const { time, record, address, matched } of left) {
      expect(time).toBe((record as unknown as Item).time);
      expect(address).toMatch(/^steps_p\.pairs\.000[01]@\d+$/);
      expect(typeof matched).toBe("boolean");
    }
    for (const { matched } of right) expect(matched).toBeUndefined();
  });
});

describe("a point in event time", () => {
  // In order but for every fifth; one is a year ahead, which nobody believes.
  const times = [50, 10, 20, 30, 15, 40, 60, 31_536_000_000, 55, 70, 90, 80];
  const given = items(times.length, (index) => ({ key: "k", value: 1, time: times[index] as number }));

  function counting(): PipelineDefinition {
    const p = pipeline("p", { partitions: 2 });
    p.source<undefined, string>("s", { ...source, watermark: { maxAhead: "1h" } })
      .reduce("count", { init: () => 0, step: (n: number) => n + 1, emit: (n) => n })
      .sink("out");
    p.source("bare", { key: () => "k" })
      .reduce("bare-count", { init: () => 0, step: (n: number) => n + 1, emit: (n) => n })
      .sink("bare-out");
    return p.definition;
  }

  test.each([1, 2, 5, 64])(
    "is before the first record that is later, whatever the batches: %i",
    async (batchRecords) => {
      const runs = new StateRuns();
      await runs.run(counting(), { s: given }, { batchRecords });
      for (let eventTime = 5; eventTime <= 95; eventTime += 5) {
        const first = times.findIndex((time) => time > eventTime && time < 1_000);
        const count = first < 0 ? times.length : first;
        const state = await runs.state("count", { eventTime });
        expect(entriesOf(state), `at ${eventTime}`).toMatchObject(
          count === 0 ? [] : [{ key: "k", total: count }],
        );
        expect(state.complete).toBe(true);
      }
      await expect(runs.state("bare-count", { eventTime: 5 })).rejects.toMatchObject({ code: "BadUsage" });
    },
  );
});

test("what is read is in proportion to the inputs since the snapshot, not to the log", async () => {
  const p = pipeline("p", { partitions: 1 });
  p.source<undefined, string>("s", source)
    .reduce("sums", {
      init: () => 0,
      step: (total: number, item) => total + (item as Item).value,
      emit: (total) => total,
    })
    .sink("out");
  const records = 200_000;
  const runs = new StateRuns();
  const given = items(records, (index) => ({ key: `k${index % 100}`, value: index, time: index }));
  await runs.run(p.definition, { s: given }, { batchRecords: 256, provenance: "off" });
  const { lastRevision = 0 } = (await runs.log.streamInfo("steps_p.sums.0000")) ?? {};
  expect(lastRevision).toBeGreaterThan(700);
  for (const at of [
    { ordinal: 20_005 },
    { ordinal: 1_500_000 },
    { ordinal: 1_999_990 },
    { eventTime: 190_000 },
  ]) {
    const { log, events } = counted(runs.log);
    const state = await runs.state("sums", at, log);
    const upTo = "ordinal" in at ? Math.floor(at.ordinal / 10) : at.eventTime + 1;
    const key7 = Array.from({ length: Math.ceil((upTo - 7) / 100) }, (_, index) => 100 * index + 7);
    expect(entriesOf(state)).toContainEqual(
      expect.objectContaining({ key: "k7", total: key7.reduce((total, value) => total + value, 0) }),
    );
    // A snapshot comes at every 16,384 inputs, 64 batches: their events, their payloads, and what is sought.
    expect(events()).toBeLessThan(2 * 65 + 120);
  }
});
