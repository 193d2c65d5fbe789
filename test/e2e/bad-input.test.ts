import { spawnSync } from "node:child_process";
import {
  closeSync,
  existsSync,
  mkdirSync,
  openSync,
  readdirSync,
  readFileSync,
  writeFileSync,
  writeSync,
} from "node:fs";
import { join } from "node:path";
import { gzipSync } from "node:zlib";
import { afterEach, beforeEach, describe, expect, it, vi } from "vitest";
import { LIMITS } from "../../src/core/limits.ts";
import { headwater, jsonError, projectFile, Workplace } from "./command.ts";
import { quarantinedRecords, rejectedRecords } from "./open-log.ts";
import { between, seeded } from "./workload.ts";

const place = new Workplace();
let cwd: string;

beforeEach(async () => {
  cwd = await place.folder();
});
afterEach(() => place.clear());

/** A pipeline that wants `{"a": <number>}` and doubles it. */
const DOUBLE = `
import { pipeline } from "headwater";
const schema = {
  "~standard": {
    version: 1,
    vendor: "test",
    validate: (value) =>
      typeof value?.a === "number"
        ? { value }
        : { issues: [{ message: "expected a number", path: ["a"] }, { message: "and more", path: [] }] },
  },
};
const p = pipeline("double", { partitions: 2 });
p.source("in", { schema }).map("twice", (record) => ({ a: record.a * 2 })).sink("out");
export default p;
`;

/** A pipeline that takes anything and hands it on. */
const PASS = `
import { pipeline } from "headwater";
const p = pipeline("pass", { partitions: 1 });
p.source("in").sink("out");
export default p;
`;

function write(name: string, content: string | Uint8Array): void {
  writeFileSync(join(cwd, name), content);
}

function lines(...records: readonly unknown[]): string {
  return records
    .map((record) => `${typeof record === "string" ? record : JSON.stringify(record)}\n`)
    .join("");
}

function run(...args: readonly string[]) {
  return headwater(["run", ...args], { cwd });
}

function output(name = "out.jsonl"): unknown[] {
  const text = readFileSync(join(cwd, name), "utf8").trim();
  return text === "" ? [] : text.split("\n").map((line): unknown => JSON.parse(line));
}

const log = () => join(cwd, ".headwater");

/** A module that makes a pipeline, and uses it itself in its fifth line. */
function program(name: string, use: string): string {
  return `import { pipeline, start } from "headwater";
const p = pipeline("${name}");
p.source("in").sink("out");
export default p;
${use}
`;
}

