/** What people are told of their pipeline: what was thrown and where, what waits, and what options come to. */
import { mkdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { headwater, jsonError, Workplace } from "./command.ts";

const place = new Workplace();
let cwd: string;

beforeEach(async () => {
  cwd = await place.folder();
});
afterEach(() => place.clear());

const write = (name: string, content: string) => writeFileSync(join(cwd, name), content);
const run = (...args: readonly string[]) => headwater(["run", "p.ts", ...args], { cwd });
const lines = (...records: readonly unknown[]) =>
  records.map((record) => `${JSON.stringify(record)}\n`).join("");

/** The line in which a text stands, from 1. */
const lineOf = (text: string, part: string) => text.slice(0, text.indexOf(part)).split("\n").length;

const CHECK = `// Types and comments are gone from what is run: lines there are others than here.
export interface Reading {
  readonly a: number;
}

export function check(reading: Reading): number {
  if (reading.a > 1) throw new TypeError("too much");
  return reading.a;
}
`;

const PIPELINE = `import { pipeline } from "headwater";
import { check, type Reading } from "./lib/check.ts";

const p = pipeline("p", { partitions: 2 });

p.source("in")
  .map("checked", (record) => {
    const { a } = record as Reading;
    if (a === 0) throw { status: 503, about: { retry: [1, 2] } };
    return { checked: check({ a }) };
  }, POLICY)
  .sink("out");

export default p;
`;

function writeModules(policy = "{}"): void {
  mkdirSync(join(cwd, "lib"));
  write("lib/check.ts", CHECK);
  write("p.ts", PIPELINE.replace("POLICY", policy));
}

describe.each([["inline"], ["threads"]])("what is thrown in a stage (%s)", (executor) => {
  it("is kept with the lines of the files that the pipeline was written in, and its content", async () => {
    writeModules();
    write("in.jsonl", lines({ a: 1 }, { a: 2 }, { a: 0 }));
    const ended = await run("--input", "in=in.jsonl", "--executor", executor);
    expect(ended.code, ended.stderr).toBe(0);
    const show = async (address: string) => {
      const shown = await headwater(["quarantine", "show", address, "--json"], { cwd });
      expect(shown.code, shown.stderr).toBe(0);
      return JSON.parse(shown.stdout) as { message: string; stack: string | null };
    };
    const thrown = await show("steps_p.checked.0001@0.0/checked");
    const [first, second, third] = (thrown.stack ?? "").split("\n").map((line) => line.trim());
    expect(first).toBe("TypeError: too much");
    expect(second).toMatch(new RegExp(`^at check \\(lib/check\\.ts:${lineOf(CHECK, "throw")}:\\d+\\)$`));
    expect(third).toMatch(new RegExp(`^at p\\.ts:${lineOf(PIPELINE, "return {")}:\\d+$`));

    const object = await show("steps_p.checked.0000@1.0/checked");
    expect(object.message).toBe('an object was thrown, not an Error: {"about":{"retry":[1,2]},"status":503}');
  });

  it("stops a pipeline with these lines, where they are asked for", async () => {
    writeModules('{ onError: "fail" }');
    write("in.jsonl", lines({ a: 2 }));
    const ended = await run("--input", "in=in.jsonl", "--executor", executor, "--verbose");
    expect(ended.code).toBe(3);
    expect(ended.stderr).toContain(`at check (lib/check.ts:${lineOf(CHECK, "throw")}:`);
  });

  it("is not told while a stage waits for a promise that is not kept: that it waits is", async () => {
    write(
      "p.ts",
      `import { pipeline } from "headwater";
const p = pipeline("p", { partitions: 1 });
p.source("in").map("checked", (r) => (r.a === 2 ? new Promise(() => {}) : r)).sink("out");
export default p;
`,
    );
    write("in.jsonl", lines({ a: 1 }, { a: 2 }));
    const args = ["--input", "in=in.jsonl", "--executor", executor, "--drain-timeout", "100ms", "--json"];
    const command = place.start(["run", "p.ts", ...args], { cwd });
    await command.says("stage checked waits for input 1 of steps_p.checked.0000, and has for 5 s");
    command.kill("SIGINT");
    const ended = await command.ended;
    expect(ended.code, ended.stderr).toBe(130);
    expect(JSON.parse(ended.stdout).records).toMatchObject({ accepted: 2, pending: 2 });
  });
});

describe.each(["inline", "threads"])("a stage that waits (%s)", (executor) => {
  it.each([
    [
      "to be tried again",
      '(r) => { throw new Error("not yet"); }, { onError: { retry: { times: 3, backoff: "60s" } } }',
      /has for 5 s: it is tried again (?:in \d+ s|just now), because: not yet\n/,
    ],
    [
      "for an effect that is tried again",
      '(r, ctx) => ctx.effect("charge", () => { throw new Error("HTTP 503"); }, { retry: { times: 3, backoff: "60s" } })',
      /has for 5 s: its effect charge is tried again (?:in \d+ s|just now), because: HTTP 503\n/,
    ],
    [
      "for the turn of an effect",
      '(r, ctx) => ctx.effect("charge", () => new Promise(() => {}), { concurrency: 1, timeout: "60s" })',
      /has for 5 s: its effect charge waits for other calls to end, of which 1 may be under way\n/,
    ],
  ])("is told with what it waits for: %s", async (_what, map, told) => {
    write(
      "p.ts",
      `import { pipeline } from "headwater";
const p = pipeline("p", { partitions: 2 });
p.source("in", { key: (r) => r.a }).map("checked", ${map}).sink("out");
export default p;
`,
    );
    write("in.jsonl", lines(...Array.from({ length: 8 }, (_, a) => ({ a }))));
    const args = [
      "--input",
      "in=in.jsonl",
      "--executor",
      executor,
      "--nodes",
      "1",
      "--drain-timeout",
      "100ms",
    ];
    const command = place.start(["run", "p.ts", ...args, "--json"], { cwd });
    await command.says("of steps_p.checked.0000, and has for 5 s");
    await command.says("of steps_p.checked.0001, and has for 5 s");
    command.kill("SIGINT");
    const ended = await command.ended;
    expect(ended.code, ended.stderr).toBe(130);
    expect(ended.stderr).toMatch(told);
  });
});

describe("options", () => {
  beforeEach(() => {
    writeModules();
    write("in.jsonl", lines({ a: 1 }));
  });

  it.each(["inline", "threads"])(
    "no more nodes than partitions are begun, or reported (%s)",
    async (executor) => {
      const ended = await run("--input", "in=in.jsonl", "--nodes", "99", "--executor", executor, "--json");
      expect(ended.code, ended.stderr).toBe(0);
      expect(JSON.parse(ended.stdout)).toMatchObject({ nodes: 2, records: { accepted: 1 } });
    },
  );

  it.each([
    ["--drain-timeout", "500ms"],
    ["--drain-timeout", "5"],
    ["--drain-timeout", "2m"],
    ["--tick", "0.02s"],
    ["--tick", "20"],
    ["--hang-after", "2s", "--executor", "threads"],
    ["--hang-after", "2000", "--executor", "threads"],
  ])("a time is a number with a unit, or alone: %s %s", async (...option) => {
    const ended = await run("--input", "in=in.jsonl", ...option);
    expect(ended.code, ended.stderr).toBe(0);
  });

  it.each([
    ["--drain-timeout", "soon", "from 0ms to 24h"],
    ["--drain-timeout", "2d", "from 0ms to 24h"],
    ["--hang-after", "0.1s", "from 500ms to 24h"],
    ["--tick", "1.5ms", "from 1ms to 1m"],
  ])("what is no time for %s: %s", async (option, value, bounds) => {
    const ended = await run("--input", "in=in.jsonl", option, value, "--json");
    expect(ended).toMatchObject({ code: 2, stdout: "" });
    expect(jsonError(ended)).toMatchObject({ code: "BadUsage", hint: expect.stringContaining(bounds) });
    expect(jsonError(ended).where).toContain(option);
  });

  it("an input folder without files is named", async () => {
    mkdirSync(join(cwd, "empty"));
    const ended = await run("--input", "in=empty");
    expect(ended.code, ended.stderr).toBe(0);
    expect(ended.stderr).toContain("headwater: there are no files in the folder empty\n");
    const command = place.start(["run", "p.ts", "--input", "in=empty", "--follow"], { cwd });
    await command.says("there are no files in the folder empty yet; those that come are read");
  });
});
