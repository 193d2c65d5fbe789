import { describe, expect, it } from "vitest";
import { decodeCanonical, encodeCanonical } from "../core/canonical.ts";
import { count, reducer } from "../pipeline/aggregates.ts";
import type { StageContext } from "../pipeline/context.ts";
import type { JoinDefinition, TimedDefinition } from "../pipeline/definition.ts";
import { pipeline } from "../pipeline/pipeline.ts";
import {
  globalWindow,
  session,
  sliding,
  tumbling,
  type WindowInfo,
  type Windows,
} from "../pipeline/windows.ts";
import { JoinOperator } from "./join-operator.ts";
import { TableJoinOperator } from "./table-join-operator.ts";
import type { TimedInput, TimedOperator } from "./timed-operator.ts";
import { TimedOutput } from "./timed-output.ts";
import { WindowOperator } from "./window-operator.ts";

interface Item {
  readonly key: string;
  readonly time: number;
}

const decode = (bytes: Uint8Array, start: number, end: number) => decodeCanonical(bytes.subarray(start, end));
const ctx = {} as StageContext;

/** Drives an operator as the merging of inputs does. */
class Driver {
  readonly operator: TimedOperator;
  readonly output = new TimedOutput();
  #n = 0;

  constructor(operator: TimedOperator) {
    this.operator = operator;
  }