describe("records that a source refuses", () => {
  const cases: readonly {
    readonly what: string;
    readonly file: string;
    readonly content: string;
    readonly where: string;
    readonly message: RegExp;
    /** Place and reason in the log. */
    readonly kept: { readonly line: number; readonly where: string; readonly code: string };
  }[] = [
    {
      what: "broken JSON in line 3",
      file: "in.jsonl",
      content: lines({ a: 1 }, { a: 2 }, '{"a": ', { a: 4 }),
      where: "in.jsonl:3",
      message: /broken JSON at column 7/,
      kept: { line: 3, where: "$", code: "BadInput" },
    },
    {
      what: "an integer beyond 2^53",
      file: "in.jsonl",
      content: lines({ a: 1 }, '{"a": 1, "b": [{"c": 9007199254740993}]}'),
      where: "in.jsonl:2 $.b[0].c",
      message: /9007199254740993 is beyond 2\^53/,
      kept: { line: 2, where: "$.b[0].c", code: "BadInput" },
    },
    {
      what: "a CSV row with a missing column",
      file: "in.csv",
      content: "a,b\n1,2\n3\n4,5\n",
      where: "in.csv:3 b",
      message: /1 column where the header has 2; "b" is missing/,
      kept: { line: 3, where: "b", code: "BadInput" },
    },
    {
      what: "a record that the schema refuses",
      file: "in.jsonl",
      content: lines({ a: "one" }, { a: 1 }),
      where: "in.jsonl:1 $.a",
      message: /expected a number \(and 1 more\)/,
      kept: { line: 1, where: "$.a", code: "BadInput" },
    },
    {
      what: "a record over the limit of size",
      file: "in.jsonl",
      content: lines({ a: 1 }, { a: 2, text: "x".repeat(LIMITS.recordBytes) }, { a: 3 }),
      where: "in.jsonl:2",
      message: /more than 786432 bytes/,
      kept: { line: 2, where: "$", code: "RecordTooLarge" },
    },
  ];

  for (const { what, file, content, where, message, kept } of cases) {
    it(`${what} is told, kept with the reason, and the rest goes on`, async () => {
      write("pipeline.ts", file.endsWith(".csv") ? PASS : DOUBLE);
      write(file, content);
      const args = ["pipeline.ts", "--input", `in=${file}`, "--output", "out=out.jsonl", "--json"];
      const total = content.trimEnd().split("\n").length - (file.endsWith(".csv") ? 1 : 0);

      const ended = await run(...args);
      expect(ended.code, ended.stderr).toBe(0);
      const told = ended.stderr.split("\n").filter((line) => line.startsWith(`headwater: ${where}: `));
      expect(told).toHaveLength(1);
      expect(told[0]).toMatch(message);
      expect(JSON.parse(ended.stdout)).toMatchObject({
        records: { read: total, accepted: total - 1, rejected: 1, quarantined: 0, pending: 0 },
        outputs: { out: total - 1 },
      });
      expect(output()).toHaveLength(total - 1);

      const pipeline = file.endsWith(".csv") ? "pass" : "double";
      const rejected = await rejectedRecords(log(), `${pipeline}.in`);
      expect(rejected).toHaveLength(1);
      expect(rejected[0]).toMatchObject({ input: file, ...kept });
      expect(rejected[0]?.message).toMatch(message);
      const frame = content.split("\n")[kept.line - 1] ?? "";
      const bytes = Buffer.from(rejected[0]?.frame ?? []);
      expect(bytes.toString()).toBe(frame.slice(0, LIMITS.rejectedFrameBytes));
      expect(rejected[0]?.cut).toBe(frame.length > LIMITS.rejectedFrameBytes ? true : undefined);

      // The second time they are known, so there is nothing to be strict about.
      expect((await run(...args, "--strict")).code).toBe(0);
      expect((await run(...args, "--strict", "--again")).code).toBe(1);
    });
  }
});

