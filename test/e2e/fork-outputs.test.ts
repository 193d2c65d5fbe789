import { mkdirSync, readdirSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { resumeReplay } from "../../src/app/forks.ts";
import type { BatchDelivery, Delivery } from "../../src/app/start-types.ts";
import { whatIf } from "../../src/app/what-if.ts";
import { headwater, jsonError, Workplace } from "./command.ts";
import { clearSound } from "./open-log.ts";

/** Where the outputs of a replay of other code go: to whatever those of a pipeline can go to. */

const place = new Workplace();
let cwd: string;

const RECORDS = 300;
const EVERY = "1KiB";

beforeEach(async () => {
  cwd = await place.folder();
  for (const [file, times] of [
    ["p.ts", 1],
    ["double.ts", 2],
  ] as const) {
    const text = `import { pipeline } from "headwater";
const p = pipeline("numbers", { partitions: 2, batchRecords: 16 });
const times = p.source("in", { key: (row) => String((row as { n: number }).n % 5) })
  .map("times", (row) => ({ n: ${times} * (row as { n: number }).n }));
times.sink("out");
times.filter("even", (row) => (row as { n: number }).n % 2 === 0).sink("even");
export default p;
`;
    writeFileSync(join(cwd, file), text);
  }
  const rows = Array.from({ length: RECORDS }, (_, n) => `${JSON.stringify({ n })}\n`);
  writeFileSync(join(cwd, "in.jsonl"), rows.join(""));
  expect((await command("run", "p.ts", "--input", "in=in.jsonl", "--quiet")).code).toBe(0);
});
afterEach(() => clearSound(place));

const command = (...args: readonly string[]) => headwater(args, { cwd });
const log = () => `lmdb:${join(cwd, ".headwater")}`;
const doubled = Array.from({ length: RECORDS }, (_, n) => ({ n: 2 * n }));

function linesOf(text: string): unknown[] {
  return text
    .split("\n")
    .filter((line) => line !== "")
    .map((line) => JSON.parse(line));
}

/** The files of a folder, by name. */
function filesIn(folder: string): ReadonlyMap<string, string> {
  return new Map(
    readdirSync(join(cwd, folder))
      .toSorted()
      .map((name) => [name, readFileSync(join(cwd, folder, name), "utf8")]),
  );
}

/** Begins a replay that is killed where it writes. */
async function killed(at: string, ...args: readonly string[]) {
  const ended = await headwater(["replay", "numbers", "--what-if", "double.ts", "--id", "part", ...args], {
    cwd,
    env: { HEADWATER_FAIL_AT: at },
  });
  expect(ended.signal).toBe("SIGKILL");
  return ended;
}

describe("headwater replay --output", () => {
  it("divides files as run does", async () => {
    for (const folder of ["ran", "replayed"]) mkdirSync(join(cwd, folder));
    const rotated = (folder: string) => ["--output", `out=${folder}/o.jsonl`, "--rotate", EVERY];
    const ran = await command(
      ...["run", "double.ts", "--log", "lmdb:other", "--input", "in=in.jsonl", ...rotated("ran")],
    );
    expect(ran.code, ran.stderr).toBe(0);
    const replayed = await command("replay", "numbers", "--what-if", "double.ts", ...rotated("replayed"));
    expect(replayed.code, replayed.stderr).toBe(0);
    const files = filesIn("replayed");
    expect(files.size).toBeGreaterThan(2);
    expect(files).toEqual(filesIn("ran"));
    const none = await command("replay", "numbers", "--what-if", "double.ts", "--rotate", EVERY, "--json");
    expect([none.code, jsonError(none)]).toMatchObject([2, { code: "BadUsage", where: "--rotate" }]);
  });

  it("writes records to standard output, and its report to the other", async () => {
    const ended = await command(
      ...["replay", "numbers", "--what-if", "double.ts", "--output", "out=-", "--json"],
    );
    expect(ended.code, ended.stderr).toBe(0);
    expect(linesOf(ended.stdout)).toEqual(doubled);
    expect(linesOf(ended.stderr).at(-1)).toMatchObject({ mode: "what-if", diff: { same: 2, changed: 448 } });
  });

  it("is remembered: what was killed goes on writing where it did, from wherever it is gone on with", async () => {
    for (const folder of ["part", "whole", "elsewhere"]) mkdirSync(join(cwd, folder));
    const outputs = (folder: string) => [
      ...["--output", `out=${folder}/o.jsonl`, "--output", `even=${folder}/e.jsonl`],
      ...["--rotate", `out=${EVERY}`],
    ];
    await killed("flush:after:3", ...outputs("part"));
    const whole = await command("replay", "numbers", "--what-if", "double.ts", ...outputs("whole"));
    expect(whole.code, whole.stderr).toBe(0);
    expect(filesIn("part")).not.toEqual(filesIn("whole"));
    // One of them is named anew, and filled from the beginning.
    const resume = ["replay", "resume", "part", "--log", log(), "--output", "even=e.jsonl", "--json"];
    const resumed = await headwater(resume, { cwd: join(cwd, "elsewhere") });
    expect(resumed.code, resumed.stderr).toBe(0);
    const { "e.jsonl": even, ...divided } = Object.fromEntries(filesIn("whole"));
    expect(Object.fromEntries(filesIn("part"))).toMatchObject(divided);
    expect(readFileSync(join(cwd, "elsewhere", "e.jsonl"), "utf8")).toBe(even);
    // Named nowhere, all go where they went first.
    expect((await command("replay", "resume", "part")).code).toBe(0);
    expect(filesIn("part")).toEqual(filesIn("whole"));
  });

  it("is to be named again where it cannot be remembered, until all is handed out", async () => {
    const { stdout } = await killed(
      ...["write:after:1", "--output", "out=-", "--output", "even=http://me:secret@127.0.0.1:49999/e"],
    );
    const refused = await command("replay", "resume", "part", "--json");
    expect([refused.code, jsonError(refused)]).toMatchObject([
      2,
      { code: "BadUsage", where: "replay numbers~part", message: expect.stringContaining("standard output") },
    ]);
    const other = await command("replay", "resume", "part", "--output", "out=-", "--json");
    expect(jsonError(other)).toMatchObject({ message: expect.stringContaining("a password or headers") });
    const resumed = await command(
      ...["replay", "resume", "part", "--output", "out=-", "--output", "even=e.jsonl", "--json"],
    );
    expect(resumed.code, resumed.stderr).toBe(0);
    // At least once: what was written before it was killed may come again.
    const written = linesOf(stdout + resumed.stdout) as { readonly n: number }[];
    expect(new Set(written.map(({ n }) => n)).size).toBe(RECORDS);
    expect(linesOf(readFileSync(join(cwd, "e.jsonl"), "utf8"))).toEqual(doubled);
    const done = await command("replay", "resume", "part", "--json");
    expect(done.code, done.stderr).toBe(0);
    expect(done.stdout + done.stderr).not.toContain("secret");
  });
});

describe("whatIf of a program", () => {
  const request = () => ({ log: log(), pipeline: "numbers", whatIf: join(cwd, "double.ts") });

  it("hands outputs to functions, to functions of many records, and to files that are divided", async () => {
    const taken: unknown[] = [];
    const keys = new Set<string>();
    const each = (record: unknown, { key, ordinal }: Delivery) => {
      expect(ordinal).toBeGreaterThan(0);
      keys.add(key);
      taken.push(record);
    };
    const many: unknown[] = [];
    const batch = (records: readonly unknown[], { records: places }: BatchDelivery) => {
      expect(places).toHaveLength(records.length);
      many.push(...records);
    };
    await whatIf({ ...request(), sinks: { out: each, even: { batch } } });
    expect(taken).toEqual(doubled);
    expect(keys.size).toBe(RECORDS);
    expect(many).toEqual(doubled);
    mkdirSync(join(cwd, "files"));
    const file = join(cwd, "files", "o.jsonl");
    await whatIf({ ...request(), sinks: { out: { file, rotate: EVERY } } });
    const files = filesIn("files");
    expect(files.size).toBeGreaterThan(2);
    expect([...files.values()].flatMap(linesOf)).toEqual(doubled);
  });

  it("asks for a function again where one that failed has ended it, and goes on where that was", async () => {
    const taken: unknown[] = [];
    const failing = (record: unknown) => {
      if (taken.length === 100) throw new Error("full");
      taken.push(record);
    };
    const asked = whatIf({ ...request(), id: "f", sinks: { out: failing } });
    await expect(asked).rejects.toMatchObject({ code: "SinkFailed" });
    await expect(resumeReplay({ log: log(), id: "f" })).rejects.toMatchObject({
      code: "BadUsage",
      message: expect.stringContaining("a function of the program"),
    });
    const rest: unknown[] = [];
    const report = await resumeReplay({
      log: log(),
      id: "f",
      sinks: { out: (record: unknown) => void rest.push(record) },
    });
    expect(report).toMatchObject({ mode: "what-if", records: RECORDS });
    // At least once: what was not known to be taken comes again.
    expect(rest.length).toBeGreaterThanOrEqual(RECORDS - taken.length);
    expect([...taken.slice(0, RECORDS - rest.length), ...rest]).toEqual(doubled);
    // Whoever has everything needs nothing more.
    expect(await resumeReplay({ log: log(), id: "f" })).toMatchObject({ records: RECORDS });
  });

  it("refuses what is no output before anything is begun", async () => {
    const wrong: readonly [object, string][] = [
      [{ sinks: { out: { nowhere: 1 } } }, "sinks.out"],
      [{ sinks: { out: "o.jsonl" } }, "sinks.out"],
      [{ sinks: [] }, "sinks"],
      [{ sinks: { out: () => {} }, outputs: new Map([["out", "o.jsonl"]]) }, "out"],
    ];
    for (const [more, where] of wrong) {
      await expect(whatIf({ ...request(), ...more }), where).rejects.toMatchObject({
        code: "BadUsage",
        where,
      });
    }
    await expect(whatIf({ ...request(), sinks: { other: () => {} } })).rejects.toMatchObject({
      code: "UnknownSink",
    });
    expect(JSON.parse((await command("replay", "list", "--json")).stdout)).toEqual([]);
  });
});
