import { writeFileSync } from "node:fs";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { replay as verify } from "../../src/app/replay.ts";
import { openLog } from "../../src/runtime/compose.ts";
import { headwater, jsonError, Workplace } from "./command.ts";
import { clearSound } from "./open-log.ts";

const place = new Workplace();
let cwd: string;

beforeEach(async () => {
  cwd = await place.folder();
});
afterEach(() => clearSound(place));

/** Numbers with totals of three keys, by a stage that now and then reads the clock. */
function define(): void {
  const text = `import { pipeline } from "headwater";
const p = pipeline("weights", { partitions: 2 });
const weighed = p.source("in", { key: (row) => (row as { n: number }).n % 3 })
  .map("weigh", (row) => { const { n } = row as { n: number }; return n % 50 === 7 ? Date.now() : n; }, { capture: "all" });
weighed.reduce("total", { init: () => 0, step: (sum, w) => sum + (w as number), emit: (sum, key) => ({ key, sum }) })
  .sink("out");
export default p;
`;
  writeFileSync(join(cwd, "p.ts"), text);
}

/** Takes in so many numbers, in small batches. */
async function run(count: number): Promise<void> {
  const rows = Array.from({ length: count }, (_, n) => `${JSON.stringify({ n })}\n`);
  writeFileSync(join(cwd, "in.jsonl"), rows.join(""));
  const ended = await headwater(["run", "p.ts", "--input", "in=in.jsonl", "--batch", "7"], { cwd });
  expect(ended.code, ended.stderr).toBe(0);
}

/** Runs `headwater replay …` to its end; what it finds diverging is its exit code. */
async function replay(...args: readonly string[]) {
  const ended = await headwater(["replay", ...args, "--json"], { cwd });
  expect([0, 1], ended.stderr).toContain(ended.code);
  return JSON.parse(ended.stdout);
}

/** What a report says of history, without how it was come to. */
function found(report: Record<string, unknown>) {
  const { id: _, seconds: __, firstDivergence, ...rest } = report;
  // The clock goes on.
  const { value: ___, actual: ____, ...first } = firstDivergence as Record<string, unknown>;
  return { ...rest, first };
}

async function streams(): Promise<Record<string, number>> {
  const log = await openLog(`lmdb:${join(cwd, ".headwater")}`, { readOnly: true });
  try {
    const all: Record<string, number> = {};
    for await (const { stream, lastRevision } of log.streams()) all[stream] = lastRevision;
    return all;
  } finally {
    await log.close();
  }
}

async function until(id: string, holds: (one: Record<string, unknown>) => boolean): Promise<void> {
  for (;;) {
    const list: Record<string, unknown>[] = await replay("list");
    const one = list.find((each) => each["id"] === id);
    if (one !== undefined && holds(one)) return;
    await new Promise((resolve) => setTimeout(resolve, 100));
  }
}

