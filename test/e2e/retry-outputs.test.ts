/** What comes of outputs when records are put back: rotated ones, and those that are left out. */
import { readdirSync, readFileSync, renameSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { type Ended, headwater, jsonError, Workplace } from "./command.ts";
import { clearSound, countEvents } from "./open-log.ts";
import { Receiver } from "./receiver.ts";

const RECORDS = 200;
const place = new Workplace();
let cwd: string;

/** Fails at every tenth record, unless it is mended; two sinks get the others. */
function module(options: string): string {
  return `
import { pipeline } from "headwater";
const p = pipeline("kept", { partitions: 2, batchRecords: 4, ${options} });
const read = p.source("in", {}).map("read", (record) => {
  if (process.env.MENDED !== "1" && record.n % 10 === 3) throw new Error("three");
  return record;
});
read.sink("one");
read.map("number", ({ n }) => [n]).sink("two");
export default p;
`;
}

beforeEach(async () => {
  cwd = await place.folder();
  writeFileSync(join(cwd, "kept.ts"), module(""));
  const lines = Array.from(
    { length: RECORDS },
    (_, n) => `${JSON.stringify({ n, text: "x".repeat(n % 40) })}\n`,
  );
  writeFileSync(join(cwd, "in.jsonl"), lines.join(""));
});
afterEach(() => clearSound(place));

const run = (...outputs: string[]): Promise<Ended> =>
  headwater(["run", "kept.ts", "--input", "in=in.jsonl", "--json", ...outputs], { cwd });
const retry = (...more: string[]): Promise<Ended> =>
  headwater(["quarantine", "retry", "kept.ts", "--all", "--json", ...more], { cwd, env: { MENDED: "1" } });
const output = (sink: string, file: string) => ["--output", `${sink}=${file}`];
const filesOf = (prefix: string) =>
  readdirSync(cwd)
    .filter((name) => name.startsWith(prefix))
    .sort();
const linesOf = (names: readonly string[]) =>
  names.flatMap((name) => readFileSync(join(cwd, name), "utf8").split("\n").slice(0, -1));
const events = () => countEvents(join(cwd, ".headwater"));

describe("records that are put back into an output that is rotated", () => {
  const ROTATED = [...output("one", "one.jsonl"), "--rotate", "one=2KB"];

  it("come into its files with the same --rotate", async () => {
    expect((await run(...ROTATED)).code).toBe(0);
    expect(linesOf(filesOf("one"))).toHaveLength(0.9 * RECORDS);
    const retried = await retry(...ROTATED, ...output("two", "two.jsonl"));
    expect(retried.code, retried.stderr).toBe(0);
    expect(JSON.parse(retried.stdout).run.outputs).toMatchObject({ one: RECORDS / 10 });
    const numbers = linesOf(filesOf("one")).map((line) => JSON.parse(line).n);
    expect(numbers.sort((a, b) => a - b)).toEqual(Array.from({ length: RECORDS }, (_, n) => n));
    expect(filesOf("one.")).toEqual([]);
  });

  it("are asked for by nobody without it, also when the files were taken away", async () => {
    expect((await run(...ROTATED)).code).toBe(0);
    const before = [filesOf("one"), await events()];
    const refused = async () => {
      const ended = await retry(...output("one", "one.jsonl"));
      expect(ended.code).toBe(2);
      expect(jsonError(ended)).toMatchObject({
        code: "BadUsage",
        message: "the sink one has written files of this name that were begun anew after 2000 bytes each",
        where: join(cwd, "one.jsonl"),
        hint: expect.stringContaining("Add --rotate one=2kB, and they are gone on with."),
      });
    };
    await refused();
    expect([filesOf("one"), await events()]).toEqual(before);
    for (const name of filesOf("one")) renameSync(join(cwd, name), join(cwd, `taken-${name}`));
    await refused();
    expect(filesOf("one")).toEqual([]);
    expect(await events()).toBe(before[1]);
    // Who runs it may want one file now.
    expect((await run(...output("one", "one.jsonl"))).code).toBe(0);
    expect((await retry(...output("one", "one.jsonl"))).code).toBe(0);
    expect(linesOf(["one.jsonl"])).toHaveLength(RECORDS);
  });

  it("are no reason for a run to begin one file beside those that are there", async () => {
    expect((await run(...ROTATED)).code).toBe(0);
    const ended = await run(...output("one", "one.jsonl"));
    expect([ended.code, jsonError(ended).code]).toEqual([2, "BadUsage"]);
    expect(jsonError(ended).hint).toContain("Add --rotate one=2kB");
    expect(filesOf("one.")).toEqual([]);
    expect((await run(...output("one", "another.jsonl"))).code).toBe(0);
    expect(linesOf(["another.jsonl"])).toHaveLength(0.9 * RECORDS);
  });

  it("are not asked for where the option has no effect", async () => {
    expect((await run(...ROTATED)).code).toBe(0);
    const ended = await retry("--later", "--rotate", "one=2KB");
    expect(ended.code).toBe(2);
    expect(jsonError(ended).message).toContain("--rotate has no effect");
  });
});

describe("a sink that is left out", () => {
  const about = ({ stderr }: Ended) => stderr.split("\n").filter((line) => line.includes("is left out"));
  const TWO = output("two", "two.jsonl");
  const outputsOf = ({ stdout }: Ended) => JSON.parse(stdout).run?.outputs ?? JSON.parse(stdout).outputs;

  it("and wrote to a file is named once, and the file goes on where it was", async () => {
    const first = await run(...output("one", "one.jsonl"), ...TWO);
    expect([first.code, about(first)]).toEqual([0, []]);
    const retried = await retry(...TWO);
    expect(retried.code, retried.stderr).toBe(0);
    expect(about(retried)).toEqual([
      `headwater: the sink one is left out this time, and had --output one=${join(cwd, "one.jsonl")} before: nothing is written there; it goes on where it was when it is named again`,
    ]);
    expect(linesOf(["one.jsonl"])).toHaveLength(0.9 * RECORDS);
    const again = await run(...output("one", "one.jsonl"), ...TWO);
    expect([again.code, about(again)]).toEqual([0, []]);
    expect(linesOf(["one.jsonl"])).toHaveLength(RECORDS);
  });

  it("and sent to a receiver is named once, and the receiver is never sent what came meanwhile", async () => {
    const receiver = await Receiver.start();
    try {
      const url = receiver.url.replace("//", "//user:secret@");
      expect((await run(...output("one", url), ...TWO)).code).toBe(0);
      const retried = await retry(...TWO);
      expect(retried.code, retried.stderr).toBe(0);
      expect(about(retried)).toEqual([
        `headwater: the sink one is left out this time, and had --output one=${receiver.url} before: nothing is sent there, and what comes meanwhile never will be, also when it is named again`,
      ]);
      expect(outputsOf(await run(...output("one", url), ...TWO))).toMatchObject({ one: 0 });
      expect(receiver.lines).toHaveLength(0.9 * RECORDS);
    } finally {
      await receiver.stop();
    }
  });

  it("is named with how its files are rotated, until something came that it has not got", async () => {
    expect((await run(...output("one", "one.jsonl"), ...TWO, "--rotate", "one=1h")).code).toBe(0);
    const left = () => run(...TWO);
    const named = expect.stringContaining(
      `had --output one=${join(cwd, "one.jsonl")} --rotate one=1h before`,
    );
    // Nothing comes: it is as if it had not been left out.
    expect(about(await left())).toEqual([named]);
    writeFileSync(join(cwd, "in.jsonl"), `${readFileSync(join(cwd, "in.jsonl"), "utf8")}{"n":3}\n`);
    expect(about(await left())).toEqual([named]);
    writeFileSync(join(cwd, "in.jsonl"), `${readFileSync(join(cwd, "in.jsonl"), "utf8")}{"n":1000}\n`);
    expect(about(await left())).toEqual([named]);
    expect(about(await left())).toEqual([]);
  });

  it("and never had an output, or one that is no file and no receiver, is not named", async () => {
    expect(about(await run(...TWO))).toEqual([]);
    expect(about(await retry(...TWO))).toEqual([]);
    writeFileSync(join(cwd, "in.jsonl"), `${readFileSync(join(cwd, "in.jsonl"), "utf8")}{"n":1000}\n`);
    expect((await run(...output("one", "-"), ...TWO)).code).toBe(0);
    expect(about(await run(...TWO))).toEqual([]);
  });

  it("cannot go on with its file where history is let go of, and both are said", async () => {
    writeFileSync(
      join(cwd, "kept.ts"),
      module("retention: { payload: { events: 4 }, steps: { events: 4 } }"),
    );
    const lines = Array.from({ length: 10 * RECORDS }, (_, n) => `${JSON.stringify({ n })}\n`);
    writeFileSync(join(cwd, "in.jsonl"), lines.join(""));
    const rotated = [...TWO, "--rotate", "two=64MB"];
    expect((await run(...output("one", "one.jsonl"), ...rotated)).code).toBe(0);
    const retried = await retry(...rotated);
    expect(retried.code, retried.stderr).toBe(0);
    expect(about(retried)).toEqual([
      expect.stringMatching(
        /as far as history is kept\. This pipeline lets go of history: what comes meanwhile can be lost to the file/,
      ),
    ]);
    const again = () => run(...output("one", "one.jsonl"), ...rotated);
    let refused = await again();
    // When it is let go of depends on how long runs take: until then it is the records that are missing.
    for (let n = 10 * RECORDS; jsonError(refused).code === "RecordGone"; n++) {
      lines.push(`${JSON.stringify({ n })}\n`);
      writeFileSync(join(cwd, "in.jsonl"), lines.join(""));
      expect((await run(...rotated)).code).toBe(0);
      refused = await again();
    }
    expect(refused.code).toBe(2);
    expect(jsonError(refused)).toMatchObject({
      code: "ForeignOutput",
      message: expect.stringMatching(
        /may be of this pipeline, whose log has let go of what the sink delivered/,
      ),
      where: join(cwd, "one.jsonl"),
      hint: expect.stringContaining("have what comes from now on sent to standard output (-)"),
    });
    // What the hint says.
    writeFileSync(join(cwd, "in.jsonl"), `${lines.join("")}{"n":5000}\n`);
    const streamed = await run(...output("one", "-"), ...rotated);
    expect(streamed.code, streamed.stderr).toBe(0);
    expect(streamed.stdout).toBe('{"n":5000}\n');
  });
});
