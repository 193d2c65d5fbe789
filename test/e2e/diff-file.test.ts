import {
  copyFileSync,
  existsSync,
  linkSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  renameSync,
  symlinkSync,
  writeFileSync,
} from "node:fs";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { headwater, jsonError, Workplace } from "./command.ts";
import { clearSound } from "./open-log.ts";

/** The file of all differences takes the place of older ones, and of nothing else. */

const place = new Workplace();
let cwd: string;

const RECORDS = 200;

beforeEach(async () => {
  cwd = await place.folder();
  for (const [file, times] of [
    ["p.ts", 1],
    ["double.ts", 2],
  ] as const) {
    const text = `import { pipeline } from "headwater";
const p = pipeline("numbers", { batchRecords: 16 });
const times = p.source("in").map("times", (row) => ({ n: ${times} * (row as { n: number }).n }));
times.sink("out");
times.filter("nothing", () => false).sink("none");
export default p;
`;
    writeFileSync(join(cwd, file), text);
  }
  const rows = Array.from({ length: RECORDS }, (_, n) => `${JSON.stringify({ n: n + 1 })}\n`);
  writeFileSync(join(cwd, "in.jsonl"), rows.join(""));
  const outputs = ["--output", "out=out.jsonl", "--output", "none=none.jsonl"];
  const ran = await command("run", "p.ts", "--input", "in=in.jsonl", ...outputs, "--quiet");
  expect(ran.code, ran.stderr).toBe(0);
});
afterEach(() => clearSound(place));

const command = (...args: readonly string[]) => headwater(args, { cwd });
const whatIf = (...args: readonly string[]) =>
  command("replay", "numbers", "--what-if", "double.ts", "--json", ...args);
const read = (file: string) => readFileSync(join(cwd, file));
const replays = async () => JSON.parse((await command("replay", "list", "--json")).stdout);

/** What `ended` was refused with: by then nothing was begun. */
async function refusal(ended: Awaited<ReturnType<typeof command>>) {
  expect(ended.code, ended.stderr).toBe(2);
  expect(await replays()).toEqual([]);
  return jsonError(ended);
}

