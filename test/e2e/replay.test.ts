import { writeFileSync } from "node:fs";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { openAt } from "../../src/app/open-at.ts";
import { replay as replayIn, whatIf } from "../../src/app/replay.ts";
import type { ReplayProgress } from "../../src/app/replay-types.ts";
import { openLog } from "../../src/runtime/compose.ts";
import { acceptedOrdinals } from "../simulation/log-content.ts";
import { headwater, jsonError, Workplace } from "./command.ts";
import { clearSound } from "./open-log.ts";

const place = new Workplace();
let cwd: string;

beforeEach(async () => {
  cwd = await place.folder();
});
afterEach(() => clearSound(place));

/** `weigh` is the body of a stage's function of `n`; totals of three keys go on through every version. */
function define(weigh: string): void {
  const text = `import { pipeline } from "headwater";
let calls = 0;
const p = pipeline("weights", { partitions: 2 });
p.source("in", { key: (row) => (row as { n: number }).n % 3 })
  .map("weigh", (row) => { const { n } = row as { n: number }; calls++; ${weigh} }, { capture: "all" })
  .reduce("total", { init: () => 0, step: (sum, w) => sum + (w as number), emit: (sum, key) => ({ key, sum }) })
  .sink("out");
export default p;
`;
  writeFileSync(join(cwd, "p.ts"), text);
}

/** Takes in the numbers from `from` up to `to`. */
async function run(from: number, to: number): Promise<void> {
  const rows = Array.from({ length: to - from }, (_, at) => `${JSON.stringify({ n: from + at })}\n`);
  writeFileSync(join(cwd, "in.jsonl"), rows.join(""));
  const ended = await headwater(["run", "p.ts", "--input", "in=in.jsonl", "--batch", "7"], { cwd });
  expect(ended.code, ended.stderr).toBe(0);
}

async function ordinalsOf(pipeline: string, source: string): Promise<number[]> {
  const log = await openLog(`lmdb:${join(cwd, ".headwater")}`, { readOnly: true });
  try {
    return await acceptedOrdinals(log, pipeline, source);
  } finally {
    await log.close();
  }
}

async function replay(...args: readonly string[]) {
  const ended = await headwater(["replay", "weights", "--json", ...args], { cwd });
  return { ...ended, report: ended.code === 2 ? undefined : JSON.parse(ended.stdout) };
}