describe("headwater replay --id, that compares", () => {
  it("goes on where it was killed, again and again, and finds what one finds that was not", async () => {
    define();
    await run(600);
    const before = await streams();
    const whole = await replay("weights");
    expect(whole).toMatchObject({ mode: "verify", records: 600, diverged: expect.any(Number) });
    expect(whole.diverged).toBeGreaterThan(12);
    expect(await streams()).toEqual(before);

    const slow = ["--rate", "25", "--json"];
    const first = place.start(["replay", "weights", "--id", "part", ...slow], { cwd });
    await until("part", ({ records }) => (records as number) > 50);
    first.kill("SIGKILL");
    await first.ended;
    const [interrupted] = await replay("list");
    expect(interrupted).toMatchObject({ id: "part", mode: "verify", status: "interrupted", of: 600 });
    const second = place.start(["replay", "resume", "part", ...slow], { cwd });
    await until("part", ({ records }) => (records as number) > (interrupted.records as number) + 50);
    second.kill("SIGKILL");
    await second.ended;

    const resumed = await headwater(["replay", "resume", "part", "--json"], { cwd });
    expect(resumed.code, resumed.stderr).toBe(1);
    const report = JSON.parse(resumed.stdout);
    expect(report.id).toBe("part");
    expect(found(report)).toEqual(found(whole));
    const shown = await replay("show", "part");
    expect(shown).toMatchObject({ status: "done", records: 600, of: 600, diverged: whole.diverged });
    expect(shown.report).toEqual(report);
    // Through is through.
    expect(await replay("resume", "part")).toEqual(report);

    const after = await streams();
    const own = ["pipeline_weights~part", "supervisor_weights~part"];
    expect(Object.keys(after).filter((stream) => !(stream in before))).toEqual(own);
    expect(Object.fromEntries(Object.entries(after).filter(([stream]) => !own.includes(stream)))).toEqual(
      before,
    );
    const audit = await headwater(["audit", "--json"], { cwd });
    expect(JSON.parse(audit.stdout)).toMatchObject({ ok: true });
  });

  it("stands still, goes on and ends when another process asks for it", async () => {
    define();
    await run(300);
    const asked = place.start(["replay", "weights", "--id", "slow", "--rate", "15", "--json"], { cwd });
    await until("slow", ({ status, records }) => status === "running" && (records as number) > 30);
    const again = await headwater(["replay", "resume", "slow", "--json"], { cwd });
    expect(jsonError(again)).toMatchObject({
      code: "BadUsage",
      message: expect.stringMatching(/^process \d+ on/),
    });
    await replay("pause", "slow");
    expect(jsonError(await asked.ended)).toMatchObject({
      code: "Stopped",
      message: "the replay was asked to pause",
      hint: expect.stringMatching(
        /^Go on with it: headwater replay resume weights~slow\. Until then, but 3 days at most, /,
      ),
    });
    const [still] = await replay("list");
    expect(still).toMatchObject({ status: "paused", of: 300 });
    expect(still.records).toBeLessThan(300);
    expect(found(await replay("resume", "slow"))).toEqual(found(await replay("weights")));

    const ended = place.start(["replay", "weights", "--id", "ended", "--rate", "5", "--json"], { cwd });
    await until("ended", ({ status }) => status === "running");
    await replay("stop", "ended");
    expect(jsonError(await ended.ended)).toMatchObject({ message: "the replay was asked to stop" });
    expect(await replay("pause", "ended")).toMatchObject({ status: "stopped" });
    const resumed = await headwater(["replay", "resume", "ended", "--json"], { cwd });
    expect(jsonError(resumed)).toMatchObject({ code: "BadUsage", message: "it was stopped for good" });
  });

  it("says how to go on where it was interrupted, or that it cannot be", async () => {
    define();
    await run(300);
    for (const [id, ...what] of [["compared"], ["other", "--what-if", "1", "--full"]] as const) {
      const command = place.start(["replay", "weights", "--id", id, "--rate", "5", ...what, "--json"], {
        cwd,
      });
      await until(id, ({ status }) => status === "running");
      command.kill("SIGINT");
      const ended = await command.ended;
      expect([ended.code, jsonError(ended)]).toMatchObject([
        130,
        {
          code: "Stopped",
          hint: expect.stringContaining(`Go on with it: headwater replay resume weights~${id}. Until then`),
        },
      ]);
    }
    const stop = new AbortController();
    const unnamed = verify({
      ...{ log: `lmdb:${join(cwd, ".headwater")}`, pipeline: "weights", rate: { recordsPerSecond: 100 } },
      ...{ signal: stop.signal, onProgress: () => stop.abort() },
    });
    await expect(unnamed).rejects.toMatchObject({
      code: "Stopped",
      hint: expect.stringContaining("--id NAME"),
    });
  });

  it("takes as long as the records take at its rate, and refuses what it cannot do", async () => {
    define();
    await run(200);
    const paced = await replay("weights", "--rate", "100");
    expect(paced.seconds).toBeGreaterThan(1.5);
    expect(found(paced)).toEqual(found(await replay("weights", "--id", "fast")));
    const refused = async (...args: readonly string[]) =>
      jsonError(await headwater(["replay", ...args, "--json"], { cwd }));
    expect(await refused("weights", "--id", "fast")).toMatchObject({
      code: "BadUsage",
      message: "a replay of this id is there already",
    });
    expect(await refused("weights", "--what-if", "1", "--id", "fast")).toMatchObject({
      message: "a replay of this id is there already",
    });
    expect(await refused("weights", "--id", "Fast!")).toMatchObject({ code: "BadName" });
    expect(await refused("resume", "fast", "--diff", "d.jsonl")).toMatchObject({
      code: "BadUsage",
      where: "--diff",
    });
    expect(await refused("resume", "fast", "--rotate", "1KiB", "--output", "o=o.jsonl")).toMatchObject({
      code: "BadUsage",
      where: "--output",
    });
    expect(await refused("resume", "fast", "--rotate", "1KiB")).toMatchObject({
      code: "BadUsage",
      where: "--rotate",
    });
  });
});
