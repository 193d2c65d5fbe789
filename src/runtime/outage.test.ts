/** A log that fails for a while, under a pipeline that follows its input. */
import { randomUUID } from "node:crypto";
import { mkdtemp, realpath, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, it, vi } from "vitest";
import { failNextMetaPage } from "../../test/fixtures/failing-meta-page.ts";
import { withAppends } from "../../test/fixtures/held-appends.ts";
import { openLmdbLog } from "../adapters/lmdb/log.ts";
import { MemoryLog } from "../adapters/memory/log.ts";
import { createSystemClock } from "../adapters/system/clock.ts";
import { createIds } from "../adapters/system/ids.ts";
import { type ErrorCode, HeadwaterError } from "../core/errors.ts";
import { decodeEvent } from "../core/event-codec.ts";
import { pipeline } from "../pipeline/pipeline.ts";
import { planPipeline } from "../pipeline/plan.ts";
import type { EventLog } from "../ports/event-log.ts";
import { ProgramIntake } from "./intake.ts";
import { OfferQueue } from "./offer-queue.ts";
import { runPipeline } from "./pipeline-run.ts";
import { ProgressBoard } from "./progress-board.ts";
import type { RunOptions } from "./run-options.ts";
import { CallbackTarget } from "./sink-targets.ts";

const clock = createSystemClock();

beforeEach(() => {
  vi.spyOn(console, "warn").mockImplementation(() => {});
});
afterEach(() => {
  vi.restoreAllMocks();
});

const unavailable = () => new HeadwaterError("LogUnavailable", "the test wants it so");

/** Records of a batch. */
const BATCH = 4;

/** A pipeline at work that follows what it is offered. */
function follow(log: EventLog, follows = true) {
  const p = pipeline("outage", { partitions: 2 });
  p.source("s", { key: (record) => (record as { n: number }).n })
    .map("m", (record) => record as { n: number })
    .sink("out");
  const offered = new OfferQueue();
  const delivered: number[] = [];
  const begunAgain: ErrorCode[] = [];
  const restarted: string[] = [];
  const stop = new AbortController();
  const nothing = () => {};
  const options: RunOptions = {
    plan: planPipeline(p.definition),
    bundle: undefined,
    intakes: new Map([["s", new ProgramIntake(offered)]]),
    targets: new Map([
      ["out", new CallbackTarget("out", ({ value }) => void delivered.push((value as { n: number }).n))],
    ]),
    nodes: 1,
    batchRecords: BATCH,
    tickMs: 1,
    provenance: "full",
    follow: follows,
    keepOpen: false,
    signal: stop.signal,
    board: new ProgressBoard(),
    onDeployed: nothing,
    onRejected: nothing,
    onQuarantined: nothing,
    onResumed: nothing,
    onTimeAhead: () => {},
    onStandBy: nothing,
    onBegunAgain: ({ code }) => void begunAgain.push(code),
    onRestarted: (unit) => void restarted.push(unit),
  };
  const done = runPipeline(
    {
      log,
      clock,
      ids: createIds(),
      processes: { host: "h", pid: 1, instance: randomUUID(), isAlive: () => true },
      bundler: { bundle: () => Promise.reject(new Error("no")), load: () => undefined },
      runtime: { headwater: "0", node: "0", v8: "0", icu: "0", timeZone: "UTC" },
    },
    options,
  );
  done.catch(nothing);
  const offer = (from: number, to: number) =>
    Promise.all(Array.from({ length: to - from }, (_, at) => offered.offer({ n: from + at })));
  return { offer, delivered, begunAgain, restarted, done, stop: () => stop.abort() };
}

/** Without what was handed out once more: a callback gets what was not known to be delivered again. */
const firsts = (delivered: readonly number[]) => [...new Set(delivered)];
const numbers = (count: number) => Array.from({ length: count }, (_, n) => n);

