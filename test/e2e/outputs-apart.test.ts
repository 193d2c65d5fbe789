/** Two sinks never write one file, by whatever names it is called. */
import { existsSync, linkSync, mkdirSync, symlinkSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { pipeline, type SinkBinding, start } from "headwater";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { headwater, jsonError, Workplace } from "./command.ts";

const place = new Workplace();
let cwd: string;
beforeEach(async () => {
  cwd = await place.folder();
  mkdirSync(join(cwd, "folder"));
  symlinkSync("folder", join(cwd, "to-folder"));
  // A link to what is not there yet.
  symlinkSync("a.jsonl", join(cwd, "link.jsonl"));
  writeFileSync(
    join(cwd, "two.mjs"),
    `import { pipeline } from "headwater";
const p = pipeline("two");
const s = p.source("in");
s.map("b-side", (r) => ({ ...r, b: true })).sink("b");
s.sink("a");
export default p;
`,
  );
  writeFileSync(join(cwd, "in.jsonl"), '{"n":1}\n{"n":2}\n');
  mkdirSync(join(cwd, "node_modules"));
  symlinkSync(new URL("../..", import.meta.url).pathname, join(cwd, "node_modules/headwater"));
});
afterEach(() => place.clear());

const PAIRS: readonly (readonly [string, string])[] = [
  ["a.jsonl", "./folder/../a.jsonl"],
  ["a.jsonl", "link.jsonl"],
  ["folder/x.jsonl", "to-folder/x.jsonl"],
];

const run = (a: string, b: string, ...more: readonly string[]) =>
  headwater(
    ["run", "two.mjs", "--input", "in=in.jsonl", "--output", `a=${a}`, "--output", `b=${b}`, ...more],
    {
      cwd,
    },
  );

describe("two sinks of one pipeline", () => {
  it.each(PAIRS)("are refused %s and %s, and nothing is made", async (a, b) => {
    const ended = await run(a, b, "--json");
    expect(ended.code, ended.stderr).toBe(2);
    expect(jsonError(ended)).toMatchObject({
      code: "BadUsage",
      message: expect.stringMatching(/sinks a and b are to write the same file/),
    });
    expect(existsSync(join(cwd, ".headwater"))).toBe(false);
    expect(existsSync(join(cwd, a))).toBe(false);
  });

  it("are refused two names of one file that is there, as a program names them, too", async () => {
    writeFileSync(join(cwd, "c.jsonl"), "");
    linkSync(join(cwd, "c.jsonl"), join(cwd, "d.jsonl"));
    const p = pipeline("two");
    const source = p.source("in");
    source.sink("a");
    source.map("again", (record) => record).sink("b");
    const to = (file: string): SinkBinding => ({ file: join(cwd, file) });
    const inputs = { in: [{ n: 1 }] };
    for (const [a, b] of [...PAIRS, ["c.jsonl", "d.jsonl"] as const]) {
      const started = start(p, { log: "memory:", inputs, sinks: { a: to(a), b: to(b) } });
      await expect(started, `${a} and ${b}`).rejects.toMatchObject({ code: "BadUsage" });
    }
    const running = await start(p, { log: "memory:", inputs, sinks: { a: to("a.jsonl"), b: to("c.jsonl") } });
    await running.finished;
  });

  it("may write files in one folder, and rotated ones with their numbers", async () => {
    const ended = await run("x.jsonl", "y.jsonl", "--rotate", "b=1MB");
    expect(ended.code, ended.stderr).toBe(0);
    expect(existsSync(join(cwd, "x.jsonl"))).toBe(true);
    expect(existsSync(join(cwd, "y-000001.jsonl"))).toBe(true);
  });
});
