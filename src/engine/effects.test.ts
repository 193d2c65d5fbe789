import { describe, expect, test } from "vitest";
import { Arena } from "../core/arena.ts";
import { decodeCanonical, encodeCanonical } from "../core/canonical.ts";
import { HeadwaterError } from "../core/errors.ts";
import { LIMITS } from "../core/limits.ts";
import type { EffectContext } from "../pipeline/context.ts";
import type { WaitingOptions } from "../pipeline/definition.ts";
import { type Pipeline, pipeline } from "../pipeline/pipeline.ts";
import { planPipeline, type Segment } from "../pipeline/plan.ts";
import type { EffectOutcome, EffectRequest, Outside } from "./outside.ts";
import type { InputRows } from "./rows.ts";
import { SegmentEngine } from "./segment-engine.ts";
import type { Packed, StageRows } from "./stage-output.ts";

interface Item {
  readonly v: number;
}

function engineOf(p: Pipeline): SegmentEngine {
  const [segment] = planPipeline(p.definition).segments as [Segment];
  return new SegmentEngine({
    pipeline: "p",
    segment,
    origins: { names: ["in"], firing: 0 },
    partitions: 1,
    arena: new Arena(),
    decode: (bytes, start, end) => decodeCanonical(bytes.subarray(start, end)),
    provenance: "full",
  });
}

function inputs(values: readonly unknown[]): InputRows {
  const buffers = values.map((value) => encodeCanonical(value));
  return {
    count: values.length,
    records: [...values],
    buffers,
    starts: values.map(() => 0),
    ends: buffers.map((bytes) => bytes.length),
    ordinals: values.map((_, row) => row + 1),
    sources: undefined,
    roots: values.map((_, row) => row),
    paths: undefined,
    times: undefined,
    upstreams: undefined,
    parents: values.map((_, row) => row),
    parentKs: undefined,
    keys: values.map(() => "k"),
    firings: [],
  };
}

const items = (count: number): Item[] => Array.from({ length: count }, (_, v) => ({ v }));

/** An outside that calls at once, remembers what it was asked for, and how long it was to wait. */
class FakeOutside implements Outside {
  readonly stop = new AbortController();
  readonly signal = this.stop.signal;
  readonly asked: EffectRequest[] = [];
  readonly waits: number[] = [];

  async effect(request: EffectRequest): Promise<EffectOutcome> {
    this.asked.push(request);
    const { key, fn } = request;
    try {
      const value = await fn({ key, signal: this.signal, attempt: request.callsBefore + 1 });
      if (value === undefined) return { kind: "nothing", bytes: new Uint8Array(0), calls: 1, served: false };
      return { kind: "value", bytes: encodeCanonical(value), calls: 1, served: false };
    } catch (error) {
      const bytes = encodeCanonical({ message: (error as Error).message, code: "E" });
      return { kind: "failed", bytes, calls: 1, served: false };
    }
  }

  async wait(ms: number): Promise<void> {
    this.waits.push(ms);
    await null;
  }
}

type MapFunction = (item: Item, ctx: EffectContext) => unknown;

async function runMap(
  values: readonly Item[],
  fn: MapFunction,
  options: WaitingOptions = {},
  outside = new FakeOutside(),
) {
  const p = pipeline("p", { partitions: 1 });
  p.source<undefined>("in")
    .map("m", (record, ctx) => fn(record as Item, ctx), options)
    .sink("out");
  const { stages } = await engineOf(p).process(inputs(values), 100, outside);
  const { packed, failures } = stages[0] as StageRows;
  const { bytes, lengths } = packed as Packed;
  let end = 0;
  const records = lengths.map((length) => {
    end += length;
    return decodeCanonical(bytes.subarray(end - length, end));
  });
  const failed = failures.map(({ row, error, attempts }) => ({
    row,
    message: error instanceof Error ? error.message : error,
    code: error instanceof HeadwaterError ? error.code : undefined,
    attempts,
  }));
  return { records, failed, outside };
}

