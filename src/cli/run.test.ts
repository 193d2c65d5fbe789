import { PassThrough } from "node:stream";
import { describe, expect, it } from "vitest";
import type { RunRequest } from "../app/run-types.ts";
import { HeadwaterError } from "../core/errors.ts";
import { call, REPORT } from "./testing/fake-io.ts";

describe("headwater run", () => {
  it("hands over what it was told", async () => {
    const argv =
      "run p.ts --input edits=a=b.jsonl -i other=- --output channels=out.jsonl --nodes 3 --batch 100 --tick 5";
    const { requests, code } = await call([
      ...argv.split(" "),
      "--follow",
      "--keep-open",
      "--again",
      "--log",
      "memory:",
    ]);
    expect(code).toBe(0);
    expect(requests).toEqual([
      {
        pipeline: "p.ts",
        log: "memory:",
        inputs: new Map([
          ["edits", "a=b.jsonl"],
          ["other", "-"],
        ]),
        outputs: new Map([["channels", "out.jsonl"]]),
        nodes: 3,
        executor: "inline",
        batchRecords: 100,
        tickMs: 5,
        follow: true,
        keepOpen: true,
        again: true,
        tellsStalls: true,
        signal: expect.any(AbortSignal),
        onProgress: expect.any(Function),
        onNotice: expect.any(Function),
      },
    ]);
  });

  it("hands over formats, rotations and the time to finish", async () => {
    const argv =
      "run p.ts -i a=- --format a=lines -o b=b.jsonl --rotate 64MB --rotate b=1h --drain-timeout 5";
    const { requests, code } = await call(argv.split(" "));
    expect(code).toBe(0);
    expect(requests[0]).toMatchObject({
      formats: new Map([["a", "lines"]]),
      rotations: new Map([
        ["", "64MB"],
        ["b", "1h"],
      ]),
      drainMs: 5_000,
    });
    for (const twice of ["--format a=csv --format a=csv", "--rotate 1h --rotate 2h"]) {
      expect((await call(["run", "p.ts", ...twice.split(" ")])).code).toBe(2);
    }
  });

  it("says who held back whom, if it was for long", async () => {
    const chain = ["sink requests", "stage parse", "source lines"];
    const backpressure = [
      { by: "sink requests", reason: "HTTP 503", chain, seconds: 12, share: 0.8 },
      { by: "log", chain: ["log"], seconds: 0.3, share: 0.02 },
    ];
    const run = () => ({ ...REPORT, backpressure });
    expect((await call(["run", "p.ts"], { run })).stdout).toContain(
      "held back  by sink requests (HTTP 503) for 12 s, 80% of the time: stage parse, source lines\ntime",
    );
    expect(JSON.parse((await call(["run", "p.ts", "--json"], { run })).stdout).backpressure).toEqual(
      backpressure,
    );
  });

  it("says what becomes of files and receivers while it runs", async () => {
    const run = ({ onNotice }: RunRequest) => {
      onNotice?.({ kind: "file", source: "s", event: "rotated", file: "a.log" });
      onNotice?.({
        kind: "file",
        source: "s",
        event: "left-out",
        follow: false,
        file: "b",
        reason: "no text",
      });
      onNotice?.({ kind: "output-waits", sink: "requests", reason: "HTTP 503" });
      onNotice?.({ kind: "output-waits", sink: "requests", reason: undefined });
      onNotice?.({ kind: "drain-timeout", drainMs: 30_000 });
      return REPORT;
    };
    expect((await call(["run", "p.ts"], { run })).stderr.trimEnd().split("\n")).toEqual([
      "headwater: a.log is another file now: the one before is read to its end, then this one from its beginning",
      "headwater: b is left out: no text",
      "headwater: the sink requests is kept waiting, and tries again: HTTP 503",
      "headwater: the receiver of the sink requests takes records again",
      "headwater: not finished within 30 s: stopped at once; the rest is left to the next start",
    ]);
  });

  it("hands over values of parameters as they are given", async () => {
    const texts = ["big.least=5", "big.unit=", "other.list=[1, 2]", "__proto__.x=a=b.c\nd"];
    const { requests, code } = await call(["run", "p.ts", ...texts.flatMap((text) => ["--set", text])]);
    expect(code).toBe(0);
    expect(requests[0]?.parameterTexts).toEqual(
      new Map([
        ["big.least", "5"],
        ["big.unit", ""],
        ["other.list", "[1, 2]"],
        ["__proto__.x", "a=b.c\nd"],
      ]),
    );
  });

  it("takes the log from --log, else from HEADWATER_LOG, else .headwater", async () => {
    const env = { HEADWATER_LOG: "lmdb:elsewhere" };
    const log = async (argv: string[], given?: Record<string, string>) =>
      (await call(argv, given === undefined ? {} : { env: given })).requests[0]?.log;
    expect(await log(["run", "p.ts"])).toBe("lmdb:.headwater");
    expect(await log(["run", "p.ts"], { HEADWATER_LOG: "" })).toBe("lmdb:.headwater");
    expect(await log(["run", "p.ts"], env)).toBe("lmdb:elsewhere");
    expect(await log(["--log", "memory:", "run", "p.ts"], env)).toBe("memory:");
    expect(await log(["run", "--log", "memory:", "p.ts"], env)).toBe("memory:");
  });

  it.each([
    [
      ["--input", "edits.jsonl"],
      'not SOURCE=FILE: "edits.jsonl": --input\nWrite it like --input edits=edits.jsonl.\n',
    ],
    [["--input", "=edits.jsonl"], "not SOURCE=FILE"],
    [["--output", "channels="], 'not SINK=FILE: "channels=": --output\nWrite it like --output'],
    [["--input", "a=1.csv", "--input", "a=2.csv"], 'source "a" is given twice: --input\n'],
    [["--output", "a=1.csv", "--output", "a=2.csv"], 'sink "a" is given twice: --output\n'],
    [["--input", "a=-", "--input", "b=-"], "standard input is given twice: --input\n"],
    [["--set", "least=5"], 'not STAGE.PARAM=VALUE: "least=5": --set\nWrite it like --set large.least=100.\n'],
    [["--set", "big.least"], 'not STAGE.PARAM=VALUE: "big.least": --set\n'],
    [["--set", ".least=5"], "not STAGE.PARAM=VALUE"],
    [["--set", "big.=5"], "not STAGE.PARAM=VALUE"],
    [["--set", "a.b.c=5"], "not STAGE.PARAM=VALUE"],
    [["--set", ""], "not STAGE.PARAM=VALUE"],
    [["--set"], "this option needs a value"],
    [
      ["--set", "big.least=1", "--set", "big.least=1"],
      "the parameter big.least is given twice: --set\nGive it once.\n",
    ],
    [["--hang-after", "1000"], "this option is for threads: --hang-after\n"],
    [["--thread-memory", "64"], "this option is for threads: --thread-memory\n"],
    [["--executor", "threads", "--hang-after", "1"], "not a value for this option"],
    [["--executor", "threads", "--thread-memory", "1"], "not a value for this option"],
  ])("refuses %j", async (argv, text) => {
    const { code, stderr, requests } = await call(["run", "p.ts", ...argv]);
    expect(stderr).toContain(text);
    expect(code).toBe(2);
    expect(requests).toEqual([]);
  });

  it("reports to people in short lines", async () => {
    const { stdout, stderr } = await call(["run", "p.ts", "--executor", "inline"]);
    expect(stderr).toBe("");
    expect(stdout.split("\n")).toEqual([
      "pipeline   wikipedia-edits  deployment 0123456789ab  1 node",
      "records    1,234 read: 1,230 accepted, 1 duplicate, 3 rejected",
      "refused    headwater quarantine list wikipedia-edits shows them",
      "steps      3,690",
      "outputs    channels 51",
      "time       0.5 s  2,460 records/s",
      "log        C:77/P:77  2 MiB",
      "",
    ]);
    expect((await call(["run", "p.ts", "--quiet"])).stdout).toBe("");
  });

  it("says for which windows and joins records came too late", async () => {
    const records = { ...REPORT.records, late: 1_203 };
    const run = () => ({ ...REPORT, records, late: { minutes: 1_200, pairs: 3 } });
    const { stdout } = await call(["run", "p.ts"], { run });
    expect(stdout).toContain("3 rejected, 1,203 late\n");
    expect(stdout).toContain("late       for minutes 1,200, pairs 3\n");
  });

  it("prints the report as it is with --json, also with --quiet", async () => {
    for (const more of [[], ["--quiet"]]) {
      const { stdout } = await call(["run", "p.ts", "--json", ...more]);
      expect(JSON.parse(stdout)).toEqual(REPORT);
      expect(stdout.split("\n")).toHaveLength(2);
    }
  });

  it("keeps the report out of records on standard output", async () => {
    const { stdout, stderr } = await call(["run", "p.ts", "--output", "channels=-"]);
    expect(stdout).toBe("");
    expect(stderr).toContain("pipeline   wikipedia-edits");
    expect(JSON.parse((await call(["run", "p.ts", "--output", "channels=-", "--json"])).stderr)).toEqual(
      REPORT,
    );
  });

  it("says with --tour what to try next", async () => {
    const { stdout } = await call(["run", "p.ts", "--input", "edits=e.jsonl", "--tour", "--log", "lmdb:x"]);
    expect(stdout).toContain("What to try next:");
    expect(stdout).toContain("npx headwater log show source_wikipedia-edits.edits --limit 1 --log lmdb:x\n");
  });

  it("exits with 1 under --strict when records were refused", async () => {
    const records = { ...REPORT.records, rejected: 0 };
    expect((await call(["run", "p.ts"])).code).toBe(0);
    expect((await call(["run", "p.ts", "--strict"])).code).toBe(1);
    expect((await call(["run", "p.ts", "--strict"], { run: () => ({ ...REPORT, records }) })).code).toBe(0);
    const run = () => ({ ...REPORT, records: { ...records, quarantined: 1 } });
    expect((await call(["run", "p.ts", "--strict"], { run })).code).toBe(1);
  });

  it("prints at most ten notices of a kind", async () => {
    const { stderr, code } = await call(["run", "p.ts"], {
      run: ({ onNotice }) => {
        onNotice?.({
          kind: "deployed",
          pipeline: "p",
          version: 2,
          deployment: "abcdef0123456789",
          parameters: [
            { stage: "big", name: "least", value: 7n, isDefault: false },
            { stage: "big", name: "unit", value: "x".repeat(100), isDefault: true },
          ],
        });
        for (let line = 1; line <= 1_012; line++) {
          const error = new HeadwaterError("BadInput", "broken JSON at column 3");
          onNotice?.({ kind: "rejected", source: "edits", where: `edits.jsonl:${line}`, error });
        }
        onNotice?.({ kind: "resumed", source: "edits", input: "edits.jsonl", records: 1_000 });
        return REPORT;
      },
    });
    const lines = stderr.trimEnd().split("\n");
    expect(code).toBe(0);
    expect(lines).toHaveLength(13);
    expect(lines[0]).toBe(
      `headwater: deployed p version 2 (abcdef012345), big.least={"$bigint":"7"}, big.unit="${"x".repeat(59)}… (its default)`,
    );
    expect(lines[3]).toBe("headwater: edits.jsonl:3: broken JSON at column 3");
    expect(lines[11]).toBe("headwater: edits.jsonl: 1,000 records were taken in before; going on after them");
    expect(lines[12]).toBe("headwater: and 1,002 more rejected records");
  });

  it("is silent with --quiet, but for errors", async () => {
    const run = ({ onNotice }: { onNotice?: (notice: never) => void }) => {
      onNotice?.({ kind: "standing-by", message: "another process runs it" } as never);
      return REPORT;
    };
    expect((await call(["run", "p.ts", "--quiet"], { run: run as never })).stderr).toBe("");
    expect((await call(["run", "p.ts"], { run: run as never })).stderr).toBe(
      "headwater: another process runs it\n",
    );
  });

  it("finishes at the first Ctrl-C and ends at once at the second", async () => {
    const once = (request: { signal?: AbortSignal }, interrupt: () => void) => {
      interrupt();
      expect(request.signal?.aborted).toBe(true);
      return REPORT;
    };
    const first = await call(["run", "p.ts"], { run: once });
    expect(first).toMatchObject({ code: 130, deaths: 0, stdout: expect.stringContaining("pipeline") });
    expect(first.stderr).toBe(
      "headwater: taking no more in, and finishing what was accepted; Ctrl-C again stops at once\n",
    );
    expect(await call(["run", "p.ts", "--follow"], { run: once })).toMatchObject({ code: 0, deaths: 0 });
    const twice = await call(["run", "p.ts"], {
      run: (_, interrupt) => {
        interrupt();
        interrupt();
        return REPORT;
      },
    });
    expect(twice.deaths).toBe(1);
  });
});