describe("stages that fail", () => {
  it("quarantines what is thrown, what is rejected, and what is no record, with stage and record", async () => {
    const deeds = ["nothing", "throw", "reject", "date", "map", "hole", "throw-nothing", "nothing"].map(
      (does, n) => ({ n, does }),
    );
    write("deeds.jsonl", lines(...deeds));
    const args = [projectFile("test/e2e/fixtures/fragile.ts"), "--input", "deeds=deeds.jsonl"];
    const ended = await run(...args, "--output", "done=out.jsonl", "--json", "--strict");
    expect(ended.code, ended.stderr).toBe(1);
    expect(JSON.parse(ended.stdout)).toMatchObject({
      records: { read: 8, accepted: 8, rejected: 0, quarantined: 6, pending: 0 },
      outputs: { done: 2 },
    });
    expect(output()).toEqual([{ n: 0 }, { n: 7 }]);
    const expected = [
      { n: 1, stage: "at-once", message: /^deed 1 is thrown$/, code: "StageFailed" },
      { n: 2, stage: "later", message: /^deed 2 is rejected$/, code: "StageFailed" },
      { n: 3, stage: "at-once", message: /Date/, code: "NotCanonical", where: "$.at.when" },
      { n: 4, stage: "at-once", message: /Map/, code: "NotCanonical", where: "$" },
      { n: 5, stage: "at-once", message: /undefined/, code: "NotCanonical", where: "$.list[1]" },
      { n: 6, stage: "at-once", message: /undefined/, code: "StageFailed" },
    ];
    const kept = await quarantinedRecords(log(), "fragile.at-once.0000");
    kept.sort((a, b) => a.n - b.n);
    expect(kept).toHaveLength(expected.length);
    for (const [index, { message, ...rest }] of expected.entries()) {
      const record = kept[index];
      expect(record).toMatchObject({ ...rest, value: deeds[rest.n] });
      expect(record?.message).toMatch(message);
      const line = `headwater: quarantined in ${rest.stage}: ${record?.message}: steps_fragile.at-once.0000@${rest.n}.0/${rest.stage}`;
      expect(ended.stderr.split("\n")).toContain(line);
    }
    expect(kept[0]?.stack).toContain("TypeError: deed 1 is thrown");

    const again = await run(...args, "--output", "done=out.jsonl", "--again");
    expect(again.code).toBe(0);
    expect(again.stdout).toMatch(/8 read: 8 accepted, 6 quarantined/);
  });

  it("stops at the first failure of a stage whose policy is to fail, and goes on there when it is mended", async () => {
    const stage = (body: string) => `
      import { pipeline } from "headwater";
      const p = pipeline("strict", { partitions: 1 });
      p.source("in").map("whole", (r) => { ${body} return r; }, { onError: "fail" }).sink("out");
      export default p;`;
    write("pipeline.ts", stage(`if (r.a % 1 !== 0) throw new Error("not whole: " + r.a);`));
    write("in.jsonl", lines({ a: 1 }, { a: 2.5 }, { a: 3 }));
    const args = ["pipeline.ts", "--input", "in=in.jsonl", "--output", "out=out.jsonl", "--batch", "1"];
    const failed = await run(...args, "--json");
    expect(failed.code).toBe(3);
    expect(failed.stdout).toBe("");
    expect(jsonError(failed)).toMatchObject({ code: "StageFailed", message: "not whole: 2.5" });
    expect(jsonError(failed).where).toBe("stage whole, record source_strict.in@1, input 1");
    expect(jsonError(failed).hint).toMatch(/Mend the stage and run again/);
    expect(await quarantinedRecords(log(), "strict.whole.0000")).toEqual([]);
    // The same code meets the same failure.
    expect((await run(...args)).code).toBe(3);

    write("pipeline.ts", stage("r = { a: Math.round(r.a) };"));
    const mended = await run(...args);
    expect(mended.code, mended.stderr).toBe(0);
    expect(mended.stderr).toMatch(/deployed strict version 2/);
    expect(output()).toEqual([{ a: 1 }, { a: 3 }, { a: 3 }]);
  });

  it("names the firing at which a window fails, and goes on there when it is mended", async () => {
    const stage = (body: string) => `
      import { count, pipeline, tumbling } from "headwater";
      const p = pipeline("strict", { partitions: 1 });
      p.source("in", { key: (r) => r.key, eventTime: (r) => r.time })
        .window("seconds", tumbling("1s"), {
          aggregate: count(),
          emit: (n, { key, start }) => { ${body} return { key, n, start }; },
          onError: "fail",
        })
        .sink("out");
      export default p;`;
    write("pipeline.ts", stage(`if (start === 2_000 && key === "b") throw new Error("a bad second");`));
    const readings = Array.from({ length: 12 }, (_, at) => ({ key: at % 2 ? "b" : "a", time: at * 500 }));
    write("in.jsonl", lines(...readings));
    const args = ["pipeline.ts", "--input", "in=in.jsonl", "--output", "out=out.jsonl"];
    const failed = await run(...args, "--json");
    expect(failed.code).toBe(3);
    expect(jsonError(failed)).toMatchObject({ code: "StageFailed", message: "a bad second" });
    expect(jsonError(failed).where).toMatch(
      /^stage seconds, firing_strict\.seconds@\d+ of the key b, input \d+$/,
    );

    write("pipeline.ts", stage(""));
    const mended = await run(...args);
    expect(mended.code, mended.stderr).toBe(0);
    expect(output()).toEqual(
      readings.map(({ key, time }) => ({ key, n: 1, start: Math.floor(time / 1_000) * 1_000 })),
    );
  });
});

