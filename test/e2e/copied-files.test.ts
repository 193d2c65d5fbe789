/** Files that have the same records: each that is there at the start is taken, and a copy of what was taken is not. */
import {
  appendFileSync,
  copyFileSync,
  mkdirSync,
  readFileSync,
  renameSync,
  rmSync,
  writeFileSync,
} from "node:fs";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { type Ended, headwater, projectFile, Workplace } from "./command.ts";
import { clearSound } from "./open-log.ts";

const place = new Workplace();
let cwd: string;
beforeEach(async () => {
  cwd = await place.folder();
});
afterEach(() => clearSound(place));

const linesOf = (from: number, to: number) => Array.from({ length: to - from }, (_, n) => `line ${from + n}`);
const write = (file: string, lines: readonly string[]) =>
  writeFileSync(join(cwd, file), lines.map((line) => `${line}\n`).join(""));
const append = (file: string, lines: readonly string[]) =>
  appendFileSync(join(cwd, file), lines.map((line) => `${line}\n`).join(""));

function output(): string[] {
  const text = readFileSync(join(cwd, "out.jsonl"), "utf8");
  const rows = text.split("\n").slice(0, -1);
  return rows.map((row) => (JSON.parse(row) as { line: string }).line);
}

function run(input: string, env: Readonly<Record<string, string>> = {}): Promise<Ended> {
  const pipeline = projectFile("test/e2e/fixtures/text.ts");
  const args = ["--input", `lines=${input}`, "--output", "out=out.jsonl", "--batch", "16", "--json"];
  return headwater(["run", pipeline, ...args], { cwd, env });
}

/** Runs to the end, and answers how many records it took, and what it said of those before. */
async function taken(
  input: string,
): Promise<{ accepted: number; before: string | undefined; copy: boolean }> {
  const { code, stdout, stderr } = await run(input);
  expect(code, stderr).toBe(0);
  const { accepted } = (JSON.parse(stdout) as { records: { accepted: number } }).records;
  const before = /([\d,]+) records were taken in before/.exec(stderr)?.[1];
  return { accepted, before, copy: stderr.includes("it is not taken again") };
}

describe("files that are there at the start", () => {
  it.each([
    ["are equal", 160],
    ["begin alike, and the second has more", 260],
  ])("are all taken, wherever the run is killed, where they %s", async (_, more) => {
    mkdirSync(join(cwd, "in"));
    const [a, b] = [linesOf(0, 160), linesOf(0, more)];
    write("in/a.log", a);
    write("in/b.log", b);
    let kills = 0;
    // 160 records are 10 batches.
    for (const point of ["door:after:3", "door:after:10", "door:after:11", "door-claim:after:2"]) {
      for (const left of ["out.jsonl", ".headwater"])
        rmSync(join(cwd, left), { recursive: true, force: true });
      if ((await run("in", { HEADWATER_FAIL_AT: point })).signal === "SIGKILL") kills++;
      expect((await run("in")).code).toBe(0);
      expect(output(), point).toEqual([...a, ...b]);
      const total = String(a.length + b.length);
      expect(await taken("in"), point).toEqual({ accepted: 0, before: total, copy: false });
    }
    expect(kills).toBeGreaterThanOrEqual(3);
  });
});

describe("a copy of what was taken", () => {
  it("in a folder is not taken, and neither is again when the one that it is of has grown", async () => {
    mkdirSync(join(cwd, "in"));
    write("in/app.log", linesOf(0, 100));
    expect(await taken("in")).toEqual({ accepted: 100, before: undefined, copy: false });
    copyFileSync(join(cwd, "in/app.log"), join(cwd, "in/app.bak"));
    expect(await taken("in")).toEqual({ accepted: 0, before: "100", copy: true });
    append("in/app.log", linesOf(100, 150));
    expect((await run("in", { HEADWATER_FAIL_AT: "door:after:1" })).signal).toBe("SIGKILL");
    expect(await taken("in")).toEqual({ accepted: 34, before: "116", copy: false });
    expect(await taken("in")).toEqual({ accepted: 0, before: "150", copy: false });
    append("in/app.bak", ["other"]);
    expect(await taken("in")).toEqual({ accepted: 1, before: "150", copy: false });
    expect(output()).toEqual([...linesOf(0, 150), "other"]);
  });

  it("is an input of its own, also as a single file, and one that was moved is not", async () => {
    write("a.log", linesOf(0, 30));
    expect((await taken("a.log")).accepted).toBe(30);
    write("b.log", linesOf(0, 50));
    expect(await taken("b.log")).toEqual({ accepted: 20, before: "30", copy: false });
    expect(await taken("a.log")).toEqual({ accepted: 0, before: "30", copy: false });
    expect(await taken("b.log")).toEqual({ accepted: 0, before: "50", copy: false });

    copyFileSync(join(cwd, "a.log"), join(cwd, "c.log"));
    expect((await taken("c.log")).accepted).toBe(0);
    append("a.log", ["more of a"]);
    expect((await taken("a.log")).accepted).toBe(1);
    expect((await taken("c.log")).accepted).toBe(0);

    renameSync(join(cwd, "c.log"), join(cwd, "d.log"));
    append("d.log", ["more of d"]);
    expect((await taken("d.log")).accepted).toBe(1);
    expect(output()).toEqual([...linesOf(0, 50), "more of a", "more of d"]);
  });
});
