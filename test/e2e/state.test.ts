import { appendFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { openAt } from "headwater";
import { afterEach, beforeEach, expect, it } from "vitest";
import { headwater, Workplace } from "./command.ts";
import { clearSound } from "./open-log.ts";

const place = new Workplace();
let cwd: string;

beforeEach(async () => {
  cwd = await place.folder();
});
afterEach(() => clearSound(place));

/** The sums of values by key, in which a record counts `weight` times. */
function define(weight: number): void {
  writeFileSync(
    join(cwd, "p.ts"),
    `import { pipeline } from "headwater";
type Row = { k: string; v: number; at: number };
const p = pipeline("weighed", { partitions: 2 });
p.source("s", { key: (row) => (row as Row).k, eventTime: (row) => (row as Row).at })
  .map("rows", (row) => row as Row)
  .keyBy("by-parity", (row) => \`p\${row.v % 2}\`)
  .reduce("sums", { init: () => 0, step: (sum, row) => sum + ${weight} * row.v, emit: (sum) => sum })
  .sink("out");
export default p;
`,
  );
}

function rows(from: number, to: number): string {
  const lines = [];
  for (let v = from; v < to; v++) lines.push(`${JSON.stringify({ k: `k${v % 5}`, v, at: 1_000 * v })}\n`);
  return lines.join("");
}

interface Answer {
  readonly ordinal: number;
  readonly complete: boolean;
  readonly version: number;
  readonly entries: readonly { readonly key: string; readonly total: number }[];
}

async function state(...more: string[]): Promise<Answer> {
  const { code, stdout, stderr } = await headwater(["state", "weighed", "sums", "--json", ...more], { cwd });
  expect({ code, stderr: stderr.includes("Error") }).toEqual({ code: 0, stderr: false });
  return JSON.parse(stdout) as Answer;
}

const totals = ({ entries }: Answer) => Object.fromEntries(entries.map(({ key, total }) => [key, total]));

/** By hand; records from `heavy` on count ten times. */
function expected(to: number, heavy = to): Record<string, number> {
  const sums = { p0: 0, p1: 0 };
  for (let v = 0; v < to; v++) sums[`p${v % 2}` as "p0"] += v * (v < heavy ? 1 : 10);
  return sums;
}

async function until(condition: (answer: Answer) => boolean): Promise<Answer> {
  for (;;) {
    // Before the first records are in, there may be nothing to ask yet.
    const { code, stdout } = await headwater(["state", "weighed", "sums", "--json"], { cwd });
    const answer = code === 0 ? (JSON.parse(stdout) as Answer) : undefined;
    if (answer !== undefined && condition(answer)) return answer;
    await sleep(50);
  }
}

it("tells the state at any point while another process works, after it was killed, and across versions", async () => {
  define(1);
  writeFileSync(join(cwd, "s.jsonl"), rows(0, 300));
  const run = ["run", "p.ts", "--input", "s=s.jsonl", "--batch", "16"];
  const running = place.start([...run, "--follow"], { cwd });
  const has = (to: number) => (answer: Answer) =>
    answer.complete && JSON.stringify(totals(answer)) === JSON.stringify(expected(to));
  const first = await until(has(300));
  appendFileSync(join(cwd, "s.jsonl"), rows(300, 450));
  const second = await until(has(450));
  expect(running.exited).toBe(false);
  expect(second.ordinal).toBeGreaterThan(first.ordinal);
  expect(await state("--at", String(first.ordinal))).toEqual({ ...first, asked: first.ordinal });
  // Event time 100.5 s is between two records.
  expect(totals(await state("--at", "1970-01-01T00:01:40.500Z"))).toEqual(expected(101));
  expect(totals(await state("p1", "--at", "1970-01-01T00:01:40.500Z"))).toEqual({ p1: expected(101)["p1"] });

  running.kill("SIGKILL");
  await running.ended;
  expect(totals(await state())).toEqual(expected(450));
  expect(totals(await state("--at", String(first.ordinal)))).toEqual(expected(300));

  define(10);
  appendFileSync(join(cwd, "s.jsonl"), rows(450, 500));
  expect((await headwater(run, { cwd })).code).toBe(0);
  const end = await state();
  expect(end).toMatchObject({ complete: true, version: 2 });
  expect(totals(end)).toEqual(expected(500, 450));
  expect(totals(await state("--at", "1970-01-01T00:07:40.500Z"))).toEqual(expected(461, 450));
  expect(totals(await state("--at", "1970-01-01T00:06:40Z"))).toEqual(expected(401));
  expect(await state("--at", String(first.ordinal))).toMatchObject({ version: 1, entries: first.entries });
});

it("needs nothing but the log, not even the module, and writes nothing", async () => {
  define(3);
  writeFileSync(join(cwd, "s.jsonl"), rows(0, 20));
  expect((await headwater(["run", "p.ts", "--input", "s=s.jsonl", "--batch", "4"], { cwd })).code).toBe(0);
  writeFileSync(join(cwd, "p.ts"), "syntax error");
  const before = await headwater(["log", "streams", "--json"], { cwd });
  const even = [0, 2, 4, 6, 8].map((v) => 3 * v).reduce((sum, v) => sum + v);
  expect(totals(await state("--at", "1970-01-01T00:00:09Z"))).toMatchObject({ p0: even });
  expect((await headwater(["log", "streams", "--json"], { cwd })).stdout).toBe(before.stdout);
});

it("opens a view of any point in a program, beside a run that goes on", async () => {
  define(1);
  writeFileSync(join(cwd, "s.jsonl"), rows(0, 200));
  const running = place.start(["run", "p.ts", "--input", "s=s.jsonl", "--batch", "16", "--follow"], { cwd });
  const first = await until(
    (answer) => answer.complete && JSON.stringify(totals(answer)) === JSON.stringify(expected(200)),
  );
  const log = `lmdb:${join(cwd, ".headwater")}`;
  const view = await openAt({ log, pipeline: "weighed", at: { ordinal: first.ordinal } });
  try {
    const about = async () => {
      const { checks } = await view.audit();
      return {
        totals: Object.fromEntries(
          [...(await view.state("sums")).entries].map(({ key, ...of }) => [key, of]),
        ),
        checks,
        records: await view.project({
          init: () => 0,
          apply: (sum, item) =>
            item.kind === "event" && item.typed?.type === "RecordsAccepted"
              ? sum + item.typed.data.count
              : sum,
        }),
      };
    };
    const before = await about();
    expect(before).toMatchObject({
      totals: { p0: { total: expected(200)["p0"] }, p1: { total: expected(200)["p1"] } },
      records: 200,
    });
    expect(before.checks.every(({ ok }) => ok)).toBe(true);
    appendFileSync(join(cwd, "s.jsonl"), rows(200, 300));
    await until((answer) => JSON.stringify(totals(answer)) === JSON.stringify(expected(300)));
    const { totals: sums, records } = await about();
    expect({ sums, records }).toEqual({ sums: before.totals, records: 200 });
    expect(running.exited).toBe(false);
  } finally {
    await view.close();
  }
  running.kill("SIGKILL");
  await running.ended;
  await expect(
    openAt({ log, pipeline: "weighed", at: { ordinal: Number.MAX_SAFE_INTEGER } }),
  ).rejects.toMatchObject({
    code: "BadUsage",
  });
  await expect(openAt({ log, pipeline: "other", at: { ordinal: 1 } })).rejects.toMatchObject({
    code: "UnknownPipeline",
  });
});