describe("inputs that break off", () => {
  /** Random digits, so that the archive is cut in the middle of the records. */
  function manyLines(): string {
    const random = seeded(7);
    return lines(...Array.from({ length: 20_000 }, (_, a) => ({ a, x: between(random, 0, 2 ** 40) })));
  }

  it("keeps what was before the end of a truncated gzip, and goes on with the whole one", async () => {
    write("pipeline.ts", DOUBLE);
    const whole = gzipSync(manyLines());
    write("in.jsonl.gz", whole.subarray(0, whole.length / 2));
    const args = ["pipeline.ts", "--input", "in=in.jsonl.gz", "--output", "out=out.jsonl"];
    const cut = await run(...args);
    expect(cut.code).toBe(3);
    expect(cut.stderr).toMatch(
      /^headwater: the gzip file breaks off: in\.jsonl\.gz\nWhat came before was read\./m,
    );
    const before = output();
    expect(before.length).toBeGreaterThan(1_000);
    expect(before.length).toBeLessThan(20_000);

    const again = await run(...args, "--json");
    expect(again.code).toBe(3);
    expect(jsonError(again)).toMatchObject({ code: "InputFailed", where: "in.jsonl.gz" });
    expect(output()).toEqual(before);

    write("in.jsonl.gz", whole);
    const rest = await run(...args, "--json");
    expect(rest.code, rest.stderr).toBe(0);
    expect(JSON.parse(rest.stdout).records).toMatchObject({ accepted: 20_000 - before.length, rejected: 0 });
    expect(rest.stderr).toMatch(/in\.jsonl\.gz: [\d,]+ records were taken in before; going on after them/);
    expect(output()).toEqual(Array.from({ length: 20_000 }, (_, a) => ({ a: a * 2 })));
  });

  it("says at once that a gzip breaks off, though another input goes on", async () => {
    write("pipeline.ts", PASS.replace("export", 'p.source("live").sink("lived");\nexport'));
    const whole = gzipSync(manyLines());
    write("in.jsonl.gz", whole.subarray(0, whole.length / 2));
    expect(spawnSync("mkfifo", [join(cwd, "live.jsonl")]).status).toBe(0);
    const live = openSync(join(cwd, "live.jsonl"), "r+");
    let open = true;
    try {
      const inputs = ["--input", "in=in.jsonl.gz", "--input", "live=live.jsonl"];
      const outputs = ["--output", "out=out.jsonl", "--output", "lived=lived.jsonl"];
      const command = place.start(["run", "pipeline.ts", ...inputs, ...outputs, "--json"], { cwd });
      await command.says(
        "headwater: the input of in failed: the gzip file breaks off: in.jsonl.gz; the others go on, and then the run ends with this\n",
      );
      expect(command.exited).toBe(false);
      writeSync(live, '{"a":1}\n');
      await vi.waitUntil(
        () => existsSync(join(cwd, "lived.jsonl")) && readFileSync(join(cwd, "lived.jsonl")).length > 0,
        30_000,
      );
      closeSync(live);
      open = false;
      const ended = await command.ended;
      expect(ended.code).toBe(3);
      expect(jsonError(ended)).toMatchObject({ code: "InputFailed", where: "in.jsonl.gz" });
    } finally {
      if (open) closeSync(live);
    }
  });

  it("tells where a JSON array breaks off, and keeps what is before it", async () => {
    write("pipeline.ts", PASS);
    write("in.json", '[{"a":1},{"a":2},{"a":');
    const ended = await run("pipeline.ts", "--input", "in=in.json", "--output", "out=out.jsonl");
    expect(ended.code).toBe(3);
    expect(ended.stderr).toMatch(/headwater: the JSON breaks off in element 3: in\.json\n/);
    expect(output()).toEqual([{ a: 1 }, { a: 2 }]);
  });
});

