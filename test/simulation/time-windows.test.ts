import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { type AskedWindow, type HistoryWindow, WindowSeek } from "../../src/app/history-window.ts";
import { isHeadwaterError } from "../../src/core/errors.ts";
import { LIMITS } from "../../src/core/limits.ts";
import { EventTime } from "../../src/engine/event-time.ts";
import type { PipelineDefinition } from "../../src/pipeline/definition.ts";
import { pipeline } from "../../src/pipeline/pipeline.ts";
import type { EventLog } from "../../src/ports/event-log.ts";
import { DeploymentHistory } from "../../src/runtime/deployment-history.ts";
import type { Given } from "./harness.ts";
import { assertMet, runs, timeLimit, withoutWarnings } from "./property-runs.ts";
import { counted, StateRuns } from "./state-runs.ts";

withoutWarnings();

const TIMEOUT_MS = timeLimit(120_000);
const AHEAD_MS = 1_000;
const SOURCES = ["a", "b"] as const;

interface Timed {
  readonly source: (typeof SOURCES)[number];
  readonly ordinal: number;
  readonly time: number;
}

const never = new AbortController().signal;

function definitionOf(bounds: readonly number[]): PipelineDefinition {
  const p = pipeline("p", { partitions: 2 });
  for (const [at, name] of SOURCES.entries()) {
    p.source<undefined, string>(name, {
      key: () => "k",
      eventTime: (item: unknown) => (item as { time: number }).time,
      watermark: { outOfOrderness: bounds[at] as number, maxAhead: AHEAD_MS },
    }).sink(`out-${name}`);
  }
  return p.definition;
}

/** Records of two sources, as they come: in order but for some, now and then late by far, or for a while far ahead. */
const records = fc
  .array(
    fc.record({
      source: fc.constantFrom(...SOURCES),
      step: fc.nat({ max: 20 }),
      late: fc.oneof(
        { arbitrary: fc.constant(0), weight: 5 },
        { arbitrary: fc.nat({ max: 30 }), weight: 3 },
        { arbitrary: fc.nat({ max: 400 }), weight: 1 },
      ),
      ahead: fc.oneof(
        { arbitrary: fc.constant(0), weight: 40 },
        { arbitrary: fc.integer({ min: 1, max: 10 }), weight: 1 },
      ),
    }),
    { minLength: 1, maxLength: 80 },
  )
  .map((steps) => {
    const clocks = { a: 1_000, b: 1_000 };
    return steps
      .flatMap(({ source, step, late, ahead }) => {
        clocks[source] += step;
        if (ahead > 0) clocks[source] += 2 * AHEAD_MS;
        // Of these in a row eight are believed, fewer are not.
        const times = Array.from({ length: Math.max(ahead, 1) }, (_, at) => clocks[source] - late + at);
        if (ahead > 0 && ahead < 8) clocks[source] -= 2 * AHEAD_MS;
        return times.map((time) => ({ source, time }));
      })
      .map((record, at): Timed => ({ ...record, ordinal: 10 * (at + 1) }));
  });

/** Those whose times are believed, by then or by those that come next. */
function believed(all: readonly Timed[]): Timed[] {
  return SOURCES.flatMap((name) => {
    const own = all.filter(({ source }) => source === name);
    const policy = { outOfOrdernessMs: 0, idleAfterMs: undefined, aheadMs: AHEAD_MS };
    const time = new EventTime(policy, { maxTime: undefined, ahead: undefined, watermark: undefined });
    const not = new Set<Timed>();
    let row: Timed[] = [];
    for (const [at, record] of own.entries()) {
      const disbelief = time.accept(record.time, record.ordinal);
      if (disbelief === "before") not.add(own[at - 1] as Timed);
      if (disbelief === "this") {
        not.add(record);
        row.push(record);
        continue;
      }
      if (row.length === LIMITS.timeAheadRecords - 1 && record.time >= (row[0] as Timed).time) {
        for (const one of row) not.delete(one);
      }
      row = [];
    }
    return own.filter((record) => !not.has(record));
  });
}

/** Windows are found without code. */
async function historyIn(log: EventLog): Promise<DeploymentHistory> {
  const nothing = () => {
    throw new Error("nothing is loaded");
  };
  const history = await DeploymentHistory.read(log, { load: nothing } as never, "p");
  if (history === undefined) throw new Error("nothing was deployed");
  return history;
}

async function found(seek: Promise<HistoryWindow | undefined>): Promise<HistoryWindow | undefined> {
  try {
    return await seek;
  } catch (error) {
    if (isHeadwaterError(error, "BadUsage")) return undefined;
    throw error;
  }
}

