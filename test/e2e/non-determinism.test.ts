import { writeFileSync } from "node:fs";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { headwater, Workplace } from "./command.ts";
import { clearSound } from "./open-log.ts";

/** What the verification of a history says of why a stage gives something else than it gave. */

const place = new Workplace();
let cwd: string;

beforeEach(async () => {
  cwd = await place.folder();
});
afterEach(() => clearSound(place));

/** `value` is what the stage `weigh` makes of 31; of all other numbers it makes themselves. */
function define(value: string, head = ""): void {
  const text = `import { pipeline } from "headwater";
${head}
const p = pipeline("weights", { partitions: 1 });
p.source("in")
  .map("weigh", (row) => { const { n } = row as { n: number }; return n === 31 ? ${value} : n; }, { capture: "all" })
  .sink("out");
export default p;
`;
  writeFileSync(join(cwd, "p.ts"), text);
}

type Environment = Readonly<Record<string, string>>;

async function run(env: Environment = {}, numbers: readonly number[] = [30, 31, 32]): Promise<void> {
  writeFileSync(join(cwd, "in.jsonl"), numbers.map((n) => `{"n":${n}}\n`).join(""));
  const ended = await headwater(["run", "p.ts", "--input", "in=in.jsonl"], { cwd, env });
  expect(ended.code, ended.stderr).toBe(0);
}

async function replay(env: Environment = {}, ...args: readonly string[]) {
  const ended = await headwater(["replay", "weights", ...args, "--json"], { cwd, env });
  expect(ended.code, ended.stderr).toBeLessThan(2);
  return JSON.parse(ended.stdout);
}

const HERE = { TZ: "America/New_York", LC_ALL: "en_US.UTF-8" };
const THERE = { TZ: "Asia/Tokyo", LC_ALL: "de_DE.UTF-8" };

describe("headwater replay", () => {
  it.each([
    ["random", "randomUUID()", 'import { randomUUID } from "node:crypto";'],
    ["random", "crypto.randomBytes(4).readInt32BE()", 'import crypto from "crypto";'],
    ["random", "draw(1_000_000_000)", 'import * as all from "node:crypto"; const draw = all.randomInt;'],
    ["random", "crypto.getRandomValues(new Uint32Array(1))[0]", ""],
    ["random", "getRandomValues(new Uint32Array(1))[0]", 'import { getRandomValues } from "node:crypto";'],
    ["random", "crypto.randomUUID()", ""],
    ["clock", "performance.now()", ""],
    ["clock", "performance.now()", 'import { performance } from "node:perf_hooks";'],
    ["clock", "process.hrtime()", ""],
    ["clock", "process.hrtime.bigint()", ""],
    ["clock", "hrtime.bigint()", 'import { hrtime } from "node:process";'],
    ["clock", "new Date().toISOString()", ""],
    ["clock", "new Day().getTime()", "class Day extends Date {}"],
    ["clock", "Date() + process.pid", ""],
    ["clock", "process.uptime()", ""],
  ])("names %s of %s %s as the cause", async (kind, value, head) => {
    define(value, head);
    await run();
    const { diverged, firstDivergence } = await replay();
    expect(diverged).toBe(1);
    expect(firstDivergence).toMatchObject({ stage: "weigh", causes: [{ kind }] });
    expect(firstDivergence.causes[0].where).toMatch(/^headwater:p.ts:\d+:\d+$/);
  });

  const zone = { kind: "time-zone", was: "America/New_York", is: "Asia/Tokyo" };
  const locale = { kind: "locale", was: "en-US", is: "de-DE" };
  it.each([
    ["the hours of a time", "new Date(0).getHours()", "", [zone]],
    ["a time as it was when the module was loaded", "hours", "const hours = new Date(0).getHours();", [zone]],
    ["that of a language", "(1234.5).toLocaleString()", "", [locale]],
    ["a language's order", '"ä".localeCompare("z") + new Intl.NumberFormat().format(0.5)', "", [locale]],
    ["both", "new Date(0).toLocaleString()", "", [zone, locale]],
    ["neither", "process.pid", "", [{ kind: "elsewhere" }]],
  ])("finds %s in the time zone and locale of then", async (_, value, head, causes) => {
    define(value, head);
    await run(HERE);
    expect(await replay(HERE)).toMatchObject({ diverged: value === "process.pid" ? 1 : 0 });
    const { diverged, firstDivergence } = await replay(THERE);
    expect(diverged).toBe(1);
    expect(firstDivergence.causes).toEqual(causes);
    const people = await headwater(["replay", "weights"], { cwd, env: THERE });
    for (const { was, is } of causes as (typeof zone)[]) {
      if (was !== undefined) expect(people.stdout).toContain(`${was} then, ${is} now`);
    }
  });

  it("knows of a process that went on in another time zone, and takes nothing of it as it was", async () => {
    define("new Date(0).getHours()");
    await run(THERE, [1, 2, 3]);
    await run(HERE, [1, 2, 3, 30, 31, 32]);
    const { firstDivergence } = await replay(THERE);
    expect(firstDivergence.causes).toEqual([zone, locale].slice(0, 1));
    // Of the records for which nothing was noted, too, as it was the same version.
    const { reused, diff } = await replay(THERE, "--what-if", "1");
    expect([reused, diff.changed]).toEqual([0, 1]);
  });
});