  take(record: Item, side = 0): void {
    const bytes = encodeCanonical(record);
    const { key, time } = record;
    const input: TimedInput = { record, bytes, key, time, n: this.#n++, side, place: String(this.#n), ctx };
    this.operator.take(input, this.output);
  }

  /** Answers how many firings there were. */
  advance(time: number, status: "active" | "ended" = "active"): number {
    this.operator.advance({ status, time });
    let firings = 0;
    while (this.operator.fire(this.output) !== undefined) firings++;
    this.#n += firings;
    return firings;
  }
}

function stageOf(kind: TimedDefinition["kind"], define: (p: ReturnType<typeof source>) => unknown) {
  const p = pipeline("p");
  define(source(p));
  return p.definition.stages.find((stage) => stage.kind === kind) as TimedDefinition;
}

function source(p: ReturnType<typeof pipeline>) {
  return p.source<undefined, string>("s", {
    key: (record) => (record as Item).key,
    eventTime: (record) => (record as Item).time,
  });
}

function windowOf(windows: Windows, more: object = {}): WindowOperator {
  const stage = stageOf("window", (s) =>
    s.window("w", windows, { aggregate: count(), emit: (n) => ({ n }), ...more }),
  );
  return new WindowOperator(stage as Extract<TimedDefinition, { kind: "window" }>);
}

describe("a window", () => {
  it.each([
    ["tumbling", tumbling(100)],
    ["sliding", sliding(100, 25)],
    ["session", session(100)],
  ] as const)("of kind %s lets go of what is closed, and keeps what may still be added to", (_, windows) => {
    for (const lateness of [0, 300]) {
      const driver = new Driver(windowOf(windows, { lateness }));
      let largest = 0;
      for (let time = 0; time < 20_000; time += 10) {
        driver.take({ key: `k${time % 70}`, time });
        driver.advance(time - 50);
        largest = Math.max(largest, driver.operator.size);
      }
      // Seven keys, and no more time than the size, the lateness and the lag of the watermark.
      expect(largest).toBeLessThan(7 * 25);
      driver.advance(30_000);
      expect(driver.operator.size).toBe(0);
      expect(driver.output.failures).toEqual([]);
    }
  });

  it("gives the same from a snapshot in the middle, also in the middle of what is due at once", () => {
    const records = Array.from({ length: 300 }, (_, at) => ({ key: `k${at % 11}`, time: (at * 37) % 900 }));
    const windows = sliding(200, 50);
    const begin = () => new Driver(windowOf(windows, { early: { every: 60 }, lateness: 100 }));
    /** What comes out when the operator is made anew, from a snapshot, after so many firings. */
    const results = (cutAfter: number) => {
      let driver = begin();
      let fired = 0;
      const seen: unknown[] = [];
      for (const [at, record] of records.entries()) {
        driver.take(record);
        const watermark = { status: "active" as const, time: at * 3 - 200 };
        driver.operator.advance(watermark);
        while (driver.operator.fire(driver.output) !== undefined) {
          if (++fired !== cutAfter) continue;
          seen.push(...driver.output.records);
          const snapshot = decodeCanonical(encodeCanonical(driver.operator.snapshot("w"), 1e9), 1e9);
          driver = begin();
          // The step that is being worked off is not yet said to be.
          driver.operator.restore(snapshot as never, { status: "active", time: watermark.time - 3 });
          driver.operator.advance(watermark);
        }
      }
      driver.advance(5_000);
      return { fired, seen: [...seen, ...driver.output.records] };
    };
    const whole = results(0);
    expect(whole.fired).toBeGreaterThan(100);
    for (let cut = 1; cut <= whole.fired; cut += 7)
      expect(results(cut).seen, `cut ${cut}`).toEqual(whole.seen);
  });

  it("is closed exactly when its end and the allowed lateness have passed", () => {
    const emit = (n: number, { start, end, firing }: WindowInfo<string>) => [start, end, n, firing];
    for (const windows of [tumbling(100), session(100)]) {
      const driver = new Driver(windowOf(windows, { lateness: 50, emit }));
      driver.take({ key: "k", time: 0 });
      driver.advance(99);
      expect(driver.output.records).toEqual([]);
      driver.advance(100);
      driver.advance(149);
      driver.take({ key: "k", time: 0 });
      driver.advance(150);
      driver.take({ key: "k", time: 0 });
      expect(driver.output.records).toEqual([
        [0, 100, 1, "on-time"],
        [0, 100, 2, "late"],
      ]);
      expect(driver.output.late.length).toBe(1);
      expect(driver.operator.size).toBe(0);
    }
  });

  it("of a session holds what is less than the gap apart, and no more", () => {
    const emit = (n: number, { start, end }: WindowInfo<string>) => [start, end, n];
    const driver = new Driver(windowOf(session(100), { emit }));
    for (const time of [0, 100, 399, 300]) driver.take({ key: "k", time });
    driver.advance(1_000);
    expect(driver.output.records).toEqual([
      [0, 100, 1],
      [100, 200, 1],
      [300, 499, 2],
    ]);
  });

  it("fires at its end, where an early firing would come after it", () => {
    const emit = (n: number, { firing }: WindowInfo<string>) => [n, firing];
    const driver = new Driver(windowOf(tumbling(100), { early: { every: 60 }, emit }));
    driver.take({ key: "k", time: 70 });
    driver.advance(70);
    driver.take({ key: "k", time: 80 });
    driver.advance(100);
    expect(driver.output.records).toEqual([
      [1, "early"],
      [2, "on-time"],
    ]);
  });

  it("without end has none after a snapshot either, and goes on counting", () => {
    const emit = (n: number, { start, end }: WindowInfo<string>) => [start, end, n];
    const windows = globalWindow({ every: 3 });
    const before = new Driver(windowOf(windows, { emit }));
    for (const time of [5, 6]) before.take({ key: "k", time });
    const driver = new Driver(windowOf(windows, { emit }));
    driver.operator.restore(before.operator.snapshot("w"), undefined);
    driver.advance(1_000);
    expect(driver.output.records).toEqual([]);
    driver.take({ key: "k", time: 7 });
    expect(driver.output.records).toEqual([[Number.NEGATIVE_INFINITY, Number.POSITIVE_INFINITY, 3]]);
  });

  it("refuses a record without event time, and one that makes a total that cannot be kept", () => {
    const aggregate = reducer<Item, unknown>({
      init: () => null,
      step: (_, { key }) => (key === "bad" ? new Date(0) : key),
      merge: (one) => one,
    });
    const driver = new Driver(windowOf(tumbling(100), { aggregate, emit: () => "fired" }));
    driver.take({ key: "good", time: 5 });
    driver.take({ key: "bad", time: 5 });
    driver.take({ key: "good", time: undefined as never });
    driver.advance(100);
    expect(driver.output.failures.map(({ row }) => row)).toEqual([1, 2]);
    expect(driver.output.late).toEqual([]);
    expect(driver.output.records).toEqual(["fired"]);
  });

  it("of another size, left by the deployment before, ends with what it has, and takes nothing more", () => {
    const emit = (n: number, { start, end }: WindowInfo<string>) => ({ start, end, n });
    const before = new Driver(windowOf(tumbling(100), { emit }));
    for (const time of [5, 55, 75]) before.take({ key: "k", time });
    for (const [size, ends] of [
      [50, [50, 100]],
      [200, [200]],
    ] as const) {
      const driver = new Driver(windowOf(tumbling(size), { emit }));
      driver.operator.restore(before.operator.snapshot("w"), undefined);
      for (const time of [10, 60]) driver.take({ key: "k", time });
      driver.advance(1_000);
      const added = ends.map((end) => ({ start: end - size, end, n: 2 / ends.length }));
      expect(driver.output.records).toHaveLength(1 + added.length);
      expect(driver.output.records).toEqual(expect.arrayContaining([{ start: 0, end: 100, n: 3 }, ...added]));
      expect(driver.operator.size).toBe(0);
    }
  });

  it("whose aggregate fails takes nothing of the record, and goes on", () => {
    const aggregate = reducer({
      init: () => 0,
      step: (sum: number, item: Item) => {
        if (item.time === 7) throw new Error("seven");
        return sum + item.time;
      },
      merge: (a, b) => a + b,
    });
    const driver = new Driver(windowOf(sliding(10, 5), { aggregate, emit: (sum: number) => ({ sum }) }));
    for (const time of [6, 7, 8]) driver.take({ key: "k", time });
    expect(driver.output.failures).toMatchObject([{ row: 1 }]);
    driver.advance(100);
    expect(driver.output.records).toEqual([{ sum: 14 }, { sum: 14 }]);
  });
});

describe("a join", () => {
  const joinOf = (type: "join" | "joinLeft", options: object) => {
    const stage = stageOf("join", (s) =>
      s[type]("j", s, (left, right) => ({ left, right: right ?? null }), options as never),
    );
    return new JoinOperator(stage as JoinDefinition, decode);
  };

  it.each(["join", "joinLeft"] as const)("(%s) lets go of what can meet nobody any more", (type) => {
    const driver = new Driver(joinOf(type, { within: 40, lateness: 20 }));
    let largest = 0;
    for (let time = 0; time < 20_000; time += 10) {
      driver.take({ key: `k${time % 70}`, time }, (time / 10) % 2);
      driver.advance(time - 50);
      largest = Math.max(largest, driver.operator.size);
    }
    expect(largest).toBeLessThan(60);
    driver.advance(40_000);
    expect(driver.operator.size).toBe(0);
  });

  it("takes a record until the watermark is past it and the lateness, and meets the others as they came", () => {
    const driver = new Driver(joinOf("join", { within: 40, lateness: 20 }));
    for (const time of [110, 90, 140, 141]) driver.take({ key: "k", time }, 1);
    driver.advance(120);
    driver.take({ key: "k", time: 100 }, 0);
    driver.take({ key: "k", time: 99 }, 0);
    const met = driver.output.records as { left: Item; right: Item }[];
    expect(met.map(({ left, right }) => [left.time, right.time])).toEqual([
      [100, 110],
      [100, 90],
      [100, 140],
    ]);
    expect(driver.output.late.length).toBe(1);
  });

  it("with a table keeps of each key what may still be asked for", () => {
    const stage = stageOf("tableJoin", (s) => s.joinTable("t", s, (left, right) => ({ left, right })));
    const driver = new Driver(
      new TableJoinOperator(stage as Extract<TimedDefinition, { kind: "tableJoin" }>, decode),
    );
    for (let time = 0; time < 20_000; time += 10) {
      driver.take({ key: `k${time % 30}`, time }, 1);
      driver.take({ key: `k${time % 30}`, time: time + 5 }, 0);
      driver.advance(time);
    }
    expect(driver.operator.size).toBeLessThan(12);
    driver.advance(0, "ended");
    expect(driver.output.records.length).toBe(2_000);
  });

  it("with a table keeps what a record may still ask for that is late, but not too late", () => {
    const stage = stageOf("tableJoin", (s) =>
      s.joinTable("t", s, (left, right) => [left, right], { lateness: 100 }),
    );
    const driver = new Driver(
      new TableJoinOperator(stage as Extract<TimedDefinition, { kind: "tableJoin" }>, decode),
    );
    for (const time of [10, 50]) driver.take({ key: "k", time }, 1);
    driver.advance(60);
    driver.take({ key: "k", time: 70 }, 1);
    driver.take({ key: "k", time: 20 }, 0);
    expect(driver.output.records).toEqual([
      [
        { key: "k", time: 20 },
        { key: "k", time: 10 },
      ],
    ]);
  });
});
