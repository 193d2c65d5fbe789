import { appendFileSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { headwater, Workplace } from "./command.ts";
import { clearSound } from "./open-log.ts";

const place = new Workplace();
let cwd: string;

beforeEach(async () => {
  cwd = await place.folder();
});
afterEach(() => clearSound(place));

/** A pipeline with the given body, which has `p`, in the file `p.ts`. */
function define(body: string, options = ""): void {
  const text = `import { pipeline } from "headwater";
type Row = { k: string; i: number };
const p = pipeline("changing"${options});
${body}
export default p;
`;
  writeFileSync(join(cwd, "p.ts"), text);
}

function give(file: string, rows: readonly object[]): void {
  writeFileSync(join(cwd, file), rows.map((row) => `${JSON.stringify(row)}\n`).join(""));
}

const rows = (from: number, to: number) =>
  Array.from({ length: to - from }, (_, index) => ({ k: `k${(from + index) % 3}`, i: from + index }));

async function run(env: Record<string, string> = {}, more: readonly string[] = []) {
  const args = [
    "run",
    "p.ts",
    "--input",
    "s=s.jsonl",
    "--output",
    "out=out.jsonl",
    "--batch",
    "20",
    "--json",
  ];
  return await headwater([...args, ...more], { cwd, env });
}

const out = () =>
  readFileSync(join(cwd, "out.jsonl"), "utf8")
    .trim()
    .split("\n")
    .map((line) => JSON.parse(line) as Record<string, unknown>);

const SOURCE = 'const s = p.source("s", { key: (row) => (row as Row).k });';
const TOTALS = 'reduce("totals", { init: () => 0, step: (sum) => sum + 1, emit: (sum, k) => ({ k, sum }) })';

describe("a pipeline that is changed between runs", () => {
  it("keeps the state of a stage whose segment reads something else now, and takes in nothing twice", async () => {
    define(`${SOURCE} s.map("m", (row) => row as Row).keyBy("by", (row) => row.k).${TOTALS}.sink("out");`);
    give("s.jsonl", rows(0, 60));
    expect((await run()).code).toBe(0);
    define(`${SOURCE} s.${TOTALS}.sink("out");`);
    give("s.jsonl", rows(0, 63));
    const { code, stdout } = await run();
    expect(code).toBe(0);
    expect(JSON.parse(stdout)).toMatchObject({ records: { accepted: 3 }, outputs: { out: 3 } });
    expect(out().slice(60)).toEqual(["k0", "k1", "k2"].map((k) => ({ k, sum: 21 })));
  });

  it("delivers what the old code made before what the new one makes, when it was killed in between", async () => {
    const by = (name: string) =>
      `${SOURCE} s.map("${name}", (row) => ({ ...(row as Row), by: "${name}" })).sink("out");`;
    define(by("old"));
    give("s.jsonl", rows(0, 200));
    expect((await run({ HEADWATER_FAIL_AT: "flush:before:1" })).signal).toBe("SIGKILL");
    define(by("new"));
    expect((await run()).code).toBe(0);
    const delivered = out();
    expect(delivered.map((row) => row["i"])).toEqual(Array.from({ length: 200 }, (_, i) => i));
    const firstNew = delivered.findIndex((row) => row["by"] === "new");
    expect(delivered.slice(0, Math.max(firstNew, 0)).every((row) => row["by"] === "old")).toBe(true);
    expect(delivered.filter((row) => row["by"] === "old").length).toBeGreaterThan(0);
  });

  it("begins at the deployment where a sink moves to a source, and where a union gets another stream", async () => {
    const two = 'const t = p.source("t"); t.sink("other");';
    const merged = (streams: string) => `p.union("u", ${streams}).map("m", (row) => row).sink("out");`;
    define(`${SOURCE} ${two} p.source("idle").sink("idle"); s.map("m", (row) => row).sink("out");`);
    give("s.jsonl", rows(0, 5));
    give("t.jsonl", rows(100, 105));
    const more = ["--input", "t=t.jsonl"];
    expect((await run({}, more)).code).toBe(0);
    define(`${SOURCE} ${two} ${merged("s, t")}`);
    give("t.jsonl", rows(100, 106));
    expect((await run({}, more)).code).toBe(0);
    expect(out().map((row) => row["i"])).toEqual([0, 1, 2, 3, 4, 105]);
    define(`${SOURCE} ${two} s.sink("out");`);
    give("s.jsonl", rows(0, 6));
    expect((await run({}, more)).code).toBe(0);
    expect(out().map((row) => row["i"])).toEqual([0, 1, 2, 3, 4, 105, 5]);
  });

  it("refuses another number of partitions, and does nothing", async () => {
    define(`${SOURCE} s.sink("out");`);
    give("s.jsonl", rows(0, 5));
    expect((await run()).code).toBe(0);
    define(`${SOURCE} s.sink("out");`, ", { partitions: 3 }");
    const { code, stderr } = await run();
    expect(code).toBe(2);
    expect(stderr).toMatch(/8 partitions in this log, and 3 in its definition/);
  });
});

describe("an input whose last line is half-written", () => {
  it("refuses the half once, and takes the whole in when it is there", async () => {
    define(`${SOURCE} s.map("m", (row) => row as Row).sink("out");`);
    writeFileSync(join(cwd, "s.jsonl"), '{"k":"a","i":1}\n{"k":"a","i"');
    const half = await run();
    expect(JSON.parse(half.stdout)).toMatchObject({ records: { read: 2, accepted: 1, rejected: 1 } });
    const again = await run();
    expect(again.code).toBe(0);
    expect(JSON.parse(again.stdout)).toMatchObject({
      records: { read: 0, accepted: 0, rejected: 0 },
      log: { position: (JSON.parse(half.stdout) as { log: { position: string } }).log.position },
    });
    appendFileSync(join(cwd, "s.jsonl"), ':2}\n{"k":"a","i":3}\n');
    expect(JSON.parse((await run()).stdout)).toMatchObject({ records: { accepted: 2, rejected: 0 } });
    expect(out().map((row) => row["i"])).toEqual([1, 2, 3]);
    expect(JSON.parse((await run()).stdout)).toMatchObject({ records: { read: 0 } });
  });
});

describe("a fan-out behind a fan-out", () => {
  it("comes through where one record's descendants are more than a batch, and than an append", async () => {
    define(
      `${SOURCE} s.flatMap("one", (row) => Array.from({ length: 200 }, (_, a) => ({ i: (row as Row).i, a })))
        .keyBy("by", () => 0)
        .flatMap("two", (row) => Array.from({ length: 200 }, (_, b) => ({ ...row, b })))
        .sink("out");`,
      ", { partitions: 2 }",
    );
    give("s.jsonl", rows(0, 2));
    let kills = 0;
    for (const point of ["steps:after:4", "steps:between:9", "delivered:before:1"]) {
      if ((await run({ HEADWATER_FAIL_AT: point })).signal === "SIGKILL") kills++;
    }
    expect(kills).toBeGreaterThan(0);
    expect((await run()).code).toBe(0);
    const expected = [0, 1].flatMap((i) =>
      Array.from({ length: 40_000 }, (_, n) => ({ a: Math.floor(n / 200), b: n % 200, i })),
    );
    expect(out()).toEqual(expected);
  });
});
