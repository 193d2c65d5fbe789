import { readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
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

/** Numbers are weighed, and added up by three keys. `source` has options of the source. */
function define(file: string, weigh: string, source = "", total = true): void {
  const text = `import { pipeline } from "headwater";
const p = pipeline("weights", { partitions: 2, batchRecords: 8 });
const weighed = p.source("in", { key: (row) => (row as { n: number }).n % 3, ${source} })
  .map("weigh", (row) => { const { n } = row as { n: number }; ${weigh} });
weighed.sink("weighed");
${total ? `weighed.reduce("total", { init: () => 0, step: (sum, w) => sum + (w as number), emit: (sum, key) => ({ key, sum }) }).sink("out");` : ""}
export default p;
`;
  writeFileSync(join(cwd, file), text);
}

async function run(module: string, from: number, to: number): Promise<void> {
  const rows = Array.from({ length: to - from }, (_, at) => `${JSON.stringify({ n: from + at })}\n`);
  writeFileSync(join(cwd, "in.jsonl"), rows.join(""));
  const ended = await headwater(["run", module, "--input", "in=in.jsonl", "--batch", "7"], { cwd });
  expect(ended.code, ended.stderr).toBe(0);
}

/** Three runs, after the last of which only its records are kept. */
async function runAndLetGo(): Promise<void> {
  await run("p.ts", 0, 100);
  await run("p.ts", 100, 200);
  const set = await headwater(["log", "retain", "weights", "--payload", "events=40"], { cwd });
  expect(set.code, set.stderr).toBe(0);
  await run("p.ts", 200, 300);
}

async function replay(...args: readonly string[]) {
  const ended = await headwater(["replay", "weights", "--json", ...args], { cwd });
  expect([0, 1], ended.stderr).toContain(ended.code);
  return { code: ended.code, report: JSON.parse(ended.stdout) };
}

const many = (from: number, to: number, is: (n: number) => boolean) =>
  Array.from({ length: to - from }, (_, at) => from + at).filter(is).length;

describe("a replay over records of which some were let go of", () => {
  it("runs other code from where all that it needs is kept, with the state of then, and names the gap", async () => {
    define("p.ts", "return n");
    await runAndLetGo();
    define("q.ts", "return n === 50 || n === 250 ? -n : n");
    const { code, report } = await replay("--what-if", "q.ts", "--id", "a");
    expect(code).toBe(0);
    const { gone, from, records } = report;
    expect(gone).toMatchObject({ first: "source_weights.in@0", asked: 0 });
    // Each of the first ones is gone, and what is there is run from a snapshot on.
    expect(gone.records).toBeGreaterThan(0);
    expect(from).toBeGreaterThan(0);
    expect(records).toBeGreaterThanOrEqual(100);
    expect(records).toBeLessThanOrEqual(300 - gone.records);
    const begin = 300 - records;
    const [all, changed] = [records, many(begin, 300, (n) => n % 3 === 1 && n >= 250)];
    expect(report.diff.sinks).toEqual([
      { sink: "weighed", same: all - 1, changed: 1, added: 0, gone: 0, fields: { "": 1 } },
      { sink: "out", same: all - changed, changed, added: 0, gone: 0, fields: { sum: changed } },
    ]);
    const shown = JSON.parse((await headwater(["replay", "show", "a", "--json"], { cwd })).stdout);
    expect(shown.report).toMatchObject({ gone, diff: report.diff });
    const people = await headwater(["replay", "weights", "--what-if", "q.ts"], { cwd });
    expect(people.stdout).toContain(
      `let go of  ${gone.records} records are not kept, the first is source_weights.in@0, so that it begins at ordinal ${from}, not at 0`,
    );

    // Behind the gap nothing is said of it; where nothing is left it is refused.
    expect((await replay("--what-if", "q.ts", "--from", String(from))).report.gone).toBe(null);
    const nothing = await headwater(
      ["replay", "weights", "--what-if", "q.ts", "--to", String(from - 1), "--json"],
      { cwd },
    );
    expect([nothing.code, jsonError(nothing)["code"]]).toEqual([2, "RecordGone"]);
  });

  it("tells nothing of other code whose comparison was let go of since", async () => {
    define("p.ts", "return n");
    await run("p.ts", 0, 100);
    define("q.ts", "return n === 50 ? -n : n");
    const { report } = await replay("--what-if", "q.ts", "--id", "a");
    expect(report.diff.sinks[0]).toMatchObject({ sink: "weighed", same: 99, changed: 1 });
    for (const tier of ["--payload", "--steps"]) {
      const set = await headwater(["log", "retain", "weights", tier, "events=2"], { cwd });
      expect(set.code, set.stderr).toBe(0);
    }
    await run("p.ts", 100, 400);
    const shown = await headwater(["replay", "show", "a", "--json"], { cwd });
    expect([shown.code, jsonError(shown)["code"]]).toEqual([2, "RecordGone"]);
    expect(jsonError(shown)["message"]).toMatch(/was let go of since/);
  });

  it("verifies what is kept, and names the rest", async () => {
    define("p.ts", "return n");
    await runAndLetGo();
    const { code, report } = await replay();
    expect(code).toBe(0);
    expect(report).toMatchObject({ records: 300, diverged: 0 });
    expect(report.steps).toBeGreaterThanOrEqual(200);
    expect(report.steps / 2 + report.unverifiable).toBe(300);
    expect(report.firstGone.address).toMatch(/^steps_weights\.weigh\.000[01]@0$/);

    // An audit that runs them again says nothing of what it cannot run.
    const audited = await headwater(["audit", "--reexecute", "1", "--json"], { cwd });
    const [sample] = JSON.parse(audited.stdout).checks.slice(-1);
    expect(sample).toMatchObject({ name: "reexecution", ok: true });
    expect(sample.unverifiable).toBeGreaterThan(0);
    expect(sample.assurance).toMatchObject({ share: 1, of: sample.checked });
    const people = await headwater(["audit", "--reexecute", "1"], { cwd });
    expect(people.stdout).toContain(
      `All ${sample.checked} inputs that can be run again give in every step what was recorded.`,
    );
  });

  it("verifies nothing where nothing is left, and says so", async () => {
    define("p.ts", "return n");
    await runAndLetGo();
    const { report } = await replay();
    expect(report.unverifiable).toBeGreaterThan(10);
    const first = report.firstGone.address;
    const log = await openLog(`lmdb:${join(cwd, ".headwater")}`, { readOnly: true });
    const end = String((await acceptedOrdinals(log, "weights", "in"))[5]);
    await log.close();
    for (const more of [
      ["--to", end],
      ["--record", "source_weights.in@0", "--to", end],
      ["--key", "0", "--to", end],
      ["--to", end, "--id", "kept"],
    ]) {
      const ended = await headwater(["replay", "weights", "--json", ...more], { cwd });
      expect([ended.code, jsonError(ended).code], ended.stderr + ended.stdout).toEqual([2, "RecordGone"]);
    }
    const whole = await headwater(["replay", "weights", "--to", end], { cwd });
    expect(whole.stderr).toContain("nothing that is asked for can be run again");
    expect(whole.stderr).toContain(first.slice(0, -1));
  });

  it("says so, too, where the steps themselves were let go of", async () => {
    define("p.ts", "return n");
    await run("p.ts", 0, 100);
    await run("p.ts", 100, 200);
    const set = await headwater(["log", "retain", "weights", "--steps", "events=40"], { cwd });
    expect(set.code, set.stderr).toBe(0);
    await run("p.ts", 200, 300);
    const whole = await headwater(["replay", "weights", "--what-if", "1", "--full", "--json"], { cwd });
    const { gone, from } = JSON.parse(whole.stdout);
    expect(gone.records).toBeGreaterThan(10);
    // Of each record of then there was one input.
    const { report } = await replay();
    expect(report).toMatchObject({ records: 300, diverged: 0, unverifiable: 300 - report.steps / 2 });
    expect(report.unverifiable).toBeGreaterThan(200);
    expect(report.firstGone.address).toMatch(/^steps_weights\.weigh\.000[01]@0$/);
    expect(report.firstGone.reason).toContain("the events that tell of them were let go of");
    const text = (await headwater(["replay", "weights"], { cwd })).stdout;
    expect(text).toContain(
      `${report.unverifiable} inputs cannot be run again, the first is ${report.firstGone.address}`,
    );
    const sample = JSON.parse((await headwater(["audit", "--reexecute", "1", "--json"], { cwd })).stdout);
    expect(sample.checks.at(-1)).toMatchObject({ name: "reexecution", unverifiable: report.unverifiable });
    // Where the window begins among them, it is not known how many are in it: that there are some is.
    const part = (await replay("--from", "1")).report;
    expect(part.unverifiable).toBeGreaterThan(0);
    expect(part.unverifiable).toBeLessThan(report.unverifiable);
    const ended = await headwater(["replay", "weights", "--to", String(Math.floor(from / 2)), "--json"], {
      cwd,
    });
    expect([ended.code, jsonError(ended).code], ended.stderr + ended.stdout).toEqual([2, "RecordGone"]);
  });

  it("runs a sample through stages without state, each record by itself", async () => {
    define("p.ts", 'return n === 50 && process.argv.includes("run") ? -n : n', "sample: 0.3", false);
    await run("p.ts", 0, 300);
    await run("p.ts", 300, 310);
    const { report } = await replay();
    expect(report.steps).toBeGreaterThan(40);
    expect(report.steps + report.unverifiable).toBe(310);
    // 50 is in the sample: that is decided by the place of a record.
    expect(report).toMatchObject({ diverged: 1, firstDivergence: { stage: "weigh", value: 50 } });

    define("q.ts", "return n % 2 === 0 ? -n : n", "sample: 0.3", false);
    // Each record of the key is told of, or of how many that cannot be said.
    const keyed = await replay("--key", "1");
    expect(keyed.report.records).toBeGreaterThan(10);
    expect(keyed.report.steps).toBe(keyed.report.records);
    expect(keyed.report.keysUnknown).toBeGreaterThan(0);
    const other = await replay("--what-if", "q.ts");
    const [sink] = other.report.diff.sinks;
    expect(sink).toMatchObject({ added: 0, gone: 0, unverifiable: report.unverifiable });
    expect(sink.same + sink.changed).toBe(report.steps);
    expect(sink.changed).toBeGreaterThan(0);
    expect(other.report.gone.records).toBe(report.unverifiable);
  });

  it("compares no totals that records are missing in", async () => {
    define("p.ts", "return n", "sample: 0.3");
    await run("p.ts", 0, 300);
    await run("p.ts", 300, 310);
    define("q.ts", "return n % 2 === 0 ? -n : n", "sample: 0.3");
    const { report } = await replay("--what-if", "q.ts");
    const [weighed, out] = report.diff.sinks;
    expect(weighed).toMatchObject({ added: 0, gone: 0, unverifiable: report.gone.records });
    expect(weighed.same + weighed.changed).toBe(310 - report.gone.records);
    expect(out).toMatchObject({ same: 0, changed: 0, added: 0, gone: 0, unverifiable: 310 });
    const middle = await replay("--what-if", "q.ts", "--from", String(report.diff.examples.at(-1).ordinal));
    expect(middle.report.diff.sinks[1]).toMatchObject({ same: 0, changed: 0, added: 0, gone: 0 });
  });

  it("verifies totals again from the next state on that was kept", async () => {
    define("p.ts", "return n", "sample: 0.3");
    await run("p.ts", 0, 100);
    define("p.ts", "return n");
    await run("p.ts", 100, 200);
    const { code, report } = await replay();
    expect(code).toBe(0);
    // Of the first hundred some are gone, and with them all totals up to the state at the end of the run.
    expect(report).toMatchObject({ records: 200, steps: 200, matched: 200, unverifiable: 100 });
  });

  it("compares digests where records are not kept", async () => {
    define("p.ts", "return n === 31 ? -n : n");
    writeFileSync(
      join(cwd, "p.ts"),
      `import { pipeline } from "headwater";
const p = pipeline("weights", { partitions: 2, batchRecords: 8 });
p.source("in").map("weigh", (row) => (row as { n: number }).n === 31 ? -1 : 1, { capture: "none" }).sink("weighed");
export default p;
`,
    );
    await run("p.ts", 0, 100);
    await run("p.ts", 100, 110);
    writeFileSync(
      join(cwd, "q.ts"),
      `import { pipeline } from "headwater";
const p = pipeline("weights", { partitions: 2, batchRecords: 8 });
p.source("in").map("weigh", (row) => (row as { n: number }).n === 32 ? -1 : 1, { capture: "none" }).sink("weighed");
export default p;
`,
    );
    const { report } = await replay("--what-if", "q.ts", "--diff", "diff.jsonl");
    expect(report.gone).toBe(null);
    expect(report.diff).toMatchObject({ same: 108, changed: 2, added: 0, gone: 0 });
    const [first] = report.diff.examples;
    expect(first).toMatchObject({ kind: "changed", after: 1 });
    expect(first).not.toHaveProperty("before");
  });

  it("begins where events of sources and partitions are kept, and names what is before", async () => {
    define("p.ts", "return n");
    await run("p.ts", 0, 100);
    await run("p.ts", 100, 200);
    const set = await headwater(["log", "retain", "weights", "--steps", "events=40"], { cwd });
    expect(set.code, set.stderr).toBe(0);
    await run("p.ts", 200, 300);
    define("q.ts", "return n === 298 ? -n : n");
    const { code, report } = await replay("--what-if", "q.ts");
    expect(code).toBe(0);
    expect(report.gone).toMatchObject({ first: "source_weights.in@0", asked: 0 });
    expect(report.gone.records).toBeGreaterThanOrEqual(200);
    expect(report.records).toBeGreaterThan(5);
    expect(report.records).toBeLessThanOrEqual(300 - report.gone.records);
    // Totals go on from the state of then.
    expect(report.diff.sinks).toEqual([
      { sink: "weighed", same: report.records - 1, changed: 1, added: 0, gone: 0, fields: { "": 1 } },
      { sink: "out", same: report.records - 1, changed: 1, added: 0, gone: 0, fields: { sum: 1 } },
    ]);
    // The same where a point is named of which the events are gone.
    const named = await replay("--what-if", "q.ts", "--from", "1");
    expect(named.report).toMatchObject({ from: report.from, diff: { sinks: report.diff.sinks } });
    expect(named.report.gone).toMatchObject({ asked: 1 });
  });

  it("begins behind results of effects that were let go of, or calls them again", async () => {
    const weigh = (more: string) =>
      `return ctx.effect("look-up", () => { calls++; return n; }).then((found) => (found as number)${more});`;
    const defineCalling = (file: string, more: string) => {
      define(file, weigh(more));
      const text = readFileSync(join(cwd, file), "utf8");
      writeFileSync(
        join(cwd, file),
        `let calls = 0;\n${text.replace('"weigh", (row)', '"weigh", (row, ctx)')}`,
      );
    };
    defineCalling("p.ts", "");
    await run("p.ts", 0, 100);
    await run("p.ts", 100, 200);
    const set = await headwater(["log", "retain", "weights", "--effects", "events=12"], { cwd });
    expect(set.code, set.stderr).toBe(0);
    await run("p.ts", 200, 260);
    await run("p.ts", 260, 300);
    defineCalling("q.ts", " + (n === 298 ? 1 : 0)");
    const { code, report } = await replay("--what-if", "q.ts", "--id", "a");
    expect(code).toBe(0);
    const { effectsGone, from, records, diff, gone } = report;
    expect(gone).toBe(null);
    expect(effectsGone).toMatchObject({
      first: expect.stringMatching(/^steps_weights\.weigh\.000[01]@0$/),
      asked: 0,
    });
    expect(from).toBeGreaterThan(0);
    expect(records).toBeGreaterThan(5);
    expect(effectsGone.records + records).toBe(300);
    expect(
      diff.sinks.map(({ same, changed, added, gone: none }: Record<string, number>) => [
        same,
        changed,
        added,
        none,
      ]),
    ).toEqual([
      [records - 1, 1, 0, 0],
      [records - 1, 1, 0, 0],
    ]);
    const shown = JSON.parse((await headwater(["replay", "show", "a", "--json"], { cwd })).stdout);
    expect(shown.report).toMatchObject({ effectsGone, diff });
    const nothing = await headwater(
      ["replay", "weights", "--what-if", "q.ts", "--to", String(from - 1), "--json"],
      { cwd },
    );
    expect([nothing.code, jsonError(nothing)]).toEqual([
      2,
      expect.objectContaining({
        code: "RecordGone",
        message: "nothing of the window can be run: results of its effects were let go of",
      }),
    ]);
    const called = await replay("--what-if", "q.ts", "--new-effects", "call");
    expect(called.report).toMatchObject({ from: 0, records: 300, effectsGone: null });
    expect(called.report.diff.sinks[0]).toMatchObject({ same: 299, changed: 1 });
    const people = await headwater(["replay", "weights", "--what-if", "q.ts"], { cwd });
    expect(people.stdout).toContain(`${effectsGone.records} records later`);
    // What is verified needs them, too, and counts those that are gone.
    const verified = await replay();
    expect(verified.code).toBe(0);
    expect(verified.report.unverifiable).toBeGreaterThan(0);
    expect(verified.report.steps).toBeGreaterThan(10);
  });
});
