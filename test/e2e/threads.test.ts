/** `--executor threads` from the command line. */
import { readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { headwater, jsonError, projectFile, Workplace } from "./command.ts";
import { clearSound, inspectLog } from "./open-log.ts";
import { orderLines } from "./workload.ts";

const place = new Workplace();
let cwd: string;

beforeEach(async () => {
  cwd = await place.folder();
});
afterEach(() => clearSound(place));

const SINKS = ["stock", "spent", "receipts"] as const;

/** Arguments that run the pipeline `busy`; its outputs have names of their own. */
function busy(name: string, ...more: readonly string[]): string[] {
  return [
    ...["run", projectFile("test/e2e/fixtures/busy.ts"), "--log", `lmdb:${name}`],
    ...["--input", "orders=orders.jsonl", "--json", "--batch", "32"],
    ...SINKS.flatMap((sink) => ["--output", `${sink}=${name}-${sink}.jsonl`]),
    ...more,
  ];
}

const THREADS = ["--executor", "threads", "--nodes", "2"];

const outputsOf = (name: string) =>
  SINKS.map((sink) => readFileSync(join(cwd, `${name}-${sink}.jsonl`), "utf8"));

describe("a run in threads", () => {
  beforeEach(() => writeFileSync(join(cwd, "orders.jsonl"), orderLines(2_000, 51)));

  it("writes the same files, byte for byte, and reports the same", async () => {
    const inline = await headwater(busy("inline"), { cwd });
    const threads = await headwater(busy("threads", ...THREADS), { cwd });
    expect(threads.code, threads.stderr).toBe(0);
    expect(outputsOf("threads")).toEqual(outputsOf("inline"));
    const [ofInline, ofThreads] = [inline, threads].map(({ stdout }) => JSON.parse(stdout));
    expect(ofThreads).toMatchObject({ nodes: 2, records: ofInline.records, steps: ofInline.steps });
    await inspectLog(join(cwd, "threads"), "busy");
  });

  it("goes on where it was after its process was killed in a thread", async () => {
    await headwater(busy("inline"), { cwd });
    for (const at of ["steps:between:2", "claim:after:3", "steps:after:5"]) {
      const killed = await headwater(busy("threads", ...THREADS), { cwd, env: { HEADWATER_FAIL_AT: at } });
      expect(killed.signal, killed.stderr).toBe("SIGKILL");
    }
    const ended = await headwater(busy("threads", ...THREADS), { cwd });
    expect(ended.code, ended.stderr).toBe(0);
    expect(outputsOf("threads")).toEqual(outputsOf("inline"));
    await inspectLog(join(cwd, "threads"), "busy");
  });

  it("finishes what is in flight when it is told to stop, and inline goes on", async () => {
    await headwater(busy("inline"), { cwd });
    const command = place.start(busy("threads", ...THREADS, "--follow"), { cwd });
    await command.says("deployed busy");
    command.kill("SIGINT");
    expect((await command.ended).code).toBe(0);
    const ended = await headwater(busy("threads"), { cwd });
    expect(ended.code, ended.stderr).toBe(0);
    expect(outputsOf("threads")).toEqual(outputsOf("inline"));
  });
});

describe("a stage that computes", () => {
  it.each([
    ["in a thread", ["--executor", "threads", "--nodes", "1"]],
    ["in the thread of all", []],
  ])("is named as the one that holds back the rest, and not the log: %s", async (_, executor) => {
    writeFileSync(
      join(cwd, "computes.mjs"),
      `import { pipeline } from "headwater";
const p = pipeline("computes", { partitions: 2 });
p.source("in", { key: (r) => r.n })
  .map("slow", (r) => {
    for (const begun = performance.now(); performance.now() - begun < 0.5; );
    return r;
  })
  .sink("out");
export default p;
`,
    );
    const numbers = Array.from({ length: 6_000 }, (_, n) => `{"n":${n}}\n`);
    writeFileSync(join(cwd, "in.jsonl"), numbers.join(""));
    const args = ["run", "computes.mjs", "--input", "in=in.jsonl", "--json"];
    const ended = await headwater([...args, ...executor], { cwd });
    expect(ended.code, ended.stderr).toBe(0);
    const { backpressure } = JSON.parse(ended.stdout);
    expect(backpressure[0]).toMatchObject({ by: "stage slow", chain: ["stage slow", "source in"] });
    expect(backpressure[0].share).toBeGreaterThan(0.5);
  });
});

describe("a stage that ends its thread", () => {
  it("stops the pipeline if its policy is to fail, and the record is named", async () => {
    const deeds = Array.from({ length: 50 }, (_, n) => ({ n, ...(n === 20 && { does: "exit" }) }));
    writeFileSync(join(cwd, "deeds.jsonl"), deeds.map((deed) => `${JSON.stringify(deed)}\n`).join(""));
    const ended = await headwater(
      [
        ...["run", projectFile("test/e2e/fixtures/faulty.ts"), "--input", "deeds=deeds.jsonl", "--json"],
        ...["--output", "done=done.jsonl", ...THREADS],
      ],
      { cwd },
    );
    expect(ended.code).toBe(3);
    expect(ended.stderr).toMatch(
      /the thread of node-\d+ has ended \(process\.exit\(7\)\): stage strict, input \d+ of steps_faulty\.strict\.\d{4}\. node-\d+ takes its place\. A stage must not end its process/,
    );
    const error = jsonError(ended);
    expect(error).toMatchObject({
      code: "StageFailed",
      message: "the worker ended (process.exit(7)) at this record",
    });
    expect(error.where).toMatch(/^stage strict, record source_faulty\.deeds@20, input \d+$/);
  });

  it("inline, a stage that never returns is named from beside it, and killing the process loses nothing", async () => {
    const module = (loops: string) => `import { pipeline } from "headwater";
const p = pipeline("loops", { partitions: 2 });
p.source("in", { key: () => "all" })
  .map("slow", (r) => {
    while (${loops} && r.n === 3);
    return r;
  })
  .sink("out");
export default p;
`;
    writeFileSync(join(cwd, "loops.mjs"), module("true"));
    writeFileSync(join(cwd, "in.jsonl"), Array.from({ length: 5 }, (_, n) => `{"n":${n}}\n`).join(""));
    const args = ["run", "loops.mjs", "--input", "in=in.jsonl", "--output", "out=out.jsonl"];
    const command = place.start(args, { cwd });
    await command.says("stage slow has been at input 3 of steps_loops.slow.");
    await command.says("lets nothing else go on");
    expect(command.said).toContain(`kill -9 ${command.pid} does, and loses nothing`);
    command.kill("SIGTERM");
    expect(command.exited).toBe(false);
    command.kill("SIGKILL");
    await command.ended;
    writeFileSync(join(cwd, "loops.mjs"), module("false"));
    // The version before cannot bring its record to its end.
    const mended = place.start(args, { cwd });
    await mended.says("stage slow has been at input 3 of steps_loops.slow.");
    mended.kill("SIGKILL");
    await mended.ended;
    const threads = await headwater([...args, "--executor", "threads", "--hang-after", "1s"], { cwd });
    expect(threads.code, threads.stderr).toBe(0);
    expect(readFileSync(join(cwd, "out.jsonl"), "utf8").trimEnd().split("\n")).toHaveLength(4);
  }, 120_000);
});
