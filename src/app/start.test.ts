import { mkdtempSync, readdirSync, readFileSync, rmSync, symlinkSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, test, vi } from "vitest";
import { RESTARTS_MOST } from "../../actors/supervisor.ts";
import { LIMITS } from "../core/limits.ts";
import { count } from "../pipeline/aggregates.ts";
import { pipeline } from "../pipeline/pipeline.ts";
import { tumbling } from "../pipeline/windows.ts";
import { keygen } from "./proof.ts";
import type { RunNotice } from "./run-types.ts";
import { start } from "./start.ts";
import type { BatchDelivery, Feed, StartOptions } from "./start-types.ts";

let dir: string;
beforeEach(() => {
  dir = mkdtempSync(join(tmpdir(), "headwater-start-"));
});
afterEach(() => rmSync(dir, { recursive: true, force: true }));

/** What comes at once where nothing else is at work. */
const PATIENT = { timeout: 30_000 };
const pause = (ms: number) => new Promise<void>((resolve) => setTimeout(resolve, ms));

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

  test("takes what a function gives, as far as there is room, and ends with it", async () => {
    const seen: unknown[] = [];
    const running = await start(numbers(), {
      log: "memory:",
      inputs: {
        in: async ({ push }) => {
          for (let id = 0; id < 20_000; id++) await push({ id });
        },
      },
      sinks: { out: ({ n }: { n: number }) => void seen.push(n) },
    });
    expect((await running.finished).records).toMatchObject({ accepted: 20_000, pending: 0 });
    expect(seen).toHaveLength(20_000);
    await expect(running.offer("in", {})).rejects.toMatchObject({ code: "UnknownSource" });
  });

  test("takes what was pushed before it was stopped, and no more", async () => {
    const seen: unknown[] = [];
    let pushed = 0;
    const running = await start(numbers(), {
      log: "memory:",
      inputs: {
        in: async ({ push, signal }) => {
          for (let id = 0; !signal.aborted; id++) {
            await push({ id });
            pushed++;
          }
        },
      },
      sinks: {
        out: async ({ n }: { n: number }) => {
          if (seen.length % 100 === 0) await new Promise((resolve) => setTimeout(resolve, 1));
          seen.push(n);
        },
      },
    });
    await vi.waitUntil(() => seen.length > 0, PATIENT);
    const report = await running.stop();
    expect(report.records).toMatchObject({ read: pushed, accepted: pushed, pending: 0 });
    expect(seen).toHaveLength(pushed);
  });

  test.each([
    [
      "a sink",
      { sinks: { out: () => Promise.reject() } },
      "the function of the sink out failed: undefined was thrown, not an Error: undefined",
    ],
    [
      "a source",
      {
        inputs: {
          in: { [Symbol.asyncIterator]: () => ({ next: () => Promise.reject() }) },
        },
      },
      "the iterable that gives records failed: undefined",
    ],
  ])("fails where %s fails with nothing at all", async (_, options, message) => {
    const running = await start(numbers(), { log: "memory:", ...options });
    running.offer("in", { id: 1 }).catch(() => {});
    await expect(running.finished).rejects.toThrow(message);
  });

  test("calls a function of a sink that fails again, and then fails with an error that names it", async () => {
    const log = `lmdb:${dir}`;
    const seen: number[] = [];
    const inputs = { in: Array.from({ length: 10 }, (_, id) => ({ id })) };
    let calls = 0;
    const notices: string[] = [];
    const failing = await start(numbers(), {
      log,
      inputs,
      onNotice: (notice) => notices.push("message" in notice ? notice.message : notice.kind),
      sinks: {
        out: ({ n }: { n: number }) => {
          if (n === 4 && ++calls > 0) throw new Error("no room");
          seen.push(n);
        },
      },
    });
    const failure = { code: "SinkFailed", message: "the function of the sink out failed: no room" };
    await expect(failing.finished).rejects.toMatchObject({
      ...failure,
      where: expect.stringMatching(/^record source_numbers\.in@3/),
    });
    // Once more, where what comes before the record was delivered only then.
    expect(calls - RESTARTS_MOST).toBeGreaterThanOrEqual(1);
    expect(calls - RESTARTS_MOST).toBeLessThanOrEqual(3);
    expect(notices.filter((message) => message.includes(failure.message))).toHaveLength(calls - 1);
    // What was taken before is given again: at least once.
    expect(new Set(seen)).toEqual(new Set([1, 2, 3]));
    const again: number[] = [];
    const sinks = { out: ({ n }: { n: number }) => void again.push(n) };
    const running = await start(numbers(), { log, sinks });
    running.end();
    await running.finished;
    expect(again).toEqual(expect.arrayContaining([4, 5, 6, 7, 8, 9, 10]));
  });

  test("takes in what a function gave before it failed, and then fails with it", async () => {
    const seen: unknown[] = [];
    const running = await start(numbers(), {
      log: "memory:",
      inputs: {
        in: async ({ push }) => {
          await push({ id: 1 });
          throw new Error("the bus is gone");
        },
      },
      sinks: { out: ({ n }: { n: number }) => void seen.push(n) },
    });
    await expect(running.finished).rejects.toMatchObject({
      code: "InputFailed",
      message: expect.stringContaining("the bus is gone"),
    });
    expect(seen).toEqual([1]);
  });

  test.each(["at once", "one by one"])("takes in what an iterable gave %s before it failed", async (how) => {
    const seen: number[] = [];
    function* failing() {
      for (let id = 0; id < 2_500; id++) yield { id };
      throw new Error("the table is locked");
    }
    async function* slowly() {
      yield* failing();
    }
    const running = await start(numbers(), {
      log: "memory:",
      inputs: { in: how === "at once" ? failing() : slowly() },
      sinks: { out: ({ n }: { n: number }) => void seen.push(n) },
    });
    await expect(running.finished).rejects.toMatchObject({
      code: "InputFailed",
      message: "the iterable that gives records failed: the table is locked",
    });
    expect(seen).toHaveLength(2_500);
  });

  test.each([
    ["takes offers", {}],
    [
      "never ends",
      {
        web: async ({ push, signal }: Parameters<Feed>[0]) => {
          for (let id = 0; !signal.aborted; id++) {
            await push({ id });
            await pause(1);
          }
        },
      },
    ],
  ])(
    "stops when one source fails, though another one %s, and brings to its end what came",
    async (_, web) => {
      const p = pipeline("two", { partitions: 2 });
      p.source("web").sink("pages");
      p.source("it").sink("its");
      const notices: unknown[] = [];
      const seen: unknown[] = [];
      const running = await start(p, {
        log: "memory:",
        inputs: {
          it: async ({ push }) => {
            await push(1);
            throw new Error("broke");
          },
          ...web,
        },
        sinks: { its: (record: unknown) => void seen.push(record) },
        onNotice: (notice) => {
          if (notice.kind === "input-failed") notices.push([notice.source, notice.error.message]);
        },
      });
      await expect(running.finished).rejects.toMatchObject({ code: "InputFailed" });
      expect(notices).toEqual([["it", "the function that gives records failed: broke"]]);
      expect(seen).toEqual([1]);
    },
  );

  test.each(["at once", "one by one"])(
    "takes all that an iterable has given %s when it is stopped",
    async (how) => {
      let given = 0;
      const next = () => ({ done: false as const, value: { id: given++ } });
      const slowly = async () => {
        if (given % 10 === 0) await pause(0);
        return next();
      };
      const seen: number[] = [];
      const running = await start(numbers(), {
        log: `lmdb:${dir}`,
        inputs: {
          in:
            how === "at once"
              ? { [Symbol.iterator]: () => ({ next }) }
              : { [Symbol.asyncIterator]: () => ({ next: slowly }) },
        },
        sinks: { out: ({ n }: { n: number }) => void seen.push(n) },
      });
      await vi.waitUntil(() => seen.length > 20, PATIENT);
      const { records } = await running.stop();
      expect(records).toMatchObject({ accepted: given, pending: 0 });
    },
  );

  test("tells a function that gives records when it stops", async () => {
    let stopped = false;
    let delivered = () => {};
    const first = new Promise<void>((resolve) => {
      delivered = resolve;
    });
    const running = await start(numbers(), {
      log: "memory:",
      sinks: { out: () => delivered() },
      inputs: {
        in: async ({ push, signal }) => {
          await push({ id: 1 });
          await new Promise((resolve) => signal.addEventListener("abort", resolve));
          stopped = true;
          await expect(push({ id: 2 })).rejects.toMatchObject({ code: "Stopped" });
        },
      },
    });
    await first;
    await running.stop();
    expect(stopped).toBe(true);
  });

  test("goes on however often a function of a sink fails, if something is delivered in between", async () => {
    const seen: number[] = [];
    const failed = new Set<number>();
    const running = await start(numbers(), {
      log: "memory:",
      sinks: {
        out: ({ n }: { n: number }) => {
          if (n % 2 === 0 && !failed.has(n)) {
            failed.add(n);
            throw new Error("not now");
          }
          seen.push(n);
        },
      },
    });
    const rounds = 3 * RESTARTS_MOST;
    for (let id = 1; id <= rounds; id++) {
      await running.offer("in", { id });
      await vi.waitUntil(() => seen.includes(id), PATIENT);
      // Until it is durable that it was delivered.
      await pause(2 * LIMITS.flushMs);
    }
    running.end();
    expect((await running.finished).records).toMatchObject({ accepted: rounds, pending: 0 });
    expect(failed.size).toBeGreaterThan(RESTARTS_MOST);
  });

  test("gives many records at once, with a key under which a batch comes again as it was", async () => {
    const log = `lmdb:${dir}`;
    const batches: { key: string; ids: number[] }[] = [];
    const take = (fails: boolean) => ({
      batch: (records: readonly { n: number }[], { key, records: deliveries }: BatchDelivery) => {
        expect(deliveries).toHaveLength(records.length);
        batches.push({ key, ids: records.map(({ n }) => n) });
        if (fails && batches.length === 2) throw new Error("not now");
      },
    });
    const inputs = { in: Array.from({ length: 40 }, (_, id) => ({ id })) };
    const failing = await start(numbers(), { log, inputs, sinks: { out: take(true) }, batchRecords: 8 });
    await failing.finished;
    const [first, refused, again] = batches;
    expect(again).toEqual(refused);
    expect(new Set(batches.map(({ key }) => key)).size).toBe(batches.length - 1);
    const others = batches.filter((_, index) => index !== 1).flatMap(({ ids }) => ids);
    expect(others).toEqual(Array.from({ length: 40 }, (_, index) => index + 1));
    expect(first?.key).toMatch(/^[0-9a-f-]{36}$/);
  });

  test("refuses one file for two sinks", async () => {
    const p = pipeline("two");
    const source = p.source("in");
    source.sink("a");
    source.sink("b");
    symlinkSync("out.jsonl", join(dir, "link.jsonl"));
    for (const other of ["./out.jsonl", "link.jsonl"]) {
      const sinks = { a: { file: join(dir, "out.jsonl") }, b: { file: `${dir}/${other}` } };
      await expect(start(p, { log: "memory:", sinks }), other).rejects.toMatchObject({
        code: "BadUsage",
        message: "the sinks a and b are to write the same file",
      });
    }
  });

  test("refuses a file of a sink for checkpoints", async () => {
    const p = pipeline("one");
    p.source("in").sink("a");
    const key = await keygen("k", dir);
    const file = join(dir, "a-000001.jsonl");
    const options = {
      log: "memory:",
      sinks: { a: { file: join(dir, "a.jsonl"), rotate: "1KiB" } },
      checkpoints: { key: key.file, every: "1m", out: file },
    };
    await expect(start(p, options)).rejects.toMatchObject({
      code: "BadUsage",
      message: "the checkpoints and the sink a are to write the same file",
      where: file,
    });
  });

  test("writes files, rotated by the time at which records were accepted", async () => {
    const inputs = { in: Array.from({ length: 20 }, (_, id) => ({ id })) };
    const sinks = { out: { file: join(dir, "out.jsonl"), rotate: "1d" } };
    await (await start(numbers(), { log: "memory:", inputs, sinks })).finished;
    const names = readdirSync(dir);
    expect(names.every((name) => /^out-\d{8}T000000Z\.jsonl$/.test(name))).toBe(true);
    const lines = names.sort().flatMap((name) => readFileSync(join(dir, name), "utf8").trimEnd().split("\n"));
    expect(lines.map((line) => JSON.parse(line).n)).toEqual(
      Array.from({ length: 20 }, (_, index) => index + 1),
    );
  });

  test("names a sink that is left out and wrote to a file before", async () => {
    const notices: unknown[] = [];
    const runWith = async (ids: readonly number[], sinks: StartOptions["sinks"]) => {
      const onNotice = (notice: RunNotice) => {
        if (notice.kind === "sink-left-out") notices.push(notice);
      };
      const inputs = { in: ids.map((id) => ({ id })) };
      await (
        await start(numbers(), { log: `lmdb:${join(dir, "log")}`, inputs, onNotice, ...(sinks && { sinks }) })
      ).finished;
    };
    const file = join(dir, "out.jsonl");
    await runWith([1], { out: { file, rotate: "64MB" } });
    await runWith([2], { out: () => {} });
    await runWith([3], undefined);
    expect(notices).toEqual([]);
    await runWith([4], { out: { file, rotate: "64MB" } });
    await runWith([5], undefined);
    expect(notices).toEqual([
      { kind: "sink-left-out", sink: "out", to: "file", output: file, rotate: "64MB", mayBeLost: false },
    ]);
    await runWith([6], { out: { file, rotate: "64MB" } });
    expect(readFileSync(join(dir, "out-000001.jsonl"), "utf8").trimEnd().split("\n")).toHaveLength(6);
  });

  test("lets go of what does not come to an end in time, and says so", async () => {
    const notices: string[] = [];
    let entered = () => {};
    const busy = new Promise<void>((resolve) => {
      entered = resolve;
    });
    const running = await start(numbers(), {
      log: "memory:",
      inputs: { in: [{ id: 1 }] },
      sinks: {
        out: () => {
          entered();
          return new Promise(() => {});
        },
      },
      drainTimeout: "10ms",
      onNotice: ({ kind }) => notices.push(kind),
    });
    await busy;
    expect((await running.stop()).outputs).toEqual({ out: 0 });
    expect(notices).toContain("drain-timeout");
  });

  test.each(["offer", "push"] as const)(
    "has one time to bring to its end what waits and what is in flight: %s",
    async (how) => {
      const drainMs = 2_000;
      let delivered = 0;
      const running = await start(numbers(), {
        log: "memory:",
        sinks: {
          out: () => {
            delivered++;
            return pause(5);
          },
        },
        drainTimeout: `${drainMs}ms`,
        ...(how === "push" && {
          inputs: {
            in: async ({ push }: { push(record: unknown): Promise<void> }) => {
              for (let id = 0; ; id++) await push({ id });
            },
          },
        }),
      });
      if (how === "offer") for (let id = 0; id < 10_000; id++) running.offer("in", { id }).catch(() => {});
      while (delivered === 0) await pause(1);
      const begun = delivered;
      // Which of the two comes first, however slow the machine is.
      const first = await Promise.race([running.stop(), pause(2 * drainMs).then(() => "twice the time")]);
      expect(first).not.toBe("twice the time");
      expect(delivered).toBeGreaterThan(begun);
    },
    30_000,
  );

  test("bounds what waits by its size, too", async () => {
    const running = await start(numbers(), {
      log: "memory:",
      sinks: { out: () => new Promise(() => {}) },
      drainTimeout: "1ms",
    });
    const text = "x".repeat(200_000);
    const most = (2 * LIMITS.inFlightBytes) / text.length;
    let refused = 0;
    const offers = Array.from({ length: 2 * most }, (_, id) =>
      running.offer("in", { id, text }).catch((error: { code?: string }) => {
        if (error.code === "Overloaded") refused++;
      }),
    );
    await pause(1);
    expect(refused).toBeGreaterThan(most / 2);
    await running.stop();
    await Promise.all(offers);
  });

  test("waits for whatever a sink's function answers that can be waited for", async () => {
    const stored: unknown[] = [];
    /** As those of databases: they do their work when somebody waits for them. */
    const query = (record: unknown) => ({
      // biome-ignore lint/suspicious/noThenProperty: that is what it is about.
      then: (resolve: (value: unknown) => void) => {
        setTimeout(() => {
          stored.push(record);
          resolve(undefined);
        }, 1);
      },
    });
    const running = await start(numbers(), {
      log: "memory:",
      inputs: { in: [{ id: 1 }, { id: 2 }] },
      sinks: { out: (({ n }: { n: number }) => query(n)) as unknown as (record: never) => Promise<void> },
    });
    expect((await running.finished).outputs).toEqual({ out: 2 });
    expect(stored).toEqual([1, 2]);
  });

  test("gives a function its context also in parts", async () => {
    const p = pipeline("parts", { partitions: 1 });
    p.source("in")
      .map("m", async (_record, { now, random, uuid, effect, ordinal }) => ({
        same: [now() > 0, random() < 1, uuid().length === 36, ordinal > 0],
        answer: await effect("answer", () => 42),
      }))
      .sink("out");
    const seen: unknown[] = [];
    const sinks = { out: (record: unknown) => void seen.push(record) };
    await (await start(p, { log: "memory:", inputs: { in: [{}] }, sinks })).finished;
    expect(seen).toEqual([{ same: [true, true, true, true], answer: 42 }]);
  });

  test("says what held it back", async () => {
    let pushed = 0;
    let waited = false;
    const running = await start(numbers(), {
      log: "memory:",
      batchRecords: 512,
      inputs: {
        in: async ({ push }) => {
          for (; pushed < 3 * LIMITS.inFlightRecords; pushed++) await push({ id: pushed });
        },
      },
      sinks: {
        out: async () => {
          if (waited) return;
          waited = true;
          // By then as much is in flight as may be, and as much again waits to be taken: the door waits.
          while (pushed < 2 * LIMITS.inFlightRecords) await pause(10);
          await pause(1_500);
        },
      },
    });
    const [worst] = (await running.finished).backpressure;
    expect(worst).toMatchObject({ by: "sink out", chain: ["sink out", "stage count", "source in"] });
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
    for (const where of ["hangAfterMs", "threadMemoryMb"]) {
      for (const executor of [{}, { executor: "inline" } as const]) {
        await expect(
          start(numbers(), { log: "memory:", ...executor, [where]: 30_000 }),
        ).rejects.toMatchObject({
          ...{ code: "BadUsage", where },
          message: `${where} is about threads, and nodes run in this one`,
        });
      }
    }
  });
});