describe("what cannot be begun", () => {
  interface Case {
    readonly what: string;
    readonly args: readonly string[];
    readonly code: string;
    readonly message: RegExp;
    readonly where: string | null | RegExp;
    readonly hint: RegExp;
  }
  const file = (name: string, ...more: readonly string[]) => [name, "--input", "in=in.jsonl", ...more];
  const cases: readonly Case[] = [
    {
      what: "an unknown input name",
      args: ["double.ts", "--input", "nope=in.jsonl"],
      code: "UnknownSource",
      message: /no source "nope"/,
      where: "pipeline double",
      hint: /It has: in\./,
    },
    {
      what: "an unknown output name",
      args: file("double.ts", "--output", "nope=out.jsonl"),
      code: "UnknownSink",
      message: /no sink "nope"/,
      where: "pipeline double",
      hint: /It has: out\./,
    },
    {
      what: "a missing input file",
      args: ["double.ts", "--input", "in=nothing.jsonl"],
      code: "BadInput",
      message: /there is no such file/,
      where: "nothing.jsonl",
      hint: /Check the path/,
    },
    {
      what: "an input of an unknown kind that is no text",
      args: ["double.ts", "--input", "in=in.parquet"],
      code: "BadInput",
      message: /zero bytes/,
      where: "in.parquet",
      hint: /\.jsonl, \.ndjson, \.json or \.csv/,
    },
    {
      what: "a format of an unknown name",
      args: file("double.ts", "--format", "in=xml"),
      code: "BadUsage",
      message: /not SOURCE=FORMAT: "in=xml"/,
      where: "--format",
      hint: /jsonl, json, csv, lines/,
    },
    {
      what: "a format for a source without an input",
      args: file("double.ts", "--format", "other=csv"),
      code: "BadUsage",
      message: /a format is given for "other", but no input/,
      where: "--format",
      hint: /--input other=FILE/,
    },
    {
      what: "standard input as one JSON document",
      args: ["double.ts", "--input", "in=-", "--format", "in=json"],
      code: "BadInput",
      message: /cannot be one JSON document/,
      where: "standard input",
      hint: /JSON lines/,
    },
    {
      what: "an input that is an address",
      args: ["double.ts", "--input", "in=http://localhost:1/x.jsonl"],
      code: "BadUsage",
      message: /a file, a folder, or standard input, and no address/,
      where: "http://localhost:1/x.jsonl",
      hint: /--input in=-/,
    },
    {
      what: "an output to an address of a kind that there is not",
      args: file("double.ts", "--output", "out=ftp://me:secret@localhost/x.jsonl"),
      code: "BadUsage",
      message: /cannot be sent to an address of this kind/,
      where: "ftp://localhost/x.jsonl",
      hint: /http:\/\/ or https:\/\//,
    },
    {
      what: "a rotation of standard output",
      args: file("double.ts", "--output", "out=-", "--rotate", "1h"),
      code: "BadUsage",
      message: /no output file to be rotated/,
      where: "--rotate",
      hint: /--output SINK=FILE/,
    },
    {
      what: "a rotation without an output",
      args: file("double.ts", "--rotate", "64MB"),
      code: "BadUsage",
      message: /no output file to be rotated/,
      where: "--rotate",
      hint: /--output SINK=FILE/,
    },
    {
      what: "options of a reduce that stand behind it",
      args: file("misplaced.ts"),
      code: "BadPipeline",
      message: /a reduce has all its options in one object/,
      where: "stage sums",
      hint: /Put them, such as onError, into that object/,
    },
    {
      what: "a rotation that is neither a size nor a time",
      args: file("double.ts", "--output", "out=out.jsonl", "--rotate", "often"),
      code: "BadUsage",
      message: /not a size or time/,
      where: "--rotate",
      hint: /64MB/,
    },
    {
      what: "a rotation of what is no file",
      args: file("double.ts", "--output", "out=-", "--rotate", "out=1h"),
      code: "BadUsage",
      message: /only a file is rotated/,
      where: "--rotate",
      hint: /--output out=FILE/,
    },
    {
      what: "an input that is no gzip file from its first byte on",
      args: ["double.ts", "--input", "in=plain.jsonl.gz"],
      code: "BadInput",
      message: /not a gzip file/,
      where: "plain.jsonl.gz",
      hint: /without \.gz/,
    },
    {
      what: "a .json file without an array",
      args: ["double.ts", "--input", "in=scalar.json"],
      code: "BadInput",
      message: /neither a JSON array nor an object/,
      where: "scalar.json",
      hint: /one array of records/,
    },
    {
      what: "a pipeline with a syntax error",
      args: file("syntax.ts"),
      code: "BadPipeline",
      message: /Expected/,
      where: /^syntax\.ts:3:1$/,
      hint: /^Mend the module/,
    },
    {
      what: "a pipeline that imports what is not there",
      args: file("imports.ts"),
      code: "BadPipeline",
      message: /Could not resolve "\.\/nothing\.js"/,
      where: /^imports\.ts:2:\d+$/,
      hint: /^Mend the module/,
    },
    {
      what: "a pipeline without a default export",
      args: file("no-default.ts"),
      code: "BadPipeline",
      message: /has no default export/,
      where: "no-default.ts",
      hint: /export default p/,
    },
    {
      what: "a default export that is something else",
      args: file("something-else.ts"),
      code: "BadPipeline",
      message: /exports something else than a pipeline/,
      where: "something-else.ts",
      hint: /export default p/,
    },
    {
      what: "a pipeline that throws while it is loaded",
      args: file("throws.ts"),
      code: "BadPipeline",
      message: /failed while it was loaded: boom/,
      where: "throws.ts",
      hint: /--verbose/,
    },
    {
      what: "a pipeline that is a program, too, and waits for it",
      args: file("waits.ts"),
      code: "BadPipeline",
      message: /only makes the pipeline, and cannot wait/,
      where: /^waits\.ts:5:\d+$/,
      hint: /a program of its own, which imports this module/,
    },
    {
      what: "a pipeline that is a program, too",
      args: file("starts.ts"),
      code: "BadPipeline",
      message: /only makes the pipeline, and cannot call start/,
      where: "starts.ts",
      hint: /a program of its own, which imports the module/,
    },
    {
      what: "a missing pipeline file",
      args: file("nothing.ts"),
      code: "BadPipeline",
      message: /there is no such module/,
      where: /nothing\.ts$/,
      hint: /Check the path/,
    },
    {
      what: "a folder for a pipeline",
      args: file("./folder"),
      code: "BadPipeline",
      message: /a folder, not a file/,
      where: /folder$/,
      hint: /Check the path/,
    },
    {
      what: "a pipeline without a source",
      args: file("empty.ts"),
      code: "BadPipeline",
      message: /no source/,
      where: "pipeline empty",
      hint: /Begin with p\.source/,
    },
    {
      what: "a name of a pipeline that is not allowed",
      args: file("bad-name.ts"),
      code: "BadName",
      message: /"Not_Allowed"/,
      where: "bad-name.ts",
      hint: /1 to 64 lower-case letters, digits and inner hyphens/,
    },
    {
      what: "a name of a stage that is not allowed",
      args: file("bad-stage.ts"),
      code: "BadName",
      message: /stage.*"a\.b"/,
      where: "bad-stage.ts",
      hint: /1 to 64 lower-case letters/,
    },
    {
      what: "the name of a pipeline that is not deployed",
      args: file("unknown"),
      code: "UnknownPipeline",
      message: /no pipeline of this name is deployed: unknown/,
      where: null,
      hint: /Name a module/,
    },
    {
      what: "an output file with foreign content",
      args: file("double.ts", "--output", "out=foreign.txt"),
      code: "ForeignOutput",
      message: /content that this pipeline's log knows nothing of/,
      where: /foreign\.txt$/,
      hint: /Name another file, or move this one away/,
    },
    {
      what: "an unknown option",
      args: file("double.ts", "--outptu", "out=out.jsonl"),
      code: "BadUsage",
      message: /unknown option/,
      where: /--outptu/,
      hint: /--output/,
    },
    {
      what: "an input without a name",
      args: ["double.ts", "--input", "in.jsonl"],
      code: "BadUsage",
      message: /not SOURCE=FILE/,
      where: "--input",
      hint: /edits=edits\.jsonl/,
    },
    {
      what: "a number of nodes that is none",
      args: file("double.ts", "--nodes", "many"),
      code: "BadUsage",
      message: /"many"|not a value/,
      where: /--nodes/,
      hint: /whole number from 1 to/,
    },
    {
      what: "a log of an unknown kind",
      args: file("double.ts", "--log", "paper:log"),
      code: "BadUsage",
      message: /not a log: "paper:log"/,
      where: "--log",
      hint: /lmdb:<folder>/,
    },
  ];

  const FILES: Readonly<Record<string, string>> = {
    "double.ts": DOUBLE,
    "in.jsonl": lines({ a: 1 }),
    "in.parquet": "PAR1\u0000",
    "plain.jsonl.gz": "plain\n",
    "scalar.json": "42",
    "foreign.txt": "mine\n",
    "syntax.ts": "const x = {\n\n",
    "imports.ts": '\nimport x from "./nothing.js";\nexport default x;\n',
    "no-default.ts": "export const p = 1;\n",
    "something-else.ts": "export default { name: 'p' };\n",
    "throws.ts": 'throw new Error("boom");\n',
    "waits.ts": program("waits", "const running = await start(p, {});\nrunning.end();"),
    "starts.ts": program("starts", "start(p, {}).then((running) => running.end());"),
    "empty.ts": 'import { pipeline } from "headwater";\nexport default pipeline("empty");\n',
    "misplaced.ts": `import { pipeline } from "headwater";
const p = pipeline("misplaced");
const parts = { init: () => 0, step: (n) => n + 1, emit: (n) => n };
p.source("in", { key: () => 1 }).reduce("sums", parts, { onError: "fail" }).sink("out");
export default p;
`,
    "bad-name.ts": 'import { pipeline } from "headwater";\nexport default pipeline("Not_Allowed");\n',
    "bad-stage.ts":
      'import { pipeline } from "headwater";\nconst p = pipeline("p");\np.source("in").map("a.b", (r) => r);\nexport default p;\n',
  };

  for (const { what, args, code, message, where, hint } of cases) {
    it(`${what}: exit 2, and nothing is done`, async () => {
      for (const [name, content] of Object.entries(FILES)) write(name, content);
      mkdirSync(join(cwd, "folder"));
      const before = readdirSync(cwd).sort();

      const plain = await run(...args);
      expect(plain).toMatchObject({ code: 2, signal: null, stdout: "" });
      const [first = "", second = "", ...rest] = plain.stderr.split("\n");
      expect(first).toMatch(/^headwater: /);
      expect(first).toMatch(message);
      if (where !== null) expect(first.split(": ").at(-1)).toMatch(where);
      expect(second).toMatch(hint);
      expect(rest, "no more than two lines").toEqual([""]);

      const json = await run(...args, "--json");
      expect(json).toMatchObject({ code: 2, stdout: "" });
      const error = jsonError(json);
      expect(error.code).toBe(code);
      expect(error.message).toMatch(message);
      expect(error.hint).toMatch(hint);
      if (where === null || typeof where === "string") expect(error.where).toBe(where);
      else expect(error.where).toMatch(where);

      expect(readdirSync(cwd).sort(), "nothing is made, not even a log").toEqual(before);
      expect(readFileSync(join(cwd, "foreign.txt"), "utf8")).toBe("mine\n");
    });
  }

  it("shows a stack only when it is asked for", async () => {
    write("throws.ts", FILES["throws.ts"] ?? "");
    expect((await run("throws.ts")).stderr).not.toMatch(/^ {4}at /m);
    const verbose = await run("throws.ts", "--verbose");
    expect(verbose.code).toBe(2);
    expect(verbose.stderr).toMatch(/Caused by: Error: boom\n {4}at throws\.ts:1:7/);
  });
});