describe("a window of event times", () => {
  test("has those of several that were believed together that are later than the least of them", async () => {
    // Eight in a row are: the highest time is that of the first of them until the next record comes.
    const times = [1_005, ...Array.from({ length: 9 }, (_, at) => 2_989 + at), 2_753, 3_033];
    const given = times.map((time, at) => ({ value: { time }, ordinal: 10 * (at + 1) }));
    for (const batchRecords of [1, 2, 3, 4, 20]) {
      const log = new StateRuns();
      await log.run(definitionOf([32, 9]), { a: given, b: [] }, { batchRecords });
      const history = await historyIn(log.log);
      for (let time = 2_989; time <= 2_997; time++) {
        const asked = { from: { eventTime: time }, to: { eventTime: 2_997 }, source: "a" };
        const seek = await WindowSeek.begin(log.log, history, asked);
        const window = await seek.whole(never);
        expect([time, window.from]).toEqual([time, 10 * (times.indexOf(time) + 1)]);
        expect(window.to).toBeGreaterThanOrEqual(10 * (times.indexOf(2_997) + 1));
      }
    }
  });

  test(
    "has every record whose time is in it, as a look at each of them finds, and begins and ends with such",
    async () => {
      let late = 0;
      await assertMet(
        fc.asyncProperty(
          records,
          fc.tuple(fc.nat({ max: 50 }), fc.nat({ max: 50 })),
          fc.integer({ min: 1, max: 9 }),
          fc.array(
            fc.record({
              from: fc.option(fc.tuple(fc.nat(), fc.boolean()), { nil: undefined }),
              length: fc.nat({ max: 60 }),
              at: fc.nat(),
              source: fc.option(fc.constantFrom(...SOURCES), { nil: undefined }),
            }),
            { minLength: 12, maxLength: 12 },
          ),
          async (all, bounds, batchRecords, questions) => {
            const definition = definitionOf(bounds);
            const log = new StateRuns();
            const given = (name: string): Given[] =>
              all
                .filter(({ source }) => source === name)
                .map(({ time, ordinal }) => ({ value: { time }, ordinal }) as Given);
            await log.run(definition, { a: given("a"), b: given("b") }, { batchRecords });
            const history = await historyIn(log.log);
            const counting = believed(all);
            for (const { from, length, at, source } of questions) {
              const { time, ordinal } = all[at % all.length] as Timed;
              const least = from === undefined ? undefined : from[1] ? time : ordinal;
              const asked: AskedWindow = {
                ...(least !== undefined && { from: from?.[1] ? { eventTime: least } : { ordinal: least } }),
                to: { eventTime: time + length },
                ...(source !== undefined && { source }),
              };
              const own = (one: Timed) => source === undefined || one.source === source;
              const within = counting.filter(
                (one) =>
                  own(one) &&
                  one.time <= time + length &&
                  (least === undefined || (from?.[1] ? one.time : one.ordinal) >= least),
              );
              const seek = await WindowSeek.begin(log.log, history, asked);
              const window = await found(seek.whole(never));
              const soon = await seek.soon();
              if (within.length === 0) {
                if (counting.length === all.length) expect(window).toBeUndefined();
                continue;
              }
              const first = Math.min(...within.map((one) => one.ordinal));
              const last = Math.max(...within.map((one) => one.ordinal));
              expect(window?.from).toBeLessThanOrEqual(first);
              expect(window?.to).toBeGreaterThanOrEqual(last);
              if (soon !== undefined) {
                expect(soon.from).toBeGreaterThanOrEqual(window?.from as number);
                expect(soon.to).toBeLessThanOrEqual(window?.to as number);
              }
              if (from?.[1] && counting.length === all.length) expect(window?.from).toBe(first);
              if (counting.length < all.length) continue;
              const ends = SOURCES.filter((name) => within.some((one) => one.source === name)).map((name) => {
                const passing = all.find((one) => one.source === name && one.time > time + length)?.ordinal;
                if (passing === undefined) return Number.POSITIVE_INFINITY;
                if (within.some((one) => one.source === name && one.ordinal > passing)) late++;
                return Math.max(last, passing - 1);
              });
              expect(window?.to).toBeLessThanOrEqual(Math.max(...ends));
            }
          },
        ),
        runs(60),
        () => ({ late: late > 10 }),
      );
    },
    TIMEOUT_MS,
  );

  test.each(["begins", "ends"] as const)(
    "that %s where many in a row were ahead until they were believed has all of them",
    async (which) => {
      const times = [10, 20, ...Array.from({ length: 8 }, (_, at) => 90_000 + (at % 3)), 30];
      const all = times.map((time, at) => ({ value: { time }, ordinal: 10 * (at + 1) }) as Given);
      for (const batchRecords of [1, 3, 64]) {
        const log = new StateRuns();
        await log.run(definitionOf([0, 0]), { a: all }, { batchRecords });
        const history = await historyIn(log.log);
        const asked =
          which === "begins"
            ? { from: { eventTime: 50_000 } }
            : { from: { eventTime: 50_000 }, to: { eventTime: 90_001 } };
        const seek = await WindowSeek.begin(log.log, history, asked);
        expect(await seek.whole(never)).toMatchObject({ from: 30 });
        expect((await seek.whole(never)).to).toBeGreaterThanOrEqual(90);
      }
    },
  );

  test("is found at first by few reads, whatever comes after it, and as a whole by reading on", async () => {
    const definition = definitionOf([0, 0]);
    const log = new StateRuns();
    const all = Array.from({ length: 2_000 }, (_, at) => {
      return { value: { time: at === 1_900 ? 500 : at }, ordinal: 10 * (at + 1) } as Given;
    });
    await log.run(definition, { a: all }, { batchRecords: 1 });
    const history = await historyIn(log.log);
    const { log: counting, events } = counted(log.log);
    const asked = { from: { eventTime: 450 }, to: { eventTime: 550 } };
    const seek = await WindowSeek.begin(counting, history, asked);
    expect(await seek.soon()).toEqual({ from: 4_510, to: 5_519 });
    expect(events()).toBeLessThan(150);
    expect(await seek.whole(never)).toEqual({ from: 4_510, to: 19_010 });
    await expect(seek.whole(AbortSignal.abort())).rejects.toMatchObject({ code: "Stopped" });
  });
});
