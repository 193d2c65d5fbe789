import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, test } from "vitest";
import { count } from "../pipeline/aggregates.ts";
import { pipeline } from "../pipeline/pipeline.ts";
import { tumbling } from "../pipeline/windows.ts";
import { start } from "./start.ts";

let dir: string;
beforeEach(() => {
  dir = mkdtempSync(join(tmpdir(), "headwater-start-"));
});
afterEach(() => rmSync(dir, { recursive: true, force: true }));

function numbers(step = 1) {
  const p = pipeline("numbers", { partitions: 2, batchRecords: 8 });
  p.source("in", { key: () => "all", id: (record) => (record as { id: number }).id })
    .reduce("count", { init: () => 0, step: (n) => n + step, emit: (n, _key, record) => ({ n, record }) })
    .sink("out");
  return p;
}

describe("start", () => {
  test("answers each offer with where it is kept, that it is a duplicate, or why it is refused", async () => {
    const seen: unknown[] = [];
    const running = await start(numbers(), {
      log: "memory:",
      sinks: { out: ({ n }: { n: number }) => void seen.push(n) },
    });
    expect(await running.offer("in", { id: 1 })).toBe("source_numbers.in@0");
    expect(await running.offer("in", { id: 1 })).toBeUndefined();
    expect(await running.offer("in", { id: 2 })).toBe("source_numbers.in@1");
    await expect(running.offer("in", { id: 3, when: new Date() })).rejects.toMatchObject({
      code: "NotCanonical",
      where: "$.when",
    });
    await expect(running.offer("nowhere", 1)).rejects.toMatchObject({ code: "UnknownSource" });
    running.end();
    const report = await running.finished;
    expect(report.records).toMatchObject({ accepted: 2, duplicate: 1, rejected: 1, pending: 0 });
    expect(seen).toEqual([1, 2]);
    await expect(running.offer("in", { id: 4 })).rejects.toMatchObject({ code: "Stopped" });
  });

  test("tells how many records came too late, and for which stage", async () => {
    const p = pipeline("late", { partitions: 2 });
    const source = p.source("in", {
      key: (record) => (record as { key: string }).key,
      eventTime: (record) => (record as { time: number }).time,
    });
    const counted = { aggregate: count(), emit: (records: number) => records };
    source.window("minutes", tumbling("1m"), counted).sink("minutes");
    source.window("hours", tumbling("1h"), counted).sink("hours");
    source.window("patient", tumbling("1m"), { ...counted, lateness: "1d" }).sink("patient");
    // For the second record with a time of 0 it is too late to be in a minute, for the third in an hour, too.
    const times = [0, 120_000, 0, 7_200_000, 0];
    const inputs = { in: times.map((time, at) => ({ key: `k${at}`, time })) };
    const report = await (await start(p, { log: "memory:", inputs })).finished;
    expect(report.late).toEqual({ minutes: 2, hours: 1 });
    expect(report.records.late).toBe(3);
  });

  test("settles every offer when it is stopped, and keeps what it said is kept", async () => {
    const log = `lmdb:${dir}`;
    const running = await start(numbers(), { log });
    const kept: string[] = [];
    let refused = 0;
    const offers = Array.from({ length: 500 }, (_, id) =>
      running.offer("in", { id }).then(
        (address) => address !== undefined && kept.push(address),
        () => refused++,
      ),
    );
    await offers[20];
    await running.stop();
    await Promise.all(offers);
    expect(kept.length + refused).toBe(500);
    const totals: number[] = [];
    const again = await start(numbers(), {
      log,
      sinks: { out: ({ n }: { n: number }) => void totals.push(n) },
    });
    again.end();
    await again.finished;
    // The state goes on from what was kept: one more makes one more than that.
    const last = await start(numbers(), {
      log,
      sinks: { out: ({ n }: { n: number }) => void totals.push(n) },
    });
    expect(await last.offer("in", { id: "another" })).toBe(`source_numbers.in@${kept.length}`);
    last.end();
    await last.finished;
    expect(totals.at(-1)).toBe(kept.length + 1);
  });

  test("takes a changed program in after the one before has ended, with its state", async () => {
    const log = `lmdb:${dir}`;
    const totals: number[] = [];
    for (const [step, id] of [
      [1, 1],
      [10, 2],
    ] as const) {
      const running = await start(numbers(step), {
        log,
        sinks: { out: ({ n }: { n: number }) => void totals.push(n) },
      });
      await running.offer("in", { id });
      running.end();
      await running.finished;
    }
    expect(totals).toEqual([1, 11]);
  });

  test("refuses a source or sink that there is not", async () => {
    await expect(start(numbers(), { log: "memory:", inputs: { nope: [] } })).rejects.toMatchObject({
      code: "UnknownSource",
    });
    await expect(start(numbers(), { log: "memory:", sinks: { nope: () => {} } })).rejects.toMatchObject({
      code: "UnknownSink",
    });
    await expect(start(numbers(), { log: "file:x" })).rejects.toMatchObject({ code: "BadUsage" });
  });

  test("refuses threads for a pipeline without a module, and settings that no thread can have", async () => {
    const refused = (more: object) => start(numbers(), { log: "memory:", executor: "threads", ...more });
    await expect(refused({})).rejects.toMatchObject({
      code: "BadUsage",
      where: "pipeline numbers",
      hint: expect.stringContaining("module"),
    });
    await expect(refused({ executor: "gpu" })).rejects.toMatchObject({ code: "BadUsage", where: "executor" });
    await expect(refused({ hangAfterMs: 1 })).rejects.toMatchObject({
      code: "BadUsage",
      where: "hangAfterMs",
    });
    await expect(refused({ threadMemoryMb: 0.5 })).rejects.toMatchObject({ where: "threadMemoryMb" });
  });
});