describe("a stage that is tried again", () => {
  const RETRY = { onError: { retry: { times: 3, backoff: 100, factor: 2, most: 150 } } } as const;

  test.each([
    ["at once", (item: { v: number }) => item],
    ["later", async (item: { v: number }) => item],
  ])("is given the record as it came each time, whatever a try before made of it: %s", async (_, answer) => {
    let calls = 0;
    const { records, failed } = await runMap(
      items(3),
      (item) => {
        const changed = item as { v: number };
        changed.v += 10;
        calls++;
        if (calls <= 5) throw new Error("not yet");
        return answer(changed);
      },
      RETRY,
    );
    expect(failed).toEqual([]);
    expect(records).toEqual([{ v: 10 }, { v: 11 }, { v: 12 }]);
  });

  test("is given what the stage before answered, as it was", async () => {
    const p = pipeline("p", { partitions: 1 });
    const left = new Map<number, number>([[1, 2]]);
    p.source<undefined>("in")
      .map("a", (record) => ({ list: [(record as unknown as Item).v] }))
      .filter("b", () => true)
      .map(
        "c",
        ({ list }) => {
          const [v = 0] = list;
          list.push(v);
          const fails = left.get(v) ?? 0;
          left.set(v, fails - 1);
          if (fails > 0) throw new Error("not yet");
          return { list };
        },
        RETRY,
      )
      .sink("out");
    const { stages } = await engineOf(p).process(inputs(items(3)), 100, new FakeOutside());
    const { packed, failures } = stages[2] as StageRows;
    const { bytes, lengths } = packed as Packed;
    let end = 0;
    const records = lengths.map((length) => {
      end += length;
      return decodeCanonical(bytes.subarray(end - length, end));
    });
    expect(failures).toEqual([]);
    expect(records).toEqual([{ list: [0, 0] }, { list: [1, 1] }, { list: [2, 2] }]);
  });

  test("calls its function again for the record alone, after waits, and order stays", async () => {
    const calls: number[] = [];
    const left = new Map([
      [1, 2],
      [3, 1],
    ]);
    const { records, failed, outside } = await runMap(
      items(6),
      ({ v }) => {
        calls.push(v);
        const fails = left.get(v) ?? 0;
        left.set(v, fails - 1);
        if (fails > 0) throw new Error("not yet");
        return { v };
      },
      RETRY,
    );
    expect(records).toEqual(items(6));
    expect(failed).toEqual([]);
    // The others are not held up.
    expect(calls).toEqual([0, 1, 2, 3, 4, 5, ...calls.slice(6)]);
    expect(calls.slice(6).sort()).toEqual([1, 1, 3]);
    expect(outside.waits).toHaveLength(3);
    for (const [at, whole] of [100, 100, 150].entries()) {
      expect(outside.waits.toSorted((a, b) => a - b)[at]).toBeLessThanOrEqual(whole);
      expect(outside.waits[at]).toBeGreaterThanOrEqual(50);
    }
  });

  test("fails after the last try with the last error, and tells how often it was called", async () => {
    let calls = 0;
    const { records, failed, outside } = await runMap(
      items(2),
      async ({ v }) => {
        if (v === 0) return { v };
        throw new Error(`try ${++calls}`);
      },
      RETRY,
    );
    expect(records).toEqual(items(1));
    expect(failed).toEqual([{ row: 1, message: "try 4", code: undefined, attempts: 4 }]);
    expect(outside.waits).toHaveLength(3);
  });

  test("waits the same in every run, and not the same for all records", async () => {
    const fails = () => {
      throw new Error("no");
    };
    const { outside: one } = await runMap(items(4), fails, RETRY);
    const { outside: other } = await runMap(items(4), fails, RETRY);
    expect(other.waits).toEqual(one.waits);
    expect(new Set(one.waits.slice(0, 4)).size).toBeGreaterThan(1);
  });

  test("takes an object that a function uses again as it was", async () => {
    const reused = { v: 0, parts: [0] };
    let failed = false;
    const { records } = await runMap(
      items(5),
      ({ v }) => {
        if (v === 1 && !failed) {
          failed = true;
          throw new Error("once");
        }
        reused.v = v;
        reused.parts[0] = v;
        return reused;
      },
      RETRY,
    );
    expect(records).toEqual(items(5).map(({ v }) => ({ v, parts: [v] })));
  });

  test("does not try again what would come to the same", async () => {
    let calls = 0;
    const { failed } = await runMap(
      items(1),
      () => {
        calls++;
        return { at: new Date(0) };
      },
      RETRY,
    );
    expect(failed).toMatchObject([{ row: 0, code: "NotCanonical" }]);
    expect(calls).toBe(1);
  });
});

