import { existsSync, mkdirSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { openLog } from "../../src/runtime/compose.ts";
import { acceptedOrdinals } from "../simulation/log-content.ts";
import { headwater, jsonError, projectFile, Workplace } from "./command.ts";
import { clearSound } from "./open-log.ts";
import { Receiver } from "./receiver.ts";

const place = new Workplace();
let cwd: string;

beforeEach(async () => {
  cwd = await place.folder();
});
afterEach(() => clearSound(place));

interface Parts {
  /** The body of a function of the number `n`, and of the context. */
  readonly weigh?: string;
  /** What is between the total and its sink. */
  readonly after?: string;
  readonly partitions?: number;
  readonly key?: string;
  readonly name?: string;
  /** Stages ahead of all others. */
  readonly before?: string;
}

/** Writes a module: numbers are weighed, and added up by three keys. */
function define(file: string, parts: Parts): void {
  const {
    weigh = "return n",
    after = "",
    partitions = 2,
    key = "n % 3",
    name = "weights",
    before = "",
  } = parts;
  const text = `import { pipeline } from "headwater";
const p = pipeline("${name}", { partitions: ${partitions}, batchRecords: 8 });
const weighed = p.source("in", { key: (row) => { const { n } = row as { n: number }; return ${key}; } })
  ${before}
  .map("weigh", async (row, ctx) => { const { n } = row as { n: number }; ${weigh} });
weighed.sink("weighed");
weighed.reduce("total", { init: () => 0, step: (sum, w) => sum + (w as number), emit: (sum, key) => ({ key, sum }) })
  ${after}.sink("out");
export default p;
`;
  writeFileSync(join(cwd, file), text);
}

/** Takes in the numbers from `from` up to `to`. */
async function run(module: string, from: number, to: number, ...args: readonly string[]): Promise<void> {
  const rows = Array.from({ length: to - from }, (_, at) => `${JSON.stringify({ n: from + at })}\n`);
  writeFileSync(join(cwd, "in.jsonl"), rows.join(""));
  const ended = await headwater(["run", module, "--input", "in=in.jsonl", "--batch", "7", ...args], { cwd });
  expect(ended.code, ended.stderr).toBe(0);
}

async function whatIf(...args: readonly string[]) {
  const ended = await headwater(["replay", "weights", "--json", ...args], { cwd });
  expect(ended.code, ended.stderr).toBe(0);
  return JSON.parse(ended.stdout);
}

async function ordinals(): Promise<number[]> {
  const log = await openLog(`lmdb:${join(cwd, ".headwater")}`, { readOnly: true });
  try {
    return await acceptedOrdinals(log, "weights", "in");
  } finally {
    await log.close();
  }
}

/** What a log has in each of its streams but those of forks. */
async function contentOfOriginal(): Promise<ReadonlyMap<string, number>> {
  const log = await openLog(`lmdb:${join(cwd, ".headwater")}`, { readOnly: true });
  try {
    const streams = new Map<string, number>();
    for await (const { stream, lastRevision } of log.streams()) {
      if (!stream.includes("~") && !stream.startsWith("code_")) streams.set(stream, lastRevision);
    }
    return streams;
  } finally {
    await log.close();
  }
}

const jsonLines = (file: string) =>
  readFileSync(join(cwd, file), "utf8")
    .split("\n")
    .filter((line) => line !== "")
    .map((line) => JSON.parse(line));

describe("headwater replay --what-if", () => {
  it("tells how the outputs of another module differ, record by record, and leaves the pipeline alone", async () => {
    define("p.ts", { weigh: "return n === 31 ? -n : n" });
    await run("p.ts", 0, 100, "--output", "out=out.jsonl");
    const before = await contentOfOriginal();
    define("fixed.ts", {});
    const report = await whatIf(
      "--what-if",
      "fixed.ts",
      "--diff",
      "diff.jsonl",
      "--output",
      "out=fixed.jsonl",
    );
    // The total of 31's key, from 31 on: 31, 34, … 97.
    const changed = 1 + 23;
    expect(report).toMatchObject({
      mode: "what-if",
      pipeline: "weights",
      version: 1,
      records: 100,
      steps: 200,
      reexecuted: 200,
      reused: 0,
      matched: 200 - changed,
      diverged: changed,
      diff: { same: 200 - changed, changed, added: 0, gone: 0 },
    });
    expect(report.diff.sinks).toEqual([
      { sink: "weighed", same: 99, changed: 1, added: 0, gone: 0, fields: { "": 1 } },
      { sink: "out", same: 77, changed: 23, added: 0, gone: 0, fields: { sum: 23 } },
    ]);
    expect(report.diff.stages).toEqual([
      { stage: "weigh", same: 99, changed: 1, added: 0, gone: 0 },
      { stage: "total", same: 77, changed: 23, added: 0, gone: 0 },
    ]);
    const all = jsonLines("diff.jsonl");
    expect(all).toHaveLength(changed);
    expect(all[0]).toMatchObject({ kind: "changed", sink: "weighed", before: -31, after: 31, fields: [""] });
    expect(report.diff.examples[0]).toMatchObject(all[0]);

    // The fork's outputs are those of an ordinary run of the module, and the difference that of both files.
    const asWas = jsonLines("out.jsonl");
    await run("fixed.ts", 0, 100, "--output", "out=ordinary.jsonl", "--log", "lmdb:other");
    const asIs = jsonLines("ordinary.jsonl");
    expect(jsonLines("fixed.jsonl")).toEqual(asIs);
    const apart = asWas.flatMap((was, at) =>
      was.sum === asIs[at].sum ? [] : [{ before: was, after: asIs[at] }],
    );
    expect(all.slice(1).map(({ before: b, after }) => ({ before: b, after }))).toEqual(apart);

    // An address leads to where the record is, in the pipeline.
    const lineage = await headwater(["lineage", all[0].from, "--json"], { cwd });
    expect(lineage.code, lineage.stderr).toBe(0);
    expect(await contentOfOriginal()).toEqual(before);
    const people = await headwater(["replay", "weights", "--what-if", "fixed.ts"], { cwd });
    expect(people.stdout).toContain("outputs    176 same, 24 changed, 0 added, 0 gone");
  });

  it("tells what the other code refuses that was not refused then, by stage, with the first reason", async () => {
    define("p.ts", { weigh: 'if (n === 7) throw new Error("seven"); return n' });
    await run("p.ts", 0, 100);
    const fails =
      'if (n >= 90 || n === 7) throw new Error("no " + n); return n === 50 ? new Date() as never : n';
    define("fails.ts", { weigh: fails });
    const report = await whatIf("--what-if", "fails.ts", "--id", "fails");
    expect(report.newlyRefused).toEqual([
      {
        stage: "weigh",
        records: 11,
        first: {
          address: "source_weights.in@50",
          code: "NotCanonical",
          message: expect.stringContaining("Date"),
        },
      },
    ]);
    expect(report.diff.sinks[0]).toMatchObject({ sink: "weighed", same: 88, gone: 11 });
    const { stdout } = await headwater(["replay", "show", "fails"], { cwd });
    expect(stdout).toContain(
      "refused    11 records that were not refused then: headwater quarantine list weights~fails",
    );
    expect(stdout).toContain(`  stage weigh: 11, the first is of source_weights.in@50: `);
    // The totals of the other keys are those of then.
    const key = await whatIf("--what-if", "fails.ts", "--key", "0");
    expect(key.newlyRefused).toMatchObject([{ stage: "weigh", records: 4 }]);
    // What was refused then is nothing new, and what is taken as it was recorded is not run.
    const total = "emit: (sum, key) => ({ key, sum: -sum })";
    writeFileSync(
      join(cwd, "same.ts"),
      readFileSync(join(cwd, "p.ts"), "utf8").replace("emit: (sum, key) => ({ key, sum })", total),
    );
    for (const more of [[], ["--full"]]) {
      const same = await whatIf("--what-if", "same.ts", ...more);
      expect(same.diff.changed).toBe(99);
      expect(same.newlyRefused).toBeNull();
    }
  });

  it("says that windows that are open where it ends are not compared", async () => {
    const module = (result: string) => `import { pipeline, reducer, tumbling } from "headwater";
const p = pipeline("weights", { partitions: 2 });
p.source("in", { key: (r) => (r as { n: number }).n % 2, eventTime: (r) => (r as { n: number }).n * 1000 })
  .window("minutes", tumbling("1m"), {
    aggregate: reducer({ init: () => 0, step: (sum, r) => sum + (r as { n: number }).n, merge: (a, b) => a + b }),
    emit: (sum, { key, start }) => ({ key, start, sum: ${result} }),
  })
  .sink("out");
export default p;
`;
    writeFileSync(join(cwd, "p.ts"), module("sum"));
    await run("p.ts", 0, 100);
    writeFileSync(join(cwd, "q.ts"), module("-sum"));
    const whole = await whatIf("--what-if", "q.ts");
    expect(whole).toMatchObject({ stillOpen: null, diff: { changed: 4 } });
    // The 51st is in the first minute, which is through only with the 61st.
    const to = String((await ordinals())[50]);
    const part = await whatIf("--what-if", "q.ts", "--to", to, "--id", "part");
    expect(part).toMatchObject({ stillOpen: ["minutes"], diff: { same: 0, changed: 0 } });
    const { stdout } = await headwater(["replay", "show", "part"], { cwd });
    expect(stdout).toContain(
      `open       minutes: what was open at ordinal ${to} has given nothing yet, and is not compared`,
    );
    await run("p.ts", 100, 120, "--keep-open");
    expect(await whatIf("--what-if", "q.ts")).toMatchObject({ stillOpen: ["minutes"] });
  });

  it("begins in the middle from the state of then, by whatever version had made it", async () => {
    define("p.ts", { weigh: "return 10 * n" });
    await run("p.ts", 0, 60);
    define("p.ts", { weigh: "return 100 * n" });
    await run("p.ts", 60, 100);
    const from = (await ordinals())[80] as number;
    const again = await whatIf("--what-if", "2", "--from", String(from));
    expect(again).toMatchObject({ version: 2, records: 20, steps: 40, diff: { same: 40, changed: 0 } });
    const other = await whatIf("--what-if", "1", "--from", String(from));
    expect(other).toMatchObject({ version: 2, records: 20, diff: { same: 0, changed: 40 } });
    // Totals up to 79 are of both versions, and go on with the first one's weights.
    const expected = [0, 1, 2].map((key) => {
      const upTo = (end: number) => Array.from({ length: end }, (_, n) => n).filter((n) => n % 3 === key);
      return upTo(81).reduce((sum, n) => sum + (n < 60 ? 10 : n < 80 ? 100 : 10) * n, 0);
    });
    const [first] = other.diff.examples.filter(({ sink }: { sink: string }) => sink === "out");
    expect(first.after).toEqual({ key: 80 % 3, sum: expected[80 % 3] });
  });

  it("tells of outputs that come, and that come no more", async () => {
    define("p.ts", { after: '.filter("some", ({ sum }) => sum % 2 === 0)' });
    await run("p.ts", 0, 50);
    define("other.ts", { after: '.filter("some", ({ sum }) => sum % 2 === 1)' });
    const { diff } = await whatIf("--what-if", "other.ts");
    const out = diff.sinks.find(({ sink }: { sink: string }) => sink === "out");
    expect(out.added + out.gone).toBe(50);
    expect(diff.stages.at(-1)).toMatchObject({ stage: "some", same: 0, added: out.added, gone: out.gone });
    expect(diff.stages[1]).toMatchObject({ stage: "total", same: 50 });
  });

  it("serves what effects gave, and calls nothing that it was not told to call", async () => {
    const call = (name: string, times: number) =>
      `const got = await ctx.effect("${name}", () => { require("node:fs").appendFileSync("calls.txt", "${name}\\n"); return n; }); return ${times} * (got as number);`;
    define("p.ts", { weigh: call("look-up", 1) });
    await run("p.ts", 0, 20);
    const calls = () =>
      readFileSync(join(cwd, "calls.txt"), "utf8")
        .split("\n")
        .filter((line) => line !== "");
    expect(calls()).toHaveLength(20);
    define("double.ts", { weigh: call("look-up", 2) });
    const { diff } = await whatIf("--what-if", "double.ts", "--diff", "diff.jsonl");
    expect(diff.sinks[0]).toMatchObject({ sink: "weighed", same: 1, changed: 19 });
    expect(jsonLines("diff.jsonl")[0]).toMatchObject({ before: 1, after: 2 });
    expect(calls()).toHaveLength(20);

    define("new.ts", { weigh: call("ask", 1) });
    const refused = await headwater(["replay", "weights", "--what-if", "new.ts", "--json"], { cwd });
    expect(jsonError(refused)).toMatchObject({
      code: "EffectMissing",
      message: expect.stringContaining("ask"),
    });
    expect(calls()).toHaveLength(20);
    const called = await whatIf("--what-if", "new.ts", "--new-effects", "call");
    expect(called.diff).toMatchObject({ same: 40, changed: 0 });
    expect(calls()).toHaveLength(40);
  });

  it("refuses what cannot be compared, and says why", async () => {
    define("p.ts", {});
    await run("p.ts", 0, 10);
    define("no-stage.ts", {});
    writeFileSync(
      join(cwd, "no-stage.ts"),
      readFileSync(join(cwd, "no-stage.ts"), "utf8").replace('"weigh"', '"way"'),
    );
    define("partitions.ts", { partitions: 3 });
    define("key.ts", { key: "n % 2" });
    define("name.ts", { name: "others" });
    define("segment.ts", { after: "" });
    writeFileSync(
      join(cwd, "segment.ts"),
      readFileSync(join(cwd, "segment.ts"), "utf8").replace(
        "weighed.reduce(",
        'weighed.keyBy("by", (w) => (w as number) % 3).reduce(',
      ),
    );
    writeFileSync(
      join(cwd, "kind.ts"),
      readFileSync(join(cwd, "p.ts"), "utf8").replace('.map("weigh", async', '.filter("weigh", '),
    );
    const last = (await ordinals()).at(-1) as number;
    for (const [args, code, text] of [
      [["--what-if", "no-stage.ts"], "IncompatibleDeployment", "no stage weigh"],
      [["--what-if", "kind.ts"], "IncompatibleDeployment", "is a filter, and was a map"],
      [["--what-if", "p.ts", "--source", "none"], "UnknownSource", "no source"],
      [["--source", "none"], "UnknownSource", "no source"],
      [["--from", "9", "--to", "3"], "BadUsage", "ends before it begins"],
      [["--from", String(last + 5)], "BadUsage", "nothing in the window"],
      [["--what-if", "nowhere.ts"], "BadPipeline", "no such module"],
      [["--what-if", "partitions.ts"], "IncompatibleDeployment", "2 partitions"],
      [["--what-if", "key.ts"], "IncompatibleDeployment", "another key"],
      [["--what-if", "name.ts"], "IncompatibleDeployment", "defines the pipeline others"],
      [["--what-if", "segment.ts", "--from", String(last)], "IncompatibleDeployment", "had its state with"],
      [["--what-if", "7"], "BadUsage", "no version 7"],
      [["--what-if", "p.ts", "--id", "A"], "BadName", "a replay can have"],
      [["--what-if", "p.ts", "--from", String(last + 5)], "BadUsage", "nothing in the window"],
      [["--what-if", "p.ts", "--from", "9", "--to", "3"], "BadUsage", "ends before it begins"],
      [["--what-if", "p.ts", "--output", "nowhere=x.jsonl"], "UnknownSink", "nowhere"],
      [["--set", "weigh.none=1"], "BadParameter", "has no parameters"],
      [["--diff", "x.jsonl"], "BadUsage", "nothing to compare with"],
      [["--new-effects", "call"], "BadUsage", "nothing to compare with"],
      [["--new-effects", "refuse"], "BadUsage", "nothing to compare with"],
    ] as const) {
      const ended = await headwater(["replay", "weights", ...args, "--json"], { cwd });
      const error = jsonError(ended);
      expect(error, args.join(" ")).toMatchObject({ code, message: expect.stringContaining(text) });
      expect(ended.code).toBe(2);
    }
    await whatIf("--what-if", "p.ts", "--id", "mine");
    const again = await headwater(["replay", "weights", "--what-if", "p.ts", "--id", "mine", "--json"], {
      cwd,
    });
    expect(again.code).toBe(2);
    expect(jsonError(again)).toMatchObject({ code: "BadUsage", where: "mine, pipeline weights" });
  });

  it("hands what another version gives to a receiver", async () => {
    define("p.ts", {});
    await run("p.ts", 0, 50);
    define("double.ts", { weigh: "return 2 * n" });
    const receiver = await Receiver.start((batch) => (batch === 1 ? 503 : 200));
    try {
      await whatIf("--what-if", "double.ts", "--output", `weighed=${receiver.url}`);
      expect(receiver.lines.map((line) => JSON.parse(line))).toEqual(
        Array.from({ length: 50 }, (_, n) => 2 * n),
      );
    } finally {
      await receiver.stop();
    }
  });

  it("runs beside others, and beside the pipeline", async () => {
    define("p.ts", {});
    await run("p.ts", 0, 200);
    define("double.ts", { weigh: "return 2 * n" });
    define("half.ts", { weigh: "return n / 2" });
    const [one, other] = await Promise.all([
      whatIf("--what-if", "double.ts", "--id", "one", "--to", String((await ordinals()).at(-1))),
      whatIf("--what-if", "half.ts", "--id", "other", "--to", String((await ordinals()).at(-1))),
      run("p.ts", 200, 300),
    ]);
    for (const report of [one, other]) {
      // 0 is 0 anyway, and the first total of its key.
      expect(report.diff).toMatchObject({ same: 2, changed: 398, added: 0, gone: 0 });
    }
    const list = await replays("list");
    expect(list.map(({ id, status }: { id: string; status: string }) => [id, status])).toEqual([
      ["one", "done"],
      ["other", "done"],
    ]);
  });

  it("runs no code that is not what was deployed", async () => {
    define("p.ts", { weigh: 'return n + "first".length' });
    await run("p.ts", 0, 10);
    const file = join(cwd, ".headwater", "data.mdb");
    const data = readFileSync(file);
    const at = data.indexOf('"first".length');
    expect(at).toBeGreaterThan(0);
    for (let place = at; place >= 0; place = data.indexOf('"first".length', place))
      data.write('"worse"', place);
    writeFileSync(file, data);
    for (const args of [[], ["--what-if", "1"], ["--set", "weigh.none=1"]]) {
      const ended = await headwater(["replay", "weights", ...args, "--json"], { cwd });
      expect(jsonError(ended)).toMatchObject({
        code: "LogDamaged",
        where: expect.stringMatching(/^code_/),
        hint: expect.stringContaining("headwater audit"),
      });
      expect(ended.code).toBe(3);
    }
    await place.clear();
  });

  it("runs again only what the change can have an effect on, and says how much that was", async () => {
    const chain = (late: string, module: string) => `import { parameter, pipeline } from "headwater";
import { z } from ${JSON.stringify(projectFile("node_modules/zod/index.js"))};
const scale = ${module};
const p = pipeline("weights", { partitions: 2 });
p.source("in", { key: (row) => (row as { n: number }).n % 3 })
  .map("double", (row) => 2 * (row as { n: number }).n)
  .keyBy("by", (n) => n % 5)
  .map("scaled", (n) => n * scale)
  .keyBy("again", (n) => n % 7)
  .map("late", (n, ctx) => ${late}, { parameters: { more: parameter(z.number(), 1) } })
  .sink("out");
export default p;
`;
    writeFileSync(join(cwd, "p.ts"), chain("n + ctx.parameters.more", "10"));
    await run("p.ts", 0, 100);
    const same = await whatIf("--what-if", "p.ts");
    expect(same).toMatchObject({ steps: 500, reexecuted: 0, reused: 500, diff: { same: 100, changed: 0 } });
    // Parameters alone: the code is the same, and only the stage that has them is run.
    const set = await whatIf("--set", "late.more=2", "--diff", "set.jsonl");
    expect(set).toMatchObject({ reexecuted: 100, reused: 400, diff: { same: 0, changed: 100 } });
    expect(set.diff.stages.map(({ changed }: { changed: number }) => changed)).toEqual([0, 0, 0, 0, 100]);
    // Lineage goes from the replay's records back into what was recorded.
    const address = `steps_weights~${set.id}.late.0000@0.0`;
    const lineage = await headwater(["lineage", address], { cwd });
    expect(lineage.code, lineage.stderr).toBe(0);
    for (const part of [`${address}/late`, "steps_weights.scaled.", "source_weights.in@"]) {
      expect(lineage.stdout).toContain(part);
    }
    // Another module: what refers to something of its module is run, and all behind it.
    writeFileSync(join(cwd, "other.ts"), chain("n + ctx.parameters.more", "10 + 0"));
    const other = await whatIf("--what-if", "other.ts");
    expect(other).toMatchObject({ reexecuted: 300, reused: 200, diff: { same: 100, changed: 0 } });
    const full = await whatIf("--set", "late.more=2", "--full", "--diff", "full.jsonl");
    expect(full).toMatchObject({ reexecuted: 500, reused: 0, diff: set.diff });
    expect(readFileSync(join(cwd, "full.jsonl"), "utf8")).toBe(readFileSync(join(cwd, "set.jsonl"), "utf8"));
    const audit = await headwater(["audit", "--json"], { cwd });
    expect(JSON.parse(audit.stdout)).toMatchObject({ ok: true });
  });

  it("is one of two that are begun at once under one id", async () => {
    define("p.ts", { weigh: "return 3 * n" });
    await run("p.ts", 0, 100);
    define("other.ts", {});
    const ask = ["replay", "weights", "--what-if", "other.ts", "--id", "one", "--json"];
    const ended = await Promise.all([headwater(ask, { cwd }), headwater([...ask, "--full"], { cwd })]);
    const codes = ended.map(({ code }) => code);
    expect(codes.toSorted(), JSON.stringify(ended)).toEqual([0, 2]);
    const refused = ended[codes.indexOf(2)] as (typeof ended)[number];
    expect(jsonError(refused)).toMatchObject({
      code: "BadUsage",
      message: expect.stringMatching(/id is there already/),
    });
  });

  it("leaves a log that is clean, and counts of its own records", async () => {
    define("p.ts", { weigh: "return 3 * n" });
    await run("p.ts", 0, 60);
    const audited = async () => {
      const { ok, checks } = JSON.parse((await headwater(["audit", "weights", "--json"], { cwd })).stdout);
      const { counts } = checks.find(({ name }: { name: string }) => name === "conservation");
      return { ok, counts };
    };
    const before = await audited();
    expect(before).toMatchObject({ ok: true, counts: { accepted: 60 } });
    define("other.ts", {});
    await whatIf("--what-if", "other.ts");
    const from = (await ordinals())[20] as number;
    await whatIf("--what-if", "other.ts", "--from", String(from), "--to", String(from + 1_000_000_000));
    await whatIf("--what-if", "other.ts", "--from", String(from), "--output", "out=o.jsonl");
    expect(await audited()).toEqual(before);
    for (const { id } of await replays("list")) {
      const ended = await headwater(["audit", `weights~${id}`, "--json"], { cwd });
      const { ok, checks } = JSON.parse(ended.stdout);
      expect({ id, ok }).toEqual({ id, ok: true });
      for (const name of ["continuity", "payload", "conservation"]) {
        const check = checks.find((one: { name: string }) => one.name === name);
        expect({ id, ...check }).toMatchObject({ id, name, unverifiable: 0 });
        if (name !== "payload") expect(check.checked).toBeGreaterThan(0);
      }
    }
  });

  it.each([
    ["claim:after:2", "interrupted"],
    ["steps:before:2", "interrupted"],
    ["steps:between:1", "interrupted"],
    ["steps:after:1", "interrupted"],
    // Snapshots are left at the end: by then it is through.
    ["snapshot:after:1", "done"],
  ])("goes on where it was killed (%s), and comes to the same", async (point, status) => {
    define("p.ts", { weigh: "return n === 31 ? -n : n" });
    await run("p.ts", 0, 150);
    define("fixed.ts", {});
    const whole = await whatIf("--what-if", "fixed.ts", "--id", "whole", "--diff", "whole.jsonl");
    const asked = ["--what-if", "fixed.ts", "--id", "part", "--diff", "remembered.jsonl"];
    const killed = await headwater(["replay", "weights", ...asked], {
      cwd,
      env: { HEADWATER_FAIL_AT: point },
    });
    expect(killed.signal).toBe("SIGKILL");
    const listed = await replays("list");
    expect(listed.map((one: { id: string; status: string }) => [one.id, one.status])).toEqual([
      ["part", status],
      ["whole", "done"],
    ]);
    const report = await replays("resume", "part", "--diff", "part.jsonl", "--output", "out=out.jsonl");
    expect(report.diff).toMatchObject({
      same: whole.diff.same,
      changed: whole.diff.changed,
      added: 0,
      gone: 0,
    });
    expect(readFileSync(join(cwd, "part.jsonl"), "utf8")).toBe(
      readFileSync(join(cwd, "whole.jsonl"), "utf8"),
    );
    expect(jsonLines("out.jsonl")).toHaveLength(150);
    // It knows the file that it was told to write when it was begun; only looking at it writes nothing.
    await replays("show", "part");
    expect(existsSync(join(cwd, "remembered.jsonl"))).toBe(false);
    const elsewhere = join(cwd, "elsewhere");
    mkdirSync(elsewhere);
    const again = await headwater(
      ["replay", "resume", "part", "--log", `lmdb:${join(cwd, ".headwater")}`, "--json"],
      { cwd: elsewhere },
    );
    expect(again.code, again.stderr).toBe(0);
    expect(readFileSync(join(cwd, "remembered.jsonl"), "utf8")).toBe(
      readFileSync(join(cwd, "whole.jsonl"), "utf8"),
    );
    const { seconds: _, ...found } = report;
    expect(await replays("show", "part")).toMatchObject({
      status: "done",
      records: 150,
      of: 150,
      report: found,
    });
  });

  it("stands still, goes on and ends when another process asks for it, at the rate that it is given", async () => {
    define("p.ts", {});
    await run("p.ts", 0, 400);
    const asked = place.start(
      ["replay", "weights", "--what-if", "1", "--id", "slow", "--rate", "40", "--full", "--json"],
      {
        cwd,
      },
    );
    await until(async () => (await replays("list"))[0]?.status === "running");
    const again = await headwater(["replay", "resume", "slow", "--json"], { cwd });
    expect(jsonError(again)).toMatchObject({
      code: "BadUsage",
      message: expect.stringMatching(/^process \d+ on/),
      hint: "Pause it there first: headwater replay pause weights~slow.",
    });
    await replays("pause", "slow");
    const paused = await asked.ended;
    expect(jsonError(paused)).toMatchObject({
      code: "Stopped",
      message: "the replay was asked to pause",
      hint: expect.stringMatching(
        /^Go on with it: headwater replay resume weights~slow\. Until then, but 3 days at most, /,
      ),
    });
    const [still] = await replays("list");
    expect(still).toMatchObject({ id: "slow", status: "paused", of: 400 });
    expect(still.records).toBeLessThan(400);
    const report = await replays("resume", "slow");
    expect(report).toMatchObject({ records: 400, steps: 800, diff: { same: 800 } });

    await whatIf("--what-if", "1", "--id", "other");
    // One that is done is done, whatever is asked of it.
    const done = await replays("stop", "other");
    expect(done.status).toBe("done");
    expect(await replays("resume", "other")).toMatchObject({ records: 400, diff: { same: 800 } });
    expect((await replays("list")).map(({ status }: { status: string }) => status)).toEqual(["done", "done"]);

    const ended = place.start(
      ["replay", "weights", "--what-if", "1", "--id", "third", "--rate", "40", "--full", "--json"],
      { cwd },
    );
    await until(async () => (await replays("list")).at(-1)?.status === "running");
    await replays("stop", "third");
    expect(jsonError(await ended.ended)).toMatchObject({
      message: "the replay was asked to stop",
      hint: "It is ended for good. Begin another one, with another id.",
    });
    // What is ended for good cannot be made to stand still, so that it could be gone on with.
    expect(await replays("pause", "third")).toMatchObject({ status: "stopped" });
    const stopped = await headwater(["replay", "resume", "third", "--json"], { cwd });
    expect(jsonError(stopped)).toMatchObject({ code: "BadUsage", message: "it was stopped for good" });
    const unknown = await headwater(["replay", "show", "nothing", "--json"], { cwd });
    expect(jsonError(unknown)).toMatchObject({ code: "BadUsage", where: "nothing" });
  });
});

async function replays(...args: readonly string[]) {
  const ended = await headwater(["replay", ...args, "--json"], { cwd });
  expect(ended.code, ended.stderr).toBe(0);
  return JSON.parse(ended.stdout);
}

async function until(holds: () => Promise<boolean>): Promise<void> {
  while (!(await holds())) await new Promise((resolve) => setTimeout(resolve, 100));
}