describe("the module of a pipeline that is started", () => {
  /** A module that makes the pipeline of {@link numbers}, after some changes to its text. */
  function moduleOf(...changes: readonly (readonly [string, string])[]): string {
    let text = `import { pipeline } from "headwater";
const p = pipeline("numbers", { partitions: 2 });
p.source("in", { key: () => "all", id: (record) => record.id })
  .reduce("count", { init: () => 0, step: (n) => n + 1, emit: (n) => ({ n }) })
  .sink("out");
export default p;
`;
    for (const [from, to] of changes) text = text.replace(from, to);
    const path = join(dir, "numbers.mjs");
    writeFileSync(path, text);
    return path;
  }

  test("is kept in the log if it makes that pipeline", async () => {
    const running = await start(numbers(), {
      log: "memory:",
      module: moduleOf(),
      inputs: { in: [{ id: 1 }] },
    });
    expect((await running.finished).records.accepted).toBe(1);
  });

  test.each(["inline", "threads"] as const)("is refused if it makes another one (%s)", async (executor) => {
    const refused = async (...changes: readonly (readonly [string, string])[]) => {
      const log = `lmdb:${join(dir, "log")}`;
      const message = await start(numbers(), { log, executor, module: moduleOf(...changes) }).then(
        () => "started",
        (error) => {
          expect(error).toMatchObject({ code: "BadUsage", where: "module" });
          return String(error.message);
        },
      );
      expect(readdirSync(dir), "nothing was made").toEqual(["numbers.mjs"]);
      return message;
    };
    expect(await refused(['"numbers"', '"letters"'])).toBe(
      'the module "numbers.mjs" makes another pipeline than the one that is started, "numbers": its name is "letters"',
    );
    expect(await refused(['"in"', '"other"'])).toMatch(
      /its sources are other; of the one that is started in$/,
    );
    expect(await refused(['"count"', '"total"'])).toMatch(/its stages are total \(reduce of/);
    expect(await refused(['"out"', '"off"'])).toMatch(/its sinks are off \(of count\)/);
    expect(await refused(["partitions: 2", "partitions: 3"])).toMatch(/its partitions are 3/);
    expect(await refused(['key: () => "all", ', ""])).toMatch(/schemas, parameters or settings/);
  });
});

describe("what start is given", () => {
  const options = (given: unknown) => ({ log: "memory:", ...(given as object) });

  test.each([
    ["inputs.in", { inputs: { in: 5 } }],
    ["inputs.in", { inputs: { in: "a text" } }],
    ["inputs.in", { inputs: { in: null } }],
    ["inputs.in", { inputs: { in: Promise.resolve([]) } }],
    ["inputs", { inputs: [[{ id: 1 }]] }],
    ["sinks.out", { sinks: { out: "out.jsonl" } }],
    ["sinks.out", { sinks: { out: {} } }],
    ["sinks.out", { sinks: { out: null } }],
    ["sinks", { sinks: "out" }],
    ["sinks.out", { sinks: { out: { file: "out.jsonl", rotat: "1MB" } } }],
    ["sinks.out", { sinks: { out: { file: "out.jsonl", url: "http://127.0.0.1:1/" } } }],
    ["input", { input: { in: [] } }],
    ["module", { module: 5 }],
    ["nodes", { nodes: "two" }],
    ["nodes", { nodes: 0.5 }],
    ["executor", { executor: "fork" }],
    ["log", { log: 5 }],
    ["parameters", { parameters: 5 }],
    ["tickMs", { tickMs: "soon" }],
    ["batchRecords", { batchRecords: -1 }],
    ["provenance", { provenance: "none" }],
    ["http://host/", { sinks: { out: { url: "http://host/", headers: { "a b": "x" } } } }],
    ["http://host:6000/", { sinks: { out: { url: "http://a:b@host:6000/" } } }],
  ])("is refused where it cannot be used, and named: %s %o", async (where, given) => {
    await expect(start(numbers(), options(given))).rejects.toMatchObject({ code: "BadUsage", where });
  });

  test.each([
    ["options", [numbers()]],
    ["options", [numbers(), null]],
    ["options", [numbers(), "memory:"]],
    ["pipeline", [null, { log: "memory:" }]],
    ["pipeline", [{}, { log: "memory:" }]],
    ["pipeline", []],
  ])("is refused where something is missing, and that is named: %s", async (where, args) => {
    const untyped = start as (...args: readonly unknown[]) => Promise<unknown>;
    await expect(untyped(...args)).rejects.toMatchObject({ code: "BadUsage", where });
  });

  test("a pipeline that is stopped as soon as it was started has a report, and can be started again", async () => {
    const log = `lmdb:${dir}`;
    const first = await start(numbers(), { log, inputs: { in: [{ id: 1 }] } });
    const report = await first.stop();
    expect(report.records.pending).toBe(0);
    const again = await start(numbers(), { log, inputs: { in: [{ id: 1 }, { id: 2 }] } });
    const { records } = await again.finished;
    expect(records.accepted + report.records.accepted).toBe(2);
  });

  test("an iterator that is not through is told when the pipeline stops, and that is no end of the input", async () => {
    const p = pipeline("minutes", { partitions: 1 });
    p.source("in", { key: () => "all", eventTime: () => 0 })
      .window("minutes", tumbling("1m"), { aggregate: count(), emit: (records: number) => records })
      .sink("out");
    const told = vi.fn();
    let given = 0;
    const endless: AsyncIterable<unknown> = {
      [Symbol.asyncIterator]: () => ({
        next: async () => {
          await pause(1);
          return told.mock.calls.length > 0 ? { done: true, value: undefined } : { value: { n: given++ } };
        },
        return: async () => {
          told();
          return { done: true, value: undefined };
        },
      }),
    };
    const seen: unknown[] = [];
    const sinks = { out: (records: number) => void seen.push(records) };
    const running = await start(p, { log: "memory:", inputs: { in: endless }, sinks });
    while (given < 20) await pause(1);
    await running.stop();
    expect(told).toHaveBeenCalledTimes(1);
    expect(seen).toEqual([]);
  });
});
