import { readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { headwater, jsonError, projectFile, Workplace } from "./command.ts";
import { clearSound, inspectLog, keptEffects, quarantinedRecords } from "./open-log.ts";

const place = new Workplace();
let cwd: string;

beforeEach(async () => {
  cwd = await place.folder();
});
afterEach(() => clearSound(place));

function write(name: string, content: string): void {
  writeFileSync(join(cwd, name), content);
}

function read(name: string): string[] {
  return readFileSync(join(cwd, name), "utf8").trim().split("\n");
}

const lines = (records: readonly unknown[]) =>
  records.map((record) => `${JSON.stringify(record)}\n`).join("");
const log = () => join(cwd, ".headwater");
const run = (args: readonly string[], env: Readonly<Record<string, string>> = {}) =>
  headwater(["run", ...args], { cwd, env });

describe("functions that do what they may not", () => {
  const MISUSED: readonly (readonly [string, string, string, RegExp, string?])[] = [
    ["throw-text", "outside", "StageFailed", /^a text was thrown, not an Error: only a text$/],
    ["throw-nothing", "outside", "StageFailed", /^undefined was thrown, not an Error: undefined$/],
    ["nameless", "outside", "BadEffect", /^an effect has no name$/, "stage outside"],
    ["twice", "outside", "BadEffect", /^the effect same is used twice by one record$/, "stage outside"],
    [
      "date",
      "outside",
      "EffectFailed",
      /^the effect clock failed: its result cannot be kept: .*Date.*toISOString/,
      "effect clock, $.read[0].at",
    ],
    ["late", "outside", "EffectTimedOut", /^the effect silent had no answer within 50 ms$/, "effect silent"],
    [
      "options",
      "outside",
      "BadEffect",
      /^an effect has no option "timout"; this is in the stage's code, and not in the record$/,
      "stage outside, effect hurried",
    ],
    ["step", "steps", "StageFailed", /^a reduce's step answered a promise; it has to answer at once$/],
    ["predicate", "parts", "StageFailed", /^a predicate answered a promise; it has to answer at once$/],
    ["key", "keys", "StageFailed", /^a key function answered a promise; it has to answer at once$/],
    ["aggregate", "totals", "StageFailed", /^an aggregate's step answered a promise; it has to answer/],
    ["window", "windows", "StageFailed", /^a window's emit answered a promise; it has to answer at once$/],
    ["join", "pairs", "StageFailed", /^a join answered a promise; it has to answer at once$/],
  ];

  /** Firings are inputs, too: there an input's N is not the record's. */
  const TIMED = ["totals", "windows", "pairs"];

  // A run tells of the first ten of what is quarantined.
  it.each([
    ["in effects and in what they throw", MISUSED.filter(([, stage]) => stage === "outside")],
    ["in promises", MISUSED.filter(([, stage]) => stage !== "outside")],
  ])("are named, record by record, and the rest goes on: %s", async (_what, misused) => {
    const deeds = ["nothing", ...misused.map(([does]) => does), "nothing"];
    write("deeds.jsonl", lines(deeds.map((does, n) => ({ n, does, at: n * 5_000 }))));
    const args = [projectFile("test/e2e/fixtures/misused.ts"), "--input", "deeds=deeds.jsonl"];
    const ended = await run([...args, "--output", "done=out.jsonl", "--strict"]);
    expect(ended.code, ended.stderr).toBe(1);
    const kept = new Map<string, Awaited<ReturnType<typeof quarantinedRecords>>>();
    for (const [at, [does, stage, code, message, where]] of misused.entries()) {
      if (!kept.has(stage)) kept.set(stage, await quarantinedRecords(log(), `misused.${stage}.0000`));
      const record = kept.get(stage)?.find(({ n }) => TIMED.includes(stage) || n === at + 1);
      expect(record, does).toMatchObject({ stage, code });
      expect(record?.message).toMatch(message);
      expect(record?.where).toBe(where);
      expect(ended.stderr).toContain(`headwater: quarantined in ${stage}: ${record?.message}`);
    }
    const lost = misused.filter(([, stage]) => stage === "outside").length;
    expect(read("out.jsonl")).toHaveLength(deeds.length - lost);
  });

  it("stop a pipeline whose policy is to fail, with exit 3, and it goes on when they are mended", async () => {
    const stage = (name: string) => `
      import { pipeline } from "headwater";
      const p = pipeline("strict", { partitions: 1 });
      p.source("in")
        .map("asked", async (r, ctx) => ({ ...r, b: await ctx.effect(${name}, () => r.a * 2) }), { onError: "fail" })
        .sink("out");
      export default p;`;
    write("pipeline.ts", stage('""'));
    write("in.jsonl", lines([{ a: 1 }, { a: 2 }]));
    const args = ["pipeline.ts", "--input", "in=in.jsonl", "--output", "out=out.jsonl"];
    const failed = await run([...args, "--json"]);
    expect(failed).toMatchObject({ code: 3, stdout: "" });
    expect(jsonError(failed)).toMatchObject({ code: "StageFailed", message: "an effect has no name" });
    expect(jsonError(failed).where).toBe("stage asked, record source_strict.in@0, input 0");
    write("pipeline.ts", stage('"double"'));
    const mended = await run(args);
    expect(mended.code, mended.stderr).toBe(0);
    expect(read("out.jsonl")).toEqual(['{"a":1,"b":2}', '{"a":2,"b":4}']);
  });

  it.each([
    ['map("m", (r) => r, { onError: "later" })', /onError is no policy/],
    ['map("m", (r) => r, { onError: { retry: { times: 0 } } })', /retry\.times has to be a whole number/],
    ['keyBy("m", (r) => r.a, { onError: { retry: { times: 1 } } })', /a keyBy cannot be tried again/],
  ])("are refused where the pipeline is defined: %s", async (stage, message) => {
    write(
      "pipeline.ts",
      `import { pipeline } from "headwater";
      const p = pipeline("bad");
      p.source("in").${stage}.sink("out");
      export default p;`,
    );
    const refused = await run(["pipeline.ts", "--json"]);
    expect(refused).toMatchObject({ code: 2, stdout: "" });
    expect(jsonError(refused)).toMatchObject({ code: "BadPipeline", where: "stage m" });
    expect(jsonError(refused).message).toMatch(message);
  });
});

/** Asks a service that fails each record's first call; each call leaves a line in a file. */
const ASKING = `
import { appendFileSync } from "node:fs";
import { pipeline } from "headwater";
const p = pipeline("asking", { partitions: 2 });
const failed = new Set();
p.source("in", { key: (r) => r.a % 5 })
  .map("asked", async (r, ctx) => {
    const price = await ctx.effect("price", async ({ key }) => {
      appendFileSync("calls.txt", "price " + key + "\\n");
      await new Promise((resolve) => setTimeout(resolve, r.a % 4));
      if (r.a % 3 === 0 && !failed.has(key)) {
        failed.add(key);
        throw new Error("not yet");
      }
      return r.a * 10;
    }, { retry: { times: 2, backoff: 1 } });
    return { ...r, price, seen: await ctx.effect("seen", () => "seen " + price) };
  }, { onError: { retry: { times: 1, backoff: 1 } } })
  .reduce("sums", { init: () => 0, step: (sum, r) => sum + r.price, emit: (sum, key, r) => ({ ...r, sum }) })
  .sink("out");
export default p;
`;

describe("effects of a run that is killed", () => {
  const RECORDS = Array.from({ length: 60 }, (_, a) => ({ a }));
  const ARGS = ["pipeline.ts", "--input", "in=in.jsonl", "--output", "out=out.jsonl", "--batch", "8"];

  function expected(): string[] {
    const sums = new Map<number, number>();
    return RECORDS.map(({ a }) => {
      const sum = (sums.get(a % 5) ?? 0) + a * 10;
      sums.set(a % 5, sum);
      return JSON.stringify({ a, price: a * 10, seen: `seen ${a * 10}`, sum });
    });
  }

  const sorted = (line: string) => {
    const { a, price, seen, sum } = JSON.parse(line);
    return JSON.stringify({ a, price, seen, sum });
  };

  it.each([
    ["after an append of effects", ["effects:after:1", "effects:after:2", "effects:after:5"]],
    ["before one", ["effects:before:1", "effects:before:4"]],
    ["between effects and the step event", ["steps:before:1", "steps:before:1", "steps:before:3"]],
    ["in the step event's appends", ["steps:between:1", "steps:after:2"]],
  ])("%s are not called again once they are kept, and come to the same", async (_what, points) => {
    write("pipeline.ts", ASKING);
    write("in.jsonl", lines(RECORDS));
    /** How many calls of each key there were when its value was kept: none may follow. */
    const callsWhenKept = new Map<string, number>();
    const calls = () => {
      const count = new Map<string, number>();
      for (const line of read("calls.txt")) {
        const key = line.split(" ")[1] ?? "";
        count.set(key, (count.get(key) ?? 0) + 1);
      }
      return count;
    };
    const note = async () => {
      const count = calls();
      for (const { key, kind, name } of await keptEffects(log())) {
        if (name === "price" && kind === "value" && !callsWhenKept.has(key)) {
          callsWhenKept.set(key, count.get(key) ?? 0);
        }
      }
    };
    for (const point of points) {
      const killed = await run(ARGS, { HEADWATER_FAIL_AT: point });
      expect(killed.signal, `${point}: ${killed.stderr}`).toBe("SIGKILL");
      await note();
    }
    const ended = await run(ARGS);
    expect(ended.code, ended.stderr).toBe(0);
    await note();
    expect(callsWhenKept.size).toBe(RECORDS.length);
    expect(calls()).toEqual(callsWhenKept);
    expect(read("out.jsonl").map(sorted)).toEqual(expected());
    await inspectLog(log(), "asking");

    // What looks into the state runs it again, and calls nothing.
    const state = (...at: readonly string[]) =>
      headwater(["state", "asking", "sums", ...at, "--json"], { cwd });
    const { ordinal } = JSON.parse((await state()).stdout) as { readonly ordinal: number };
    const before = await state("--at", String(ordinal - 1));
    expect(before.code, before.stderr).toBe(0);
    expect(calls()).toEqual(callsWhenKept);
  });
});