describe("a run that follows its input", () => {
  it("goes on where it was when the log can be reached again", async () => {
    let down = false;
    const log = withAppends(MemoryLog.create({ id: randomUUID(), clock }), (_, make) =>
      down ? Promise.reject(unavailable()) : make(),
    );
    const run = follow(log);
    await run.offer(0, 20);
    down = true;
    const late = run.offer(20, 40);
    await vi.waitUntil(() => run.begunAgain.length >= 2, { timeout: 30_000 });
    expect(new Set(run.begunAgain)).toEqual(new Set(["LogUnavailable"]));
    down = false;
    await late;
    await vi.waitUntil(() => run.delivered.includes(39));
    run.stop();
    await run.done;
    expect(firsts(run.delivered)).toEqual(numbers(40));
  });

  it("takes a full batch again that could not be appended, also when nothing more comes", async () => {
    let failing = false;
    const log = withAppends(MemoryLog.create({ id: randomUUID(), clock }), ({ stream }, make) => {
      if (!failing || !stream.startsWith("source_")) return make();
      failing = false;
      return Promise.reject(unavailable());
    });
    const run = follow(log);
    await run.offer(0, BATCH);
    failing = true;
    await run.offer(BATCH, 2 * BATCH);
    expect(failing).toBe(false);
    await vi.waitUntil(() => run.delivered.includes(2 * BATCH - 1));
    run.stop();
    await run.done;
    expect(firsts(run.delivered)).toEqual(numbers(2 * BATCH));
  });

  it("takes nothing twice of which it was appended, and the answer lost", async () => {
    let lost = 0;
    const log = withAppends(MemoryLog.create({ id: randomUUID(), clock }), async ({ stream }, make) => {
      const appended = await make();
      if (stream.startsWith("source_") && lost < 40 && ++lost % 4 === 0) throw unavailable();
      return appended;
    });
    const run = follow(log);
    const taken: (string | undefined)[] = [];
    for (let at = 0; at < 60; at += 3) taken.push(...(await run.offer(at, at + 3)));
    await vi.waitUntil(() => firsts(run.delivered).length >= 60);
    run.stop();
    await run.done;
    expect(run.restarted.length).toBeGreaterThan(3);
    // Each was told where it is kept, and is there once.
    expect(taken).toEqual(numbers(60).map((n) => `source_outage.s@${n}`));
    let accepted = 0;
    for await (const event of log.read("source_outage.s")) {
      const { type, data } = decodeEvent(event);
      if (type === "RecordsAccepted") accepted += data.count;
    }
    expect(accepted).toBe(60);
    expect(firsts(run.delivered)).toEqual(numbers(60));
  }, 120_000);

  it("keeps what it owns when heartbeats were made, and their answers lost", async () => {
    let beats = 0;
    const log = withAppends(MemoryLog.create({ id: randomUUID(), clock }), async ({ stream }, make) => {
      const appended = await make();
      if (stream.startsWith("supervisor_") && ++beats % 2 === 0) throw unavailable();
      return appended;
    });
    const run = follow(log);
    await run.offer(0, 8);
    await vi.waitUntil(() => beats >= 8, { timeout: 30_000 });
    await run.offer(8, 16);
    await vi.waitUntil(() => run.delivered.includes(15));
    run.stop();
    await run.done;
    expect(run.begunAgain).toEqual([]);
    expect(firsts(run.delivered)).toEqual(numbers(16));
  });

  it("stands by when another process has taken over, and takes over again after that one", async () => {
    const log = MemoryLog.create({ id: randomUUID(), clock });
    let silent = false;
    let wake = () => {};
    const awake = new Promise<void>((resolve) => {
      wake = resolve;
    });
    const first = follow(
      withAppends(log, async (_, make) => {
        if (silent) await awake;
        return make();
      }),
    );
    await first.offer(0, 10);
    await vi.waitUntil(() => first.delivered.includes(9));
    silent = true;
    const second = follow(log);
    await second.offer(10, 20);
    silent = false;
    wake();
    await vi.waitUntil(() => first.begunAgain.length > 0, { timeout: 30_000 });
    expect(first.begunAgain).toEqual(["OwnershipLost"]);
    await vi.waitUntil(() => second.delivered.includes(19));
    second.stop();
    await second.done;
    await first.offer(20, 30);
    await vi.waitUntil(() => first.delivered.includes(29));
    first.stop();
    await first.done;
    const before = first.delivered.slice(0, 10);
    expect(firsts([...before, ...second.delivered])).toEqual(numbers(20));
    expect(firsts([...before, ...second.delivered, ...first.delivered.slice(10)])).toEqual(numbers(30));
  });
});

describe("on LMDB, whose meta page could not be written", () => {
  let dir: string;
  beforeEach(async () => {
    dir = await realpath(await mkdtemp(join(tmpdir(), "headwater-panic-")));
    vi.spyOn(console, "error").mockImplementation(() => {});
  });
  afterEach(async () => {
    await rm(dir, { recursive: true, force: true });
  });

  it.each([true, false])("a run opens it again and goes on; follows: %s", async (follows) => {
    const log = await openLmdbLog({ dir, clock, ids: createIds() });
    const run = follow(log, follows);
    for (const round of [0, 1, 2, 3]) {
      await run.offer(round * 20, round * 20 + 10);
      failNextMetaPage(dir);
      await run.offer(round * 20 + 10, round * 20 + 20);
    }
    await vi.waitUntil(() => run.delivered.includes(79));
    run.stop();
    await run.done;
    expect(firsts(run.delivered)).toEqual(numbers(80));
    expect(run.restarted.length).toBeGreaterThan(0);
    expect(run.begunAgain).toEqual([]);
    await log.close();
  });
});
