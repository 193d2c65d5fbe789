import { describe, expect, it } from "vitest";
import { ERROR_CODES, type ErrorCode, HeadwaterError } from "../core/errors.ts";
import { call } from "./testing/fake-io.ts";

describe("help and version", () => {
  it.each([
    ["--help"],
    ["run", "--help"],
    ["log", "--help"],
    ["log", "show", "--help"],
    ["state", "--help"],
    ["lineage", "--help"],
    ["search", "--help"],
    ["audit", "--help"],
    ["evidence", "--help"],
    ["verify", "--help"],
    ["help", "run"],
  ])("prints help on standard output: %s", async (...argv) => {
    const { code, stdout, stderr } = await call(argv.filter((word) => typeof word === "string"));
    expect(code).toBe(0);
    expect(stdout).toContain("Usage: headwater");
    expect(stdout).toContain("--json");
    expect(stderr).toBe("");
  });

  it("prints the version", async () => {
    expect(await call(["--version"])).toMatchObject({
      code: 0,
      stdout: expect.stringMatching(/^\d+\.\d+\.\d+\n$/),
    });
  });

  it.each([[[]], [["log"]]])("shows help for %j and says that this is no command", async (argv) => {
    const { code, stdout, stderr } = await call(argv);
    expect(code).toBe(2);
    expect(stdout).toBe("");
    expect(stderr).toContain("Usage: headwater");
  });
});

describe("wrong usage", () => {
  it.each([
    [["runn"], "headwater: unknown command: runn\nDid you mean run?\n"],
    [["run", "p.ts", "--folow"], "headwater: unknown option: --folow\nDid you mean --follow?\n"],
    [["log", "stream"], "headwater: unknown command: stream\nDid you mean streams?\n"],
    [
      ["run"],
      'headwater: an argument is missing: pipeline\n"headwater --help" lists commands and options.\n',
    ],
    [["run", "p.ts", "q.ts"], "headwater: too many arguments: run\nExpected 1 argument but got 2.\n"],
    [["run", "p.ts", "--log"], 'headwater: this option needs a value: --log <log>\n"headwater --help" lists'],
    [
      ["run", "p.ts", "--nodes", "0"],
      'headwater: not a value for this option: "0": --nodes <n>\nIt has to be a whole number from 1 to 128.\n',
    ],
    [["run", "p.ts", "--batch", "1e3"], 'headwater: not a value for this option: "1e3": --batch <records>\n'],
    [["run", "p.ts", "--executor", "gpu"], "Allowed choices are inline, threads.\n"],
  ])("%j", async (argv, text) => {
    const { code, stdout, stderr, requests } = await call(argv);
    expect(stderr).toContain(text);
    expect(code).toBe(2);
    expect(stdout).toBe("");
    expect(requests).toEqual([]);
  });

  it.each([
    [["run", "p.ts", "--nodes", "2", "--nodes", "2"], "--nodes"],
    [["run", "p.ts", "--log", "memory:", "--log=memory:"], "--log"],
    [["--log", "memory:", "run", "p.ts", "--log", "memory:"], "--log"],
    [["replay", "p", "--from", "5", "--from", "7"], "--from"],
    [["replay", "p", "--source", "in", "--source", "in"], "--source"],
    [["replay", "p", "--new-effects", "call", "--new-effects", "refuse"], "--new-effects"],
    [["replay", "resume", "i", "--diff", "a", "--diff", "b"], "--diff"],
    [["replay", "--rate", "5", "resume", "i", "--rate", "5"], "--rate"],
    [["log", "tail", "-n", "3", "--lines", "4"], "--lines"],
    [["log", "retain", "p", "--payload", "events=1", "--payload", "age=1d"], "--payload"],
    [["state", "p", "s", "--at", "1", "--at", "2"], "--at"],
    [["audit", "--seed", "a", "--seed", "b"], "--seed"],
    [["evidence", "r", "--checkpoint", "c", "--out", "a", "--out", "b"], "--out"],
    [["lineage", "r", "--format", "dot", "--format", "json"], "--format"],
  ])("an option of which one value counts is given once: %j", async (argv, where) => {
    const { code, stderr, requests } = await call([...argv, "--json"]);
    expect([code, JSON.parse(stderr).error]).toEqual([
      2,
      { code: "BadUsage", message: "the option is given twice", where, hint: "Give it once." },
    ]);
    expect(requests).toEqual([]);
  });

  it.each([
    [["audit", "--seed", "a"], "--seed", "--reexecute"],
    [["replay", "p", "--log-time"], "--log-time", "--from or --to"],
    [["search", "p", "--log-time", "--id", "3"], "--log-time", "--from or --to"],
    [["state", "p", "s", "--log-time"], "--log-time", "--at"],
  ])("an option that says how another is meant goes with it: %j", async (argv, where, others) => {
    const { code, stderr } = await call([...argv, "--json"]);
    expect([code, JSON.parse(stderr).error]).toMatchObject([
      2,
      { code: "BadUsage", message: `the option goes with ${others}`, where },
    ]);
  });

  it("options without a value, and those that are collected, may be given again", async () => {
    const argv = ["run", "p.ts", "--again", "--again", "--quiet", "--quiet"];
    const { code, requests } = await call([...argv, "--output", "a=a.jsonl", "--output", "b=b.jsonl"]);
    expect([code, requests]).toMatchObject([0, [{ again: true }]]);
    expect([...(requests[0]?.outputs.keys() ?? [])]).toEqual(["a", "b"]);
  });

  it.each([
    [
      ["resume", "i"],
      ["--what-if", "q.ts"],
    ],
    [
      ["resume", "i"],
      ["--set", "a.b=1"],
    ],
    [
      ["resume", "i"],
      ["--from", "5"],
    ],
    [
      ["resume", "i"],
      ["--key", "k"],
    ],
    [["resume", "i"], ["--full"]],
    [
      ["resume", "i"],
      ["--new-effects", "refuse"],
    ],
    [
      ["resume", "i"],
      ["--id", "i"],
    ],
    [
      ["show", "i"],
      ["--diff", "d"],
    ],
    [["list"], ["--rate", "5"]],
    [["pause", "i"], ["--log-time"]],
  ])(
    "an option of a command above belongs to what is asked, or is refused: replay %j %j",
    async (of, option) => {
      for (const argv of [
        [...of, ...option],
        [...option, ...of],
      ]) {
        const { code, stderr } = await call(["replay", ...argv, "--json"]);
        expect([code, JSON.parse(stderr).error]).toMatchObject([
          2,
          { code: "BadUsage", message: `replay ${of[0]} has no such option`, where: option[0] },
        ]);
      }
    },
  );

  it("is told as JSON with --json, wherever that stands", async () => {
    const { code, stderr } = await call(["run", "--json", "p.ts", "--zzzzzzzzz"]);
    expect(code).toBe(2);
    expect(JSON.parse(stderr)).toEqual({
      error: {
        code: "BadUsage",
        message: "unknown option",
        where: "--zzzzzzzzz",
        hint: '"headwater --help" lists commands and options.',
      },
    });
  });
});

