import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, test } from "vitest";
import { pipeline } from "../pipeline/pipeline.ts";
import { start } from "./start.ts";

let dir: string;

beforeEach(() => {
  dir = mkdtempSync(join(tmpdir(), "headwater-effects-"));
});
afterEach(() => {
  rmSync(dir, { recursive: true, force: true });
});

const numbers = (count: number) => Array.from({ length: count }, (_, v) => ({ v }));

interface Item {
  readonly v: number;
}

/** What a test waits for, and lets go on. */
function gate(): { readonly opened: Promise<void>; open(): void } {
  let open = () => {};
  const opened = new Promise<void>((resolve) => {
    open = resolve;
  });
  return { opened, open: () => open() };
}

describe("a slow service", () => {
  test("holds up its own branch, not another one, and not another pipeline on the log", async () => {
    const service = gate();
    let calls = 0;
    const slow = pipeline("slow", { partitions: 2 });
    const source = slow.source<undefined>("in");
    source
      .map("asked", async (item, ctx) => {
        const answer = await ctx.effect(
          "answer",
          async () => {
            calls++;
            await service.opened;
            return 1;
          },
          { concurrency: 8 },
        );
        return { ...(item as Item), answer };
      })
      .sink("asked");
    source.map("quick", (item) => item).sink("quick");
    const other = pipeline("other", { partitions: 2 });
    other.source("in").sink("out");

    const log = `lmdb:${dir}`;
    const taken = { asked: [] as Item[], quick: [] as Item[], out: [] as Item[] };
    const quickDone = gate();
    const records = numbers(200);
    const running = await start(slow, {
      log,
      inputs: { in: records },
      sinks: {
        asked: (item: Item) => void taken.asked.push(item),
        quick: (item: Item) => {
          if (taken.quick.push(item) === records.length) quickDone.open();
        },
      },
    });
    await quickDone.opened;
    const second = await start(other, {
      log,
      inputs: { in: records },
      sinks: { out: (item: Item) => void taken.out.push(item) },
    });
    await second.finished;
    expect(taken.quick).toEqual(records);
    expect(taken.out).toEqual(records);
    expect(taken.asked).toEqual([]);
    // Both partitions together have no more under way than the effect's bound.
    expect(calls).toBe(8);
    service.open();
    const report = await running.finished;
    expect(taken.asked).toEqual(records.map((item) => ({ ...item, answer: 1 })));
    expect(calls).toBe(records.length);
    expect(report.records).toMatchObject({ accepted: 200, quarantined: 0 });
  });

  test("is asked for what was accepted when the pipeline is told to stop, once, and for no more", async () => {
    const service = gate();
    const begun = gate();
    const p = pipeline("stopped", { partitions: 1, batchRecords: 4 });
    let calls = 0;
    p.source("in")
      .map("asked", async (item, ctx) => {
        const answer = await ctx.effect("answer", async () => {
          if (++calls === 1) begun.open();
          await service.opened;
          return 1;
        });
        return { ...(item as Item), answer };
      })
      .sink("out");
    const log = `lmdb:${dir}`;
    const out: Item[] = [];
    const sinks = { out: (item: Item) => void out.push(item) };
    const first = await start(p, { log, sinks });
    for (const item of numbers(12)) first.offer("in", item).catch(() => {});
    await begun.opened;
    const stopping = first.stop();
    service.open();
    await stopping;
    const called = calls;
    expect(out.length).toBe(called);

    const second = await start(p, { log, sinks });
    second.end();
    await second.finished;
    expect(new Set(out.map(({ v }) => v)).size).toBe(out.length);
    // Nothing was left, and nothing is asked for twice.
    expect(out.length).toBe(called);
    expect(calls).toBe(called);
  });
});

describe("an effect whose result cannot be kept", () => {
  test.each([
    ["a part of it", () => ({ at: new Date(0) })],
    ["all of it", () => new Date(0)],
    ["its size", () => "x".repeat(2 * 1024 * 1024)],
  ])("has had its effect, and is not called again when the stage is tried again: %s", async (_, result) => {
    let calls = 0;
    let tries = 0;
    const p = pipeline("unkept", { partitions: 1 });
    p.source("in")
      .map(
        "asked",
        (_item, ctx) => {
          tries++;
          return ctx.effect("answer", () => {
            calls++;
            return result() as unknown as Item;
          });
        },
        { onError: { retry: { times: 3, backoff: "1ms" } } },
      )
      .sink("out");
    const running = await start(p, { log: `lmdb:${dir}`, inputs: { in: numbers(1) } });
    expect((await running.finished).records.quarantined).toBe(1);
    expect(calls).toBe(1);
    expect(tries).toBeGreaterThan(1);
  });
});
