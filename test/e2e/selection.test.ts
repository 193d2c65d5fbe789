import { readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { headwater, jsonError, Workplace } from "./command.ts";
import { clearSound } from "./open-log.ts";

const place = new Workplace();
let cwd: string;

beforeEach(async () => {
  cwd = await place.folder();
});
afterEach(() => clearSound(place));

const COUNT = 120;
const numbers = Array.from({ length: COUNT }, (_, n) => n);

/**
 * Numbers are weighed; the weights are added up by three keys of the source, and by ten others of a keyBy. `weigh` is the
 * body of a function of `n`.
 */
function define(file: string, weigh: string): void {
  const text = `import { pipeline } from "headwater";
const p = pipeline("weights", { partitions: 2, batchRecords: 8 });
const weighed = p.source("in", { key: (row) => "k" + (row as { n: number }).n % 3, id: (row) => "r" + (row as { n: number }).n })
  .map("weigh", (row) => { const { n } = row as { n: number }; ${weigh} });
weighed.sink("weighed");
weighed.reduce("total", { init: () => 0, step: (sum, { w }) => sum + w, emit: (sum, key) => ({ key, sum }) }).sink("out");
weighed.keyBy("by-ten", ({ n }) => n % 10)
  .reduce("tens", { init: () => 0, step: (sum, { w }) => sum + w, emit: (sum, key) => ({ key, sum }) }).sink("tens");
export default p;
`;
  writeFileSync(join(cwd, file), text);
}

async function run(module: string): Promise<void> {
  writeFileSync(join(cwd, "in.jsonl"), numbers.map((n) => `${JSON.stringify({ n })}\n`).join(""));
  const ended = await headwater(["run", module, "--input", "in=in.jsonl", "--batch", "7"], { cwd });
  expect(ended.code, ended.stderr).toBe(0);
}

async function replay(...args: readonly string[]) {
  const ended = await headwater(["replay", "weights", "--json", ...args], { cwd });
  expect([0, 1], ended.stderr).toContain(ended.code);
  return { code: ended.code, report: JSON.parse(ended.stdout) };
}

async function refused(...args: readonly string[]) {
  const ended = await headwater(["replay", "weights", "--json", ...args], { cwd });
  return { exit: ended.code, ...jsonError(ended) };
}

const sinksOf = (report: { diff: { sinks: { sink: string }[] } }) =>
  Object.fromEntries(report.diff.sinks.map(({ sink, ...counts }) => [sink, counts]));

const counts = (same: number, changed: number, fields = {}) => ({ same, changed, added: 0, gone: 0, fields });

/** How many of the numbers satisfy something. */
const many = (is: (n: number) => boolean) => numbers.filter(is).length;

describe("headwater replay --key", () => {
  it("compares the records of one key, and what comes of them", async () => {
    define("p.ts", "return { n, w: n === 31 ? Date.now() : n }");
    await run("p.ts");
    // Of each record of the key a step of three stages (weigh, total, byTen), and what it goes into by ten other keys:
    // from its first record on, all totals of such a key have it in them.
    const tens = many((n) => numbers.some((m) => m % 3 === 0 && m <= n && m % 10 === n % 10));
    const clean = await replay("--key", "k0");
    const steps = 40 * 3 + tens;
    expect(clean.report).toMatchObject({ records: 40, only: { key: "k0" } });
    expect(clean).toMatchObject({ code: 0, report: { steps, matched: steps, diverged: 0 } });
    const other = await replay("--key", "k1");
    expect(other.code).toBe(1);
    expect(other.report.firstDivergence).toMatchObject({ stage: "weigh" });
    // 31 itself, and the totals of its key from there on.
    expect(other.report.diverged).toBe(1 + many((n) => n % 3 === 1 && n >= 31));

    // By the keyed stage: numbers that are read as such.
    const seven = await replay("--key", "7", "--stage", "tens");
    expect(seven.code).toBe(0);
    // 7, 17, … 117: how they were keyed, and their totals.
    expect(seven.report).toMatchObject({ records: 12, steps: 24, diverged: 0 });
    const one = await replay("--key", "1");
    expect(one.report).toMatchObject({ records: 12, steps: 24 });
  });

  it("tells of one key's differences alone", async () => {
    define("p.ts", "return { n, w: n }");
    await run("p.ts");
    define("q.ts", "return { n, w: n === 30 || n === 31 ? -n : n }");
    const { code, report } = await replay("--what-if", "q.ts", "--key", "k0", "--id", "a");
    expect(code).toBe(0);
    // 30 is of the key, 31 is not.
    expect(sinksOf(report)).toEqual({
      weighed: counts(39, 1, { w: 1 }),
      out: counts(
        many((n) => n % 3 === 0 && n < 30),
        many((n) => n % 3 === 0 && n >= 30),
        { sum: 30 },
      ),
      tens: (() => {
        const told = (n: number) => numbers.some((m) => m % 3 === 0 && m <= n && m % 10 === n % 10);
        const changed = many((n) => told(n) && ((n % 10 === 0 && n >= 30) || (n % 10 === 1 && n >= 31)));
        return counts(many(told) - changed, changed, { sum: changed });
      })(),
    });
    expect(report).toMatchObject({ records: 40, only: { key: "k0" } });
    const shown = JSON.parse((await headwater(["replay", "show", "a", "--json"], { cwd })).stdout);
    expect(shown.report.diff).toEqual(report.diff);
    expect(shown.only).toEqual({ key: "k0" });
  });

  it("takes −0 for the key 0, as sources do, and tells values apart in which it differs", async () => {
    const module = (file: string, w: string) => {
      const text = `import { pipeline } from "headwater";
const p = pipeline("weights", { partitions: 8 });
p.source("in", { key: (row) => { const { n } = row as { n: number }; return n % 3 === 0 ? -0 : n % 3; } })
  .map("weigh", (row) => { const { n } = row as { n: number }; return { n, w: ${w} }; }).sink("weighed");
export default p;
`;
      writeFileSync(join(cwd, file), text);
    };
    module("p.ts", "0");
    await run("p.ts");
    for (const key of ["0", "-0"]) {
      expect((await replay(`--key=${key}`)).report).toMatchObject({ records: 40, diverged: 0 });
      const found = await headwater(["search", "weights", `--key=${key}`, "--json"], { cwd });
      expect(found.stdout.trim().split("\n")).toHaveLength(40);
    }
    module("q.ts", "n === 30 ? -0 : 0");
    const { report } = await replay("--what-if", "q.ts", "--key=-0", "--diff", "diff.jsonl");
    expect(sinksOf(report)["weighed"]).toMatchObject({ same: 39, changed: 1 });
    expect(JSON.parse(readFileSync(join(cwd, "diff.jsonl"), "utf8"))).toMatchObject({
      before: { n: 30, w: 0 },
      after: { n: 30, w: "-0" },
    });
  });

  it("says what it cannot choose", async () => {
    define("p.ts", "return { n, w: n }");
    await run("p.ts");
    expect(await refused("--key", "none")).toMatchObject({ exit: 2, code: "BadUsage" });
    expect(await refused("--key", "k0", "--stage", "none")).toMatchObject({ exit: 2, code: "UnknownStage" });
    expect(await refused("--key", "k0", "--record", "in:r1")).toMatchObject({ exit: 2, code: "BadUsage" });
    expect(await refused("--stage", "tens")).toMatchObject({ exit: 2, code: "BadUsage" });
    expect(await refused("--quarantined")).toMatchObject({ exit: 2, code: "BadUsage" });
    expect(await refused("--record", "in:none")).toMatchObject({ exit: 2, code: "RecordNotFound" });
    expect(await refused("--record", "source_weights.in@999")).toMatchObject({
      exit: 2,
      code: "RecordNotFound",
    });
    expect(await refused("--what-if", "p.ts", "--key", "none", "--id", "a")).toMatchObject({ exit: 2 });
    const list = await headwater(["replay", "list", "--json"], { cwd });
    expect(JSON.parse(list.stdout)).toEqual([]);
  });
});

describe("headwater replay --record", () => {
  it("compares one record's whole cone: what it was made of, and what comes of it", async () => {
    define("p.ts", "return { n, w: n }");
    await run("p.ts");
    const { report } = await replay("--record", "in:r100");
    // Three stages of itself; the totals of 100, 103, … 118, and those of 100, 110.
    expect(report).toMatchObject({ records: 1, steps: 2 + 7 + 2, diverged: 0 });

    // A total of tens: of 40 the records 0, 10, … 40 back to their source, with the total of each; and those after it.
    const tens = await headwater(["lineage", "in:r40", "--forward", "--json"], { cwd });
    const { vertices } = JSON.parse(tens.stdout);
    const total = vertices.find(({ stage }: { stage: string }) => stage === "tens").address;
    const cone = await replay("--record", total);
    expect(cone.report).toMatchObject({ records: 5, diverged: 0 });
    // weigh and byTen of each of the five, 12 totals.
    expect(cone.report.steps).toBe(5 * 2 + 12);
  });

  it("tells of the differences that one record has made, in the middle of history", async () => {
    define("p.ts", "return { n, w: n }");
    await run("p.ts");
    define("q.ts", "return { n, w: n === 30 || n === 31 ? -n : n }");
    const { report } = await replay("--what-if", "q.ts", "--record", "in:r31", "--full");
    expect(sinksOf(report)).toEqual({
      weighed: counts(0, 1, { w: 1 }),
      out: counts(
        0,
        many((n) => n % 3 === 1 && n >= 31),
        { sum: 30 },
      ),
      tens: counts(
        0,
        many((n) => n % 10 === 1 && n >= 31),
        { sum: 9 },
      ),
    });
    expect(report.only).toEqual({ record: "source_weights.in@31" });
    const after = await replay("--what-if", "q.ts", "--record", "in:r32");
    expect(sinksOf(after.report)).toMatchObject({
      weighed: counts(1, 0),
      out: counts(30, 0),
      tens: counts(9, 0),
    });
  });
});

describe("headwater replay --quarantined", () => {
  it("runs what stages refused again, and says whether it fails as it did", async () => {
    define("p.ts", 'if (n % 20 === 4) throw new Error("no " + n); return { n, w: n }');
    await run("p.ts");
    const { code, report } = await replay("--quarantined");
    expect(code).toBe(0);
    expect(report).toMatchObject({ records: 6, steps: 6, diverged: 0 });
    expect(report.quarantined).toMatchObject({
      records: 6,
      sameError: 6,
      otherError: 0,
      passed: 0,
      absent: 0,
    });
  });

  it("finds those that depend on something else", async () => {
    define(
      "p.ts",
      'if (n === 24) throw new Error("at " + process.pid); if (n === 44 && process.argv.includes("run")) throw new Error("no"); return { n, w: n }',
    );
    await run("p.ts");
    const { code, report } = await replay("--quarantined", "--stage", "weigh");
    expect(code).toBe(1);
    expect(report.quarantined).toMatchObject({ records: 2, sameError: 0, otherError: 1, passed: 1 });
    const fates = report.quarantined.examples.map(({ fate }: { fate: string }) => fate);
    expect(fates.sort()).toEqual(["other-error", "passed"]);
  });

  it("says which would pass with other code, and what would come of them", async () => {
    define("p.ts", 'if (n % 20 === 4) throw new Error("no " + n); return { n, w: n }');
    await run("p.ts");
    define(
      "q.ts",
      'if (n === 44) throw new Error("no " + n); if (n === 64) throw new Error("never"); return { n, w: n }',
    );
    const { code, report } = await replay("--what-if", "q.ts", "--quarantined", "--diff", "diff.jsonl");
    expect(code).toBe(0);
    expect(report.quarantined).toMatchObject({
      records: 6,
      sameError: 1,
      otherError: 1,
      passed: 4,
      absent: 0,
    });
    expect(sinksOf(report)["weighed"]).toEqual({ same: 0, changed: 0, added: 4, gone: 0, fields: {} });
    const lines = readFileSync(join(cwd, "diff.jsonl"), "utf8")
      .trim()
      .split("\n")
      .map((line) => JSON.parse(line));
    const added = lines.filter(({ sink, kind }) => sink === "weighed" && kind === "added");
    expect(added.map(({ after }) => after.n)).toEqual([4, 24, 84, 104]);
    const people = await headwater(["replay", "weights", "--what-if", "q.ts", "--quarantined"], { cwd });
    expect(people.stdout).toContain(
      "refused    6: 1 fail with the same error, 1 fail with another error, 4 pass",
    );
  });

  it("compares what was put back where it had failed, and says what is refused again", async () => {
    define("p.ts", 'if (n % 20 === 4) throw new Error("no " + n); return { n, w: n }');
    await run("p.ts");
    define("p.ts", 'if (n % 40 === 4) throw new Error("no " + n); return { n, w: n }');
    const retried = await headwater(["quarantine", "retry", "p.ts", "--all", "--json"], { cwd });
    expect(retried.code, retried.stderr).toBe(0);
    // 24, 64 and 104 had gone on; 4, 44 and 84 failed again.
    define("q.ts", "return { n, w: n }");
    const { report } = await replay("--what-if", "q.ts", "--id", "q", "--diff", "q.jsonl");
    expect(report.putBack).toEqual({ records: 6, first: "retry_weights@0", earlier: 0, refused: [] });
    expect(sinksOf(report)["weighed"]).toMatchObject({ same: 117, changed: 0, added: 3, gone: 0 });
    const { report: refusedNow } = await replay("--what-if", "q.ts", "--quarantined");
    // Those three were refused twice, at the same place.
    expect(refusedNow.quarantined).toMatchObject({ records: 9, passed: 9, absent: 0 });
    expect(sinksOf(refusedNow)["weighed"]).toMatchObject({ same: 3, changed: 0, added: 3, gone: 0 });
    const { report: of24 } = await replay("--what-if", "q.ts", "--record", "in:r24");
    expect(sinksOf(of24)["weighed"]).toMatchObject({ same: 1, changed: 0, added: 0, gone: 0 });
    const { report: ofItem } = await replay("--what-if", "q.ts", "--record", "retry_weights@0");
    expect(sinksOf(ofItem)["weighed"]).toMatchObject({ changed: 0, gone: 0 });

    // What was added has a name that leads to it, wherever it is in the log.
    const [added] = readFileSync(join(cwd, "q.jsonl"), "utf8")
      .trim()
      .split("\n")
      .map((line) => JSON.parse(line))
      .filter(({ sink, kind }) => sink === "weighed" && kind === "added");
    expect(added).toMatchObject({ from: "weights~q/weighed@source_weights.in@4", after: { n: 4, w: 4 } });
    const lineage = await headwater(["lineage", added.from, "--json"], { cwd });
    expect(lineage.code, lineage.stderr).toBe(0);
    expect(JSON.parse(lineage.stdout)).toMatchObject({ value: added.after, complete: true });
    const unknown = await headwater(["lineage", "weights~q/weighed@source_weights.in@4~00"], { cwd });
    expect(unknown.code).toBe(2);
    expect(unknown.stderr).toContain("the sink has no output with this key");

    define("r.ts", 'if (n === 64 || n === 7) throw new Error("still " + n); return { n, w: n }');
    const { report: fewer } = await replay("--what-if", "r.ts");
    const still = (n: number) => ({
      stage: "weigh",
      records: 1,
      first: { address: `source_weights.in@${n}`, code: "StageFailed", message: `still ${n}` },
    });
    expect(fewer.putBack).toMatchObject({ records: 6, refused: [still(64)] });
    expect(fewer.newlyRefused).toEqual([still(7)]);
    expect(sinksOf(fewer)["weighed"]).toMatchObject({ same: 115, changed: 0, added: 3, gone: 2 });
    const people = await headwater(["replay", "weights", "--what-if", "r.ts"], { cwd });
    expect(people.stdout).toContain(
      "put back   6 refused records were put back then, the first is retry_weights@0: each is compared where it had failed",
    );
    expect(people.stdout).toContain(
      "  refused now, so that what came of it is gone: stage weigh: 1, the first is of source_weights.in@64: still 64",
    );

    // Of a window that begins behind the failures, they are not in the replay.
    const { report: late } = await replay("--what-if", "q.ts", "--from", String(report.to - 1));
    expect(late.putBack).toMatchObject({ records: 0, refused: [] });
    expect(late.putBack.earlier).toBeGreaterThan(0);
    expect(sinksOf(late)["weighed"]).toMatchObject({ changed: 0, added: 0, gone: 0 });
  });
});