describe("errors", () => {
  const failing = (error: unknown, ...options: string[]) =>
    call(["run", "p.ts", ...options], {
      run: () => {
        throw error;
      },
    });

  it("prints what is wrong, where, and what to do", async () => {
    const error = new HeadwaterError("InputFailed", "the gzip file breaks off", {
      where: "edits.jsonl.gz",
      hint: "Get the file again.",
    });
    expect(await failing(error)).toMatchObject({
      code: 3,
      stdout: "",
      stderr: "headwater: the gzip file breaks off: edits.jsonl.gz\nGet the file again.\n",
    });
    expect(await failing(new HeadwaterError("LogFull", "no space"))).toMatchObject({
      stderr: "headwater: no space\n",
    });
  });

  it("prints a stack only with --verbose", async () => {
    const error = new HeadwaterError("Internal", "odd", { cause: new TypeError("deep down") });
    expect((await failing(error)).stderr).not.toContain("    at ");
    const verbose = (await failing(error, "--verbose")).stderr;
    expect(verbose).toContain("    at ");
    expect(verbose).toContain("TypeError: deep down");
  });

  it("shows an unexpected error as such", async () => {
    expect(await failing(new TypeError("x is not a function"))).toMatchObject({
      code: 3,
      stderr: expect.stringMatching(/^headwater: x is not a function\n.*--verbose/),
    });
    expect(JSON.parse((await failing("just text", "--json")).stderr)).toMatchObject({
      error: { code: "Internal", message: "just text", where: null },
    });
  });

  const usage: readonly ErrorCode[] = [
    "BadUsage",
    "BadName",
    "BadPipeline",
    "BadParameter",
    "BadInput",
    "UnknownSource",
    "UnknownSink",
    "UnknownPipeline",
    "UnknownStage",
    "RecordNotFound",
    "RecordGone",
    "ForeignOutput",
    "NotQuarantined",
    "NotRetryable",
    "IncompatibleDeployment",
    "StreamNotFound",
    "StreamTombstoned",
    "InvalidPosition",
  ];

  it.each(Object.keys(ERROR_CODES) as ErrorCode[])("gives %s its exit code", async (code) => {
    const expected = code === "Stopped" ? 130 : usage.includes(code) ? 2 : 3;
    expect((await failing(new HeadwaterError(code, "it"))).code).toBe(expected);
  });
});