describe("headwater replay --diff", () => {
  it("replaces differences, also such as were cut off, and an empty file", async () => {
    writeFileSync(join(cwd, "d.jsonl"), "");
    expect((await whatIf("--diff", "d.jsonl")).code).toBe(0);
    const whole = read("d.jsonl");
    expect(whole.toString().trimEnd().split("\n")).toHaveLength(RECORDS);
    for (const bytes of [whole.length, 10_000, 30, 15, 5]) {
      writeFileSync(join(cwd, "d.jsonl"), whole.subarray(0, bytes));
      const again = await whatIf("--diff", "d.jsonl");
      expect(again.code, again.stderr).toBe(0);
      expect(read("d.jsonl").equals(whole)).toBe(true);
    }
  });

  it("refuses a file with anything else, whatever leads to it", async () => {
    linkSync(join(cwd, "out.jsonl"), join(cwd, "hard.jsonl"));
    symlinkSync("p.ts", join(cwd, "soft.jsonl"));
    copyFileSync(join(cwd, "in.jsonl"), join(cwd, "copy.jsonl"));
    writeFileSync(join(cwd, "like.jsonl"), `{"sink":"out","kind":"other","ordinal":1}\n`);
    const files = ["copy.jsonl", "double.ts", "p.ts", "soft.jsonl", "like.jsonl"];
    for (const file of files) {
      const before = read(file);
      expect(await refusal(await whatIf("--diff", file))).toMatchObject({
        code: "ForeignOutput",
        message: "the file holds something else than differences",
        where: file,
      });
      expect(read(file).equals(before)).toBe(true);
    }
    const out = read("out.jsonl");
    for (const file of ["out.jsonl", "hard.jsonl"]) {
      expect(await refusal(await whatIf("--diff", file))).toMatchObject({
        code: "BadUsage",
        message: "the sink numbers/out of this log delivers to the file",
        where: file,
      });
    }
    expect(read("out.jsonl").equals(out)).toBe(true);
  });

  it("refuses what sinks of the log write, where that is empty or gone, too", async () => {
    expect(read("none.jsonl")).toHaveLength(0);
    expect(await refusal(await whatIf("--diff", "none.jsonl"))).toMatchObject({
      message: "the sink numbers/none of this log delivers to the file",
    });
    renameSync(join(cwd, "out.jsonl"), join(cwd, "away.jsonl"));
    symlinkSync("out.jsonl", join(cwd, "to-out.jsonl"));
    for (const file of ["out.jsonl", "to-out.jsonl"]) {
      expect(await refusal(await whatIf("--diff", file))).toMatchObject({
        message: "the sink numbers/out of this log delivers to the file",
        where: file,
      });
    }
    expect(existsSync(join(cwd, "out.jsonl"))).toBe(false);
  });

  it("refuses what sinks of other replays write, and the files of one that is rotated", async () => {
    mkdirSync(join(cwd, "parts"));
    const asked = ["--id", "r", "--output", "out=parts/o.jsonl", "--rotate", "1KiB"];
    expect((await whatIf(...asked)).code).toBe(0);
    const [first = "", ...more] = readdirSync(join(cwd, "parts")).toSorted();
    expect(more.length).toBeGreaterThan(0);
    const before = read(`parts/${first}`);
    for (const file of [first, "o-000099.jsonl"]) {
      const refused = await whatIf("--diff", `parts/${file}`);
      expect([refused.code, jsonError(refused)]).toMatchObject([
        2,
        { code: "BadUsage", message: "the sink numbers~r/out of this log delivers to the file" },
      ]);
    }
    expect(read(`parts/${first}`).equals(before)).toBe(true);
    expect(existsSync(join(cwd, "parts", "o-000099.jsonl"))).toBe(false);
    // The name that the files are made of is none of them.
    const beside = await whatIf("--diff", "parts/o.jsonl");
    expect(beside.code, beside.stderr).toBe(0);
    // What was to be written when it was begun is known, before the sink has begun.
    const killed = await headwater(
      ["replay", "numbers", "--what-if", "double.ts", "--id", "k", "--output", "out=k.jsonl"],
      { cwd, env: { HEADWATER_FAIL_AT: "claim:after:1" } },
    );
    expect(killed.signal).toBe("SIGKILL");
    const refused = await whatIf("--diff", "k.jsonl");
    expect(jsonError(refused)).toMatchObject({
      message: "the sink numbers~k/out of this log delivers to the file",
    });
  });

  it("refuses an output of the same replay, by whatever path", async () => {
    symlinkSync(".", join(cwd, "here"));
    for (const [output, diff, rotate] of [
      ["wx", "wx", []],
      ["wx", "here/wx", []],
      ["wx.jsonl", "wx-000001.jsonl", ["--rotate", "1KiB"]],
    ] as const) {
      const refused = await whatIf("--output", `out=${output}`, ...rotate, "--diff", diff);
      expect(await refusal(refused)).toMatchObject({
        code: "BadUsage",
        message: "the differences and the sink out are to write the same file",
        where: diff,
      });
      expect(existsSync(join(cwd, diff))).toBe(false);
    }
  });

  it("refuses the log's own files, and leaves the log as it is", async () => {
    linkSync(join(cwd, ".headwater", "data.mdb"), join(cwd, "linked"));
    for (const file of [".headwater/data.mdb", ".headwater/new.jsonl"]) {
      expect(await refusal(await whatIf("--diff", file))).toMatchObject({
        code: "BadUsage",
        message: "the file is in the folder of the log",
        where: file,
      });
    }
    expect(await refusal(await whatIf("--diff", "linked"))).toMatchObject({ code: "ForeignOutput" });
    expect((await command("audit", "--quiet")).code).toBe(0);
    // Going on with a replay, nothing else holds.
    expect((await whatIf("--id", "a")).code).toBe(0);
    const resumed = await command("replay", "resume", "a", "--diff", ".headwater/data.mdb", "--json");
    expect([resumed.code, jsonError(resumed).message]).toEqual([2, "the file is in the folder of the log"]);
    expect((await command("audit", "--quiet")).code).toBe(0);
  });

  it("does not replace what has come to its place since it was begun", async () => {
    expect((await whatIf("--id", "a", "--diff", "d.jsonl")).code).toBe(0);
    copyFileSync(join(cwd, "in.jsonl"), join(cwd, "d.jsonl"));
    const resumed = await command("replay", "resume", "a", "--json");
    expect([resumed.code, jsonError(resumed).code]).toEqual([2, "ForeignOutput"]);
    expect(read("d.jsonl").equals(read("in.jsonl"))).toBe(true);
    expect((await command("replay", "resume", "a", "--diff", "e.jsonl")).code).toBe(0);
    expect(read("e.jsonl").toString().trimEnd().split("\n")).toHaveLength(RECORDS);
  });

  it("writes to standard output, which has to be for them alone, and is not remembered", async () => {
    expect((await whatIf("--diff", "d.jsonl")).code).toBe(0);
    const printed = await whatIf("--id", "s", "--diff", "-");
    expect(printed.code, printed.stderr).toBe(0);
    expect(printed.stdout).toBe(read("d.jsonl").toString());
    expect(JSON.parse(printed.stderr.trimEnd().split("\n").at(-1) ?? "")).toMatchObject({ mode: "what-if" });
    expect(readdirSync(cwd)).not.toContain("-");
    const quiet = await command("replay", "numbers", "--what-if", "double.ts", "--diff", "-", "--quiet");
    expect([quiet.stdout, quiet.stderr]).toEqual([printed.stdout, ""]);
    const resumed = await command("replay", "resume", "s", "--json");
    expect(JSON.parse(resumed.stdout)).toMatchObject({ id: "s", mode: "what-if" });
    const named = await command("replay", "resume", "s", "--diff", "-", "--quiet");
    expect([named.code, named.stdout]).toEqual([0, printed.stdout]);
    const both = await whatIf("--diff", "-", "--output", "out=-");
    expect([both.code, jsonError(both)]).toMatchObject([
      2,
      { code: "BadUsage", message: "the differences and the sink out are to write to standard output" },
    ]);
  });

  it("refuses a folder, a path without one, and an address, before anything is done", async () => {
    mkdirSync(join(cwd, "folder"));
    for (const diff of ["folder", "nowhere/d.jsonl", "http://127.0.0.1:1/d"]) {
      expect(await refusal(await whatIf("--diff", diff))).toMatchObject({ code: "BadUsage" });
    }
  });
});