describe("an effect", () => {
  test("gives a copy of its result, by a key of the record's own", async () => {
    const result = { price: 1 };
    const { records, outside } = await runMap(items(3), async ({ v }, ctx) => {
      const got = await ctx.effect("price", async () => result);
      expect(got).toEqual(result);
      expect(got).not.toBe(result);
      return { v, ...got, nothing: (await ctx.effect("nothing", () => undefined)) ?? null };
    });
    expect(records).toEqual(items(3).map(({ v }) => ({ v, price: 1, nothing: null })));
    expect(outside.asked.map(({ n, k, stage, name }) => ({ n, k, stage, name }))).toEqual(
      ["price", "nothing"].flatMap((name) => [100, 101, 102].map((n) => ({ n, k: 0, stage: "m", name }))),
    );
    expect(new Set(outside.asked.map(({ key }) => key)).size).toBe(6);
    const again = await runMap(items(3), (_, ctx) => ctx.effect("price", () => 1));
    expect(again.outside.asked.map(({ key }) => key)).toEqual(
      outside.asked.slice(0, 3).map(({ key }) => key),
    );
  });

  test("that fails can be caught, with the same error in every run", async () => {
    const { records } = await runMap(items(1), async (_, ctx) => {
      try {
        return await ctx.effect("down", () => {
          throw new Error("refused");
        });
      } catch (error) {
        const { code, message, where, cause } = error as HeadwaterError;
        return { code, message, where, cause };
      }
    });
    const message = "the effect down failed: refused";
    expect(records).toEqual([{ code: "EffectFailed", message, where: "effect down", cause: { code: "E" } }]);
  });

  test("is not called again for its value when the stage is tried again; what failed is", async () => {
    const calls: string[] = [];
    const { records, outside } = await runMap(
      items(1),
      async (_, ctx) => {
        const a = await ctx.effect("a", ({ attempt }) => calls.push(`a${attempt}`));
        const b = await ctx.effect("b", ({ attempt }) => {
          calls.push(`b${attempt}`);
          if (attempt < 3) throw new Error("not yet");
          return attempt;
        });
        return { a, b };
      },
      { onError: { retry: { times: 5 } } },
    );
    expect(records).toEqual([{ a: 1, b: 3 }]);
    expect(calls).toEqual(["a1", "b1", "b2", "b3"]);
    expect(outside.asked.map(({ name, turn }) => `${name}${turn}`)).toEqual(["a0", "b0", "b1", "b2"]);
  });

  test("belongs to the record, also when its function does not wait for it", async () => {
    let release = () => {};
    const held = new Promise<void>((resolve) => {
      release = resolve;
    });
    let done = false;
    const running = runMap(items(2), ({ v }, ctx) => {
      if (v === 0) void ctx.effect("kept", () => held.then(() => 1));
      return { v };
    }).then((result) => {
      done = true;
      return result;
    });
    await new Promise((resolve) => setImmediate(resolve));
    expect(done).toBe(false);
    release();
    expect((await running).records).toEqual(items(2));
  });

  test.each<readonly [string, MapFunction, RegExp]>([
    ["without a name", (_, ctx) => ctx.effect("", () => 1), /an effect has no name/],
    ["with no text for a name", (_, ctx) => ctx.effect(7 as never, () => 1), /an effect has no name/],
    ["with a long name", (_, ctx) => ctx.effect("x".repeat(129), () => 1), /at most 128 characters/],
    ["without a function", (_, ctx) => ctx.effect("e", 1 as never), /the effect e has no function/],
    [
      "with an unknown option",
      (_, ctx) => ctx.effect("e", () => 1, { time: 1 } as never),
      /no option "time"/,
    ],
    [
      "that may take no time",
      (_, ctx) => ctx.effect("e", () => 1, { timeout: 0 }),
      /timeout is not a duration/,
    ],
    [
      "that is never under way",
      (_, ctx) => ctx.effect("e", () => 1, { concurrency: 0 }),
      /concurrency .* from 1 to 1024, not 0/,
    ],
    [
      "used twice",
      async (_, ctx) => [await ctx.effect("e", () => 1), await ctx.effect("e", () => 1)],
      /the effect e is used twice by one record/,
    ],
    [
      "used twice, though its function goes on",
      (_, ctx) => Promise.allSettled([ctx.effect("e", () => 1), ctx.effect("e", () => 1)]).then(() => 1),
      /the effect e is used twice by one record/,
    ],
  ])("%s fails the record", async (_what, fn, message) => {
    const { records, failed } = await runMap(items(1), fn, { onError: { retry: { times: 2 } } });
    expect(records).toEqual([]);
    expect(failed).toMatchObject([{ code: "BadEffect", attempts: 1 }]);
    expect(failed[0]?.message).toMatch(message);
  });

  test.each([
    ["asynchronous", true],
    ["synchronous", false],
  ])("cannot begin when an %s function has answered", async (_what, asynchronous) => {
    let leaked: EffectContext | undefined;
    const { records, outside } = await runMap(items(1), (item, ctx) => {
      leaked = ctx;
      return asynchronous ? Promise.resolve(item) : item;
    });
    expect(records).toEqual(items(1));
    await expect(leaked?.effect("late", () => 1)).rejects.toThrow(
      /the effect late was called after the function had answered/,
    );
    expect(outside.asked).toEqual([]);
  });

  test("does not end the process when it is begun too late, and nobody waits for it", async () => {
    let leaked: EffectContext | undefined;
    await runMap(items(1), (item, ctx) => {
      leaked = ctx;
      return item;
    });
    const unhandled: unknown[] = [];
    const listen = (reason: unknown) => unhandled.push(reason);
    process.on("unhandledRejection", listen);
    try {
      void leaked?.effect("late", () => 1);
      // Rejections are told of when the microtasks of a turn are done.
      await new Promise((resolve) => setImmediate(resolve));
      expect(unhandled).toEqual([]);
    } finally {
      process.off("unhandledRejection", listen);
    }
  });

  test("is named where a stage cannot wait for it", async () => {
    const p = pipeline("p", { partitions: 1 });
    const source = p.source<undefined, string>("in", { key: () => "k" });
    source.split("parts", { a: (_, ctx) => (ctx as EffectContext).effect("e", () => true) as never });
    source
      .reduce("sum", {
        init: () => 0,
        step: (total: number, _, ctx) => total + Number((ctx as EffectContext).effect("e", () => 1)),
        emit: (total) => total,
      })
      .sink("out");
    for (const segment of planPipeline(p.definition).segments) {
      const engine = new SegmentEngine({
        pipeline: "p",
        segment,
        origins: { names: ["in"], firing: 0 },
        partitions: 1,
        arena: new Arena(),
        decode: (bytes, start, end) => decodeCanonical(bytes.subarray(start, end)),
        provenance: "full",
      });
      const { stages } = await engine.process(inputs(items(1)), 0);
      expect(String(stages[0]?.failures[0]?.error)).toMatch(/a (split|reduce) cannot wait for an effect/);
    }
  });

  test("that cannot be had at all stops the batch, whatever the function makes of it", async () => {
    const outside = new FakeOutside();
    outside.effect = () => Promise.reject(new HeadwaterError("EffectMissing", "not there"));
    const running = runMap(items(3), (item, ctx) => ctx.effect("e", () => 1).catch(() => item), {}, outside);
    await expect(running).rejects.toMatchObject({ code: "EffectMissing" });
  });

  test("does not hold up whoever lets go of the batch, and neither does a function that hangs", async () => {
    const outside = new FakeOutside();
    const running = runMap(items(3), () => new Promise(() => {}), {}, outside);
    outside.stop.abort(new HeadwaterError("Stopped", "let go of"));
    await expect(running).rejects.toMatchObject({ code: "Stopped" });
  });

  test("of no more than so many records of a batch is waited for at a time", async () => {
    const outside = new FakeOutside();
    let waiting = 0;
    let most = 0;
    const { records } = await runMap(
      items(LIMITS.waitingRecords * 2 + 5),
      async (item) => {
        most = Math.max(most, ++waiting);
        await new Promise((resolve) => setImmediate(resolve));
        waiting--;
        return item;
      },
      {},
      outside,
    );
    expect(records).toHaveLength(LIMITS.waitingRecords * 2 + 5);
    expect(most).toBe(LIMITS.waitingRecords);
  });
});

describe("a promise where none may be", () => {
  const rejected = () => Promise.reject(new Error("nobody waits for this")) as never;
  const sums = { init: () => 0, step: (n: number) => n, emit: (n: number) => n };

  test.each<readonly [string, (p: Pipeline) => unknown]>([
    ["a reduce's init", (p) => keyed(p).reduce("s", { ...sums, init: rejected })],
    ["a reduce's step", (p) => keyed(p).reduce("s", { ...sums, step: rejected })],
    ["a reduce's emit", (p) => keyed(p).reduce("s", { ...sums, emit: rejected })],
    ["a predicate", (p) => keyed(p).split("s", { a: rejected })],
    ["a key function", (p) => keyed(p).keyBy("s", rejected)],
  ])("%s is named, and ends nothing", async (who, define) => {
    const p = pipeline("p", { partitions: 1 });
    define(p);
    const { stages } = await engineOf(p).process(inputs(items(1)), 0);
    expect(String(stages[0]?.failures[0]?.error)).toContain(
      `${who} answered a promise; it has to answer at once`,
    );
  });

  function keyed(p: Pipeline) {
    return p.source<undefined, string>("in", { key: () => "k" });
  }
});