describe("headwater replay", () => {
  it("finds every step of every version as it was recorded, by that version's own code", async () => {
    define("return n");
    await run(0, 100);
    define("return 10 * n");
    await run(100, 160);
    define("return 100 * n");
    await run(160, 200);
    const { code, report } = await replay();
    expect(report).toMatchObject({ mode: "verify", records: 200, steps: 400, matched: 400, diverged: 0 });
    expect(code).toBe(0);

    // The parts of the history add up to it, wherever it is parted: state is that of the point where they begin.
    const middle = (await ordinalsOf("weights", "in"))[120] as number;
    const early = await replay("--to", String(middle));
    const late = await replay("--from", String(middle + 1));
    expect([early.code, late.code]).toEqual([0, 0]);
    expect(early.report).toMatchObject({ records: 121, steps: 242 });
    expect(late.report).toMatchObject({ records: 79, steps: 158 });
  });

  it.each([
    ["the clock", "return n === 31 ? Date.now() : n", "clock"],
    ["random numbers", "return n === 31 ? Math.random() : n", "random"],
    // The process that replays has called it less often.
    [
      "what the module kept from earlier records",
      "return n === 31 ? calls + process.pid / 1e7 : n",
      "module-state",
    ],
    ["something outside", "return n === 31 ? process.pid : n", "elsewhere"],
  ])("names the first step at which a stage depends on %s", async (_, weigh, cause) => {
    define(weigh);
    await run(0, 60);
    const { code, report } = await replay();
    expect(code).toBe(1);
    const { firstDivergence: first } = report;
    expect(first).toMatchObject({ stage: "weigh", kind: "digest", version: 1 });
    // Its own step, and the totals of 31, 34, … 58: those of its key from there on.
    expect(report.diverged).toBe(1 + 10);
    expect(first.address).toMatch(/^steps_weights\.weigh\.000[01]@\d+$/);
    expect(first.actual).toMatch(/^[0-9a-f]{64}$/);
    expect(first.expected).not.toBe(first.actual);
    expect(first.expectedValue).not.toBe(31);
    expect(first.fields).toEqual([""]);
    expect(first.causes).toMatchObject([{ kind: cause }]);
    if (cause === "clock" || cause === "random")
      expect(first.causes[0].where).toMatch(/^headwater:p.ts:\d+:\d+$/);
    const people = await headwater(["replay", "weights"], { cwd });
    expect(people.code).toBe(1);
    expect(people.stdout).toContain(`first      ${first.address} at stage weigh`);
  });

  it("compares what descends from one source alone", async () => {
    const text = `import { pipeline } from "headwater";
const p = pipeline("weights", { partitions: 2 });
const key = (row) => (row as { n: number }).n % 3;
p.union("both", p.source("in", { key }), p.source("other", { key }))
  .map("weigh", (row) => { const { n } = row as { n: number }; return n === 31 ? Date.now() : n; })
  .sink("out");
export default p;
`;
    writeFileSync(join(cwd, "p.ts"), text);
    const rows = (from: number, to: number) =>
      Array.from({ length: to - from }, (_, at) => `${JSON.stringify({ n: from + at })}\n`).join("");
    writeFileSync(join(cwd, "in.jsonl"), rows(0, 30));
    writeFileSync(join(cwd, "other.jsonl"), rows(30, 50));
    const ended = await headwater(["run", "p.ts", "--input", "in=in.jsonl", "--input", "other=other.jsonl"], {
      cwd,
    });
    expect(ended.code, ended.stderr).toBe(0);
    const clean = await replay("--source", "in");
    expect(clean.report).toMatchObject({ records: 30, steps: 60, matched: 60, diverged: 0 });
    const diverged = await replay("--source", "other");
    expect(diverged.report).toMatchObject({ records: 20, steps: 40, matched: 39, diverged: 1 });
    expect((await replay()).report).toMatchObject({ records: 50, steps: 100, diverged: 1 });
    // So do the differences of another version: of 10, which is from "in", and of 40, which is not.
    writeFileSync(join(cwd, "q.ts"), text.replace("n === 31 ? Date.now() : n", "n % 30 === 10 ? -n : n"));
    for (const [source, same] of [
      ["in", 29],
      ["other", 18],
    ] as const) {
      const { report } = await replay("--what-if", "q.ts", "--source", source);
      // What 31 was then it never is again.
      const changed = source === "in" ? 1 : 2;
      expect(report).toMatchObject({ only: { source }, records: same + changed });
      expect(report.diff).toMatchObject({ same, changed, added: 0, gone: 0 });
    }
    const unknown = await headwater(["replay", "weights", "--source", "none", "--json"], { cwd });
    expect(jsonError(unknown)).toMatchObject({ code: "UnknownSource", hint: "It has: in, other." });
  });

  it("tells a program how far it is", async () => {
    define("return n");
    await run(0, 200);
    const told: ReplayProgress[] = [];
    const log = `lmdb:${join(cwd, ".headwater")}`;
    const report = await replayIn({ log, pipeline: "weights", onProgress: (now) => void told.push(now) });
    expect(report).toMatchObject({ steps: 400, diverged: 0 });
    const shares = told.map(({ share }) => share);
    expect(shares).toEqual([...shares].sort((a, b) => a - b));
    expect(shares.length).toBeGreaterThan(10);
    expect(told.at(-1)).toMatchObject({ steps: 400, units: 1, of: 2 });
    expect(shares.at(-1)).toBeGreaterThan(0.9);
    expect(shares.at(-1)).toBeLessThanOrEqual(1);
  });

  it("says what is wrong with what it is asked", async () => {
    define("return n");
    await run(0, 10);
    for (const [args, code, exit] of [
      [["weights", "--from", "9", "--to", "3"], "BadUsage", 2],
      [["weights", "--to", "5"], "BadUsage", 2],
      [["weights", "--from", "2020-01-01T00:00:00Z"], "BadUsage", 2],
      [["weights", "--from", "yesterday"], "BadUsage", 2],
      [["nothing"], "UnknownPipeline", 2],
    ] as const) {
      const ended = await headwater(["replay", ...args, "--json"], { cwd });
      expect(jsonError(ended)).toMatchObject({ code });
      expect(ended.code, args.join(" ")).toBe(exit);
    }
  });
});

/** A pipeline whose records have event times from 1970. */
const TIMED = `import { pipeline } from "headwater";
const p = pipeline("weights");
p.source("in", { eventTime: (row) => (row as { n: number }).n * 1000 }).map("weigh", (row) => row).sink("out");
export default p;
`;

it("says which times are meant where nothing is recent", async () => {
  writeFileSync(join(cwd, "p.ts"), TIMED);
  await run(0, 10);
  for (const more of [[], ["--what-if", "1", "--full"]]) {
    const old = await headwater(["replay", "weights", "--from", "-2h", ...more, "--json"], { cwd });
    expect(jsonError(old)).toMatchObject({ code: "BadUsage", hint: expect.stringContaining("--log-time") });
    const recent = await headwater(["replay", "weights", "--from", "-2h", "--log-time", ...more, "--json"], {
      cwd,
    });
    expect(JSON.parse(recent.stdout)).toMatchObject({ records: 10 });
  }
  const ahead = await headwater(["replay", "weights", "--from", "2020-01-01T00:00:00Z", "--json"], { cwd });
  expect(jsonError(ahead).hint).not.toContain("--log-time");
});