describe("the progress bar", () => {
  const progressing = async (argv: string[], terminal: boolean) => {
    let drawn = "";
    const stream = new PassThrough();
    stream.on("data", (chunk) => {
      drawn += String(chunk);
    });
    const called = await call(argv, {
      ...(terminal
        ? { terminal: Object.assign(stream, { isTTY: true, columns: 120 }) as unknown as NodeJS.WriteStream }
        : {}),
      run: async ({ onProgress }) => {
        for (let read = 0; read <= 10; read++) {
          const heldBackBy = { by: "sink requests", reason: "HTTP 503" };
          onProgress?.({ accepted: read, delivered: 0, bytes: undefined, bytesRead: read, heldBackBy });
          // The bar's library is loaded when the bar is first wanted.
          await import("cli-progress");
          await new Promise((resolve) => setImmediate(resolve));
        }
        return REPORT;
      },
    });
    return { drawn, stderr: called.stderr };
  };

  it("is drawn on a terminal when a run takes longer than a second", async () => {
    const { drawn } = await progressing(["run", "p.ts"], true);
    expect(drawn).toContain("records accepted");
    expect(drawn).toContain("held back by sink requests (HTTP 503)");
  });

  it("is not drawn elsewhere, nor with --quiet", async () => {
    expect(await progressing(["run", "p.ts"], false)).toEqual({ drawn: "", stderr: "" });
    expect(await progressing(["run", "p.ts", "--quiet"], true)).toEqual({ drawn: "", stderr: "" });
  });
});