describe("logs and outputs that cannot be used", () => {
  it("a log below a regular file: exit 3, with its path", async () => {
    write("double.ts", DOUBLE);
    write("in.jsonl", lines({ a: 1 }));
    write("file", "");
    const args = ["double.ts", "--input", "in=in.jsonl", "--log", "lmdb:file/log"];
    const plain = await run(...args);
    expect(plain).toMatchObject({ code: 3, stdout: "" });
    expect(plain.stderr).toMatch(
      /^headwater: the log cannot be used: it is a file, or in one, and no folder: file\/log\nName the folder/,
    );
    expect(jsonError(await run(...args, "--json"))).toMatchObject({
      code: "LogUnavailable",
      where: "file/log",
    });
    expect(readdirSync(cwd).sort()).toEqual(["double.ts", "file", "in.jsonl"]);
  });

  const readOnly = readOnlyMount();
  it.skipIf(readOnly === undefined)(
    `a log on a read-only file system: exit 3${readOnly === undefined ? " [skipped: no such mount here]" : ""}`,
    async () => {
      write("double.ts", DOUBLE);
      write("in.jsonl", lines({ a: 1 }));
      const folder = join(readOnly ?? "", "log");
      const ended = await run("double.ts", "--input", "in=in.jsonl", "--log", `lmdb:${folder}`, "--json");
      expect(ended).toMatchObject({ code: 3, stdout: "" });
      expect(jsonError(ended)).toMatchObject({ code: "LogUnavailable", where: folder });
      expect(jsonError(ended).hint).toMatch(/that it can be written/);
    },
  );

  it.each([
    ["in a folder that is not there", "out=missing/out.jsonl", /no such folder/, /missing$/],
    ["that is a folder", "out=.", /the output is a folder/, /^\.$/],
    ["with the name of a compressed file", "out=out.jsonl.gz", /not compressed/, /out\.jsonl\.gz$/],
  ])("an output %s: exit 2, and nothing is done", async (_title, output, message, where) => {
    write("double.ts", DOUBLE);
    write("in.jsonl", lines({ a: 1 }));
    const ended = await run(
      "double.ts",
      "--input",
      "in=in.jsonl",
      "--output",
      ...output.split(" "),
      "--json",
    );
    expect(ended).toMatchObject({ code: 2, stdout: "" });
    expect(jsonError(ended).code).toBe("BadUsage");
    expect(jsonError(ended).message).toMatch(message);
    expect(jsonError(ended).where).toMatch(where);
    expect(existsSync(log())).toBe(false);
  });

  it("an output in the folder that is read: exit 2, and nothing is done", async () => {
    write("double.ts", DOUBLE);
    mkdirSync(join(cwd, "folder"));
    write("folder/in.jsonl", lines({ a: 1 }));
    const ended = await run(
      "double.ts",
      "--input",
      "in=folder",
      "--output",
      "out=folder/out.jsonl",
      "--json",
    );
    expect(ended).toMatchObject({ code: 2, stdout: "" });
    expect(jsonError(ended)).toMatchObject({
      code: "BadUsage",
      message: "the sink out is to write into the folder that in reads",
      where: "folder/out.jsonl",
    });
    expect(existsSync(log())).toBe(false);
  });

  it("an output that two sinks share: exit 2, and nothing is done", async () => {
    write(
      "two.ts",
      `import { pipeline } from "headwater";
const p = pipeline("two");
const s = p.source("in");
s.sink("out");
s.sink("also");
export default p;`,
    );
    write("in.jsonl", lines({ a: 1 }));
    const outputs = ["--output", "out=a.jsonl", "--output", "also=./a.jsonl"];
    const ended = await run("two.ts", "--input", "in=in.jsonl", ...outputs, "--json");
    expect(ended).toMatchObject({ code: 2, stdout: "" });
    expect(jsonError(ended).message).toMatch(/the sinks out and also/);
    expect(existsSync(log())).toBe(false);
  });

  it("a source without an input: says so, and goes on", async () => {
    write("double.ts", DOUBLE);
    const ended = await run("double.ts");
    expect(ended.code).toBe(0);
    expect(ended.stderr).toMatch(/the source in has no input: name one with --input in=FILE/);
  });
});

/** The folder of a file system that is mounted read-only: root cannot write there either. */
function readOnlyMount(): string | undefined {
  const mounts = existsSync("/proc/mounts") ? readFileSync("/proc/mounts", "utf8").split("\n") : [];
  return mounts
    .map((mount) => mount.split(" "))
    .filter(([, , , options = ""]) => options.split(",").includes("ro"))
    .map(([, folder = ""]) => folder)
    .find(isFolder);
}

function isFolder(path: string): boolean {
  try {
    readdirSync(path);
    return true;
  } catch {
    return false;
  }
}