it("names a window in which nothing is as it was asked for", async () => {
  writeFileSync(join(cwd, "p.ts"), TIMED);
  await run(0, 10);
  const nothing = "there is nothing in the window";
  const reversed = "the window ends before it begins";
  const late = "2030-01-01T00:00:00Z";
  for (const [args, message, where] of [
    [["--from", late], nothing, "event time 2030-01-01T00:00:00.000Z to the end"],
    [["--from", late, "--log-time"], nothing, "log time 2030-01-01T00:00:00.000Z to the end"],
    [["--from", "9007199254740000"], nothing, "ordinal 9007199254740000 to the end"],
    [["--from", late, "--to", "7"], nothing, "event time 2030-01-01T00:00:00.000Z to ordinal 7"],
    [["--to", "5"], nothing, "ordinals 0 to 5"],
    [["--from", "9", "--to", "3"], reversed, "ordinal 9 to ordinal 3"],
  ] as const) {
    for (const more of [[], ["--what-if", "1"]]) {
      const ended = await headwater(["replay", "weights", ...args, ...more, "--json"], { cwd });
      expect([ended.code, jsonError(ended)], args.join(" ")).toMatchObject([2, { message, where }]);
    }
  }
});

it("tells a program what is wrong with what it asks", async () => {
  define("return n");
  await run(0, 10);
  const of = { log: `lmdb:${join(cwd, ".headwater")}`, pipeline: "weights" };
  const points = ["2015-09-12T12:00:00Z", { foo: 1 }, { ordinal: "7" }, { eventTime: 0.5 }, null];
  for (const point of points as never[]) {
    for (const end of ["from", "to"]) {
      const bad = { code: "BadUsage", where: end, hint: expect.stringContaining("{ eventTime }") };
      await expect(replayIn({ ...of, [end]: point })).rejects.toMatchObject(bad);
      await expect(whatIf({ ...of, whatIf: "1", [end]: point })).rejects.toMatchObject(bad);
    }
  }
  for (const at of [undefined, ...points] as never[]) {
    await expect(openAt({ ...of, at })).rejects.toMatchObject({ code: "BadUsage", where: "at" });
  }
  for (const more of [{}, { parameters: new Map() }]) {
    await expect(whatIf({ ...of, ...more })).rejects.toMatchObject({
      code: "BadUsage",
      message: expect.stringContaining("no other code"),
    });
  }
});

describe("headwater audit --reexecute", () => {
  async function audited(...args: readonly string[]) {
    const ended = await headwater(["audit", "--json", ...args], { cwd });
    const checks: { readonly name: string }[] = JSON.parse(ended.stdout).checks;
    return { code: ended.code, check: checks.find(({ name }) => name === "reexecution") };
  }

  it("runs the same sample again each time, and says how sure that makes it", async () => {
    define("return n");
    await run(0, 300);
    define("return 2 * n");
    await run(300, 500);
    const sample = await audited("--reexecute", "0.3");
    expect(sample.code).toBe(0);
    expect(sample.check).toMatchObject({ ok: true, failed: 0, unverifiable: 0 });
    const { checked, assurance } = sample.check as never as { checked: number; assurance: { share: number } };
    expect(checked).toBeGreaterThan(100);
    expect(checked).toBeLessThan(200);
    expect(assurance).toEqual({
      confidence: 0.99,
      share: expect.closeTo(0.01 ** (1 / checked), 12),
      of: 500,
    });
    expect(await audited("--reexecute", "0.3")).toEqual(sample);
    // Of other samples hardly all have as many inputs as this one.
    const others: unknown[] = [];
    for (const seed of ["a", "b", "c", "d"]) {
      const other = await audited("--reexecute", "0.3", "--seed", seed);
      expect(other.code).toBe(0);
      others.push(other.check);
    }
    expect(others.some((check) => JSON.stringify(check) !== JSON.stringify(sample.check))).toBe(true);
    expect((await audited("--reexecute", "1")).check).toMatchObject({
      checked: 500,
      assurance: { share: 1 },
    });
    const people = await headwater(["audit", "--reexecute", "0.3"], { cwd });
    expect(people.stdout).toMatch(/It is 99 % sure that at least 9\d\.\d+ % of 500 inputs give/);
    const wrong = await headwater(["audit", "--reexecute", "2", "--json"], { cwd });
    expect(jsonError(wrong)).toMatchObject({ code: "BadUsage", where: "--reexecute" });
  });

  it("fails at what gives something else", async () => {
    define("return n === 31 ? Date.now() : n");
    await run(0, 60);
    const { code, check } = await audited("--reexecute", "1");
    expect(code).toBe(1);
    // Its own input, and those behind it whose total has it.
    expect(check).toMatchObject({ ok: false, checked: 60, failed: 10 });
    expect(check).not.toHaveProperty("assurance");
  });

  it("names the stage that differs also where one behind it then asks for what was never asked for", async () => {
    const text = `import { pipeline } from "headwater";
const p = pipeline("weights", { partitions: 1 });
p.source("in")
  .filter("some", (row) => (row as { n: number }).n % 5 !== 2 || !process.argv.includes("run"))
  .map("ask", async (row, ctx) => ctx.effect("look", () => (row as { n: number }).n))
  .sink("out");
export default p;
`;
    writeFileSync(join(cwd, "p.ts"), text);
    await run(0, 40);
    const { code, report } = await replay();
    expect(code).toBe(1);
    expect(report).toMatchObject({
      records: 40,
      diverged: 8 + 8,
      firstDivergence: { address: "steps_weights.some.0000@2", stage: "some", kind: "results" },
      unverifiable: 0,
    });
  });
});
