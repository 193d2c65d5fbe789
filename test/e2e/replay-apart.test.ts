import { execFile } from "node:child_process";
import { readdirSync, readFileSync, symlinkSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { pathToFileURL } from "node:url";
import { promisify } from "node:util";
import { beforeEach, expect, it, onTestFinished } from "vitest";
import { createChildren } from "../../src/adapters/system/children.ts";
import { replayIn } from "../../src/app/replay-apart.ts";
import type { ReplayTask } from "../../src/app/replay-messages.ts";
import type { BatchDelivery, Delivery } from "../../src/app/start-types.ts";
import type { Children } from "../../src/ports/children.ts";
import { headwater, projectFile, Workplace } from "./command.ts";

const place = new Workplace();
let cwd: string;

beforeEach(async () => {
  cwd = await place.folder();
  onTestFinished(() => place.clear());
  writeFileSync(
    join(cwd, "p.ts"),
    `import { parameter, pipeline } from "headwater";
import { z } from "zod";
const p = pipeline("numbers", { partitions: 2 });
p.source("s", { key: (row) => String(row.v % 5) })
  .map("times", (row, ctx) => ({ v: row.v * ctx.parameters.n }), { parameters: { n: parameter(z.number(), 2) } })
  .sink("out");
export default p;
`,
  );
  const rows = Array.from({ length: 20_000 }, (_, v) => `${JSON.stringify({ v })}\n`).join("");
  writeFileSync(join(cwd, "s.jsonl"), rows);
  symlinkSync(projectFile("node_modules"), join(cwd, "node_modules"));
  expect((await headwater(["run", "p.ts", "--input", "s=s.jsonl", "--quiet"], { cwd })).code).toBe(0);
});

/** Runs the replay's process as it is built. */
function built(): Children {
  const child = pathToFileURL(projectFile("dist/src/app/replay-child.js"));
  const { run } = createChildren();
  return { run: (_, ...rest) => run(child, ...rest) };
}

const request = () => ({ log: `lmdb:${join(cwd, ".headwater")}`, pipeline: "numbers" });

/** The niceness of the processes that this one has begun for replays. */
function nicenessOfChildren(): number[] {
  return readdirSync("/proc").flatMap((pid) => {
    try {
      if (!readFileSync(`/proc/${pid}/cmdline`, "utf8").includes("replay-child")) return [];
      const stat = readFileSync(`/proc/${pid}/stat`, "utf8");
      const fields = stat.slice(stat.lastIndexOf(")") + 2).split(" ");
      return Number(fields[1]) === process.pid ? [Number(fields[16])] : [];
    } catch {
      return [];
    }
  });
}

it("verifies, and runs another version, in a process of its own that goes behind others", async () => {
  const none = () => {};
  const niceness = new Set<number>();
  const verify: ReplayTask = { kind: "verify", request: request() };
  const watching = new AbortController();
  const watch = (async () => {
    while (!watching.signal.aborted) {
      for (const nice of nicenessOfChildren()) niceness.add(nice);
      await sleep(10);
    }
  })();
  const verified = await replayIn(built(), verify, none);
  watching.abort();
  await watch;
  expect(verified).toMatchObject({ mode: "verify", records: 20_000, matched: 20_000, diverged: 0 });
  if (process.platform === "linux") expect(Math.max(...niceness)).toBe(19);

  const progress: unknown[] = [];
  const parameters = new Map([["times.n", "3"]]);
  const outputs = new Map([["out", join(cwd, "out.jsonl")]]);
  const whatIf: ReplayTask = { kind: "what-if", request: { ...request(), parameters, outputs, id: "three" } };
  expect(await replayIn(built(), whatIf, (now) => progress.push(now))).toMatchObject({
    mode: "what-if",
    id: "three",
    diff: { same: 1, changed: 19_999, added: 0, gone: 0 },
  });
  expect(progress.length).toBeGreaterThan(0);
  expect(readFileSync(join(cwd, "out.jsonl"), "utf8").split("\n")).toHaveLength(20_001);
});

it("hands what another version gives to functions of the process that asks, wherever it runs", async () => {
  const none = () => {};
  const parameters = new Map([["times.n", "3"]]);
  const whatIf: ReplayTask = {
    kind: "what-if",
    request: { ...request(), parameters, id: "three" },
    functions: ["out"],
  };
  const taken = new Map<string, unknown>();
  const refusing = (record: unknown, { key }: Delivery) => {
    if (taken.size === 5_000) throw new Error("no more");
    taken.set(key, record);
  };
  await expect(replayIn(built(), whatIf, none, undefined, { out: refusing })).rejects.toMatchObject({
    code: "SinkFailed",
    message: expect.stringContaining("no more"),
  });
  const taking = {
    batch: async (records: readonly unknown[], { records: places }: BatchDelivery) => {
      await sleep(1);
      for (const [at, record] of records.entries()) taken.set(places[at]?.key ?? "", record);
    },
  };
  const resume: ReplayTask = { kind: "resume", request: { ...request(), id: "three" }, functions: ["out"] };
  expect(await replayIn(built(), resume, none, undefined, { out: taking })).toMatchObject({
    diff: { same: 1, changed: 19_999 },
  });
  expect([...taken.values()]).toEqual(Array.from({ length: 20_000 }, (_, v) => ({ v: v * 3 })));
});

it("tells what is wrong there as if it were here, and stops when it is told to", async () => {
  const none = () => {};
  const other: ReplayTask = { kind: "verify", request: { ...request(), pipeline: "letters" } };
  await expect(replayIn(built(), other, none)).rejects.toMatchObject({ code: "UnknownPipeline" });
  const verify: ReplayTask = { kind: "verify", request: request() };
  await expect(replayIn(built(), verify, none, AbortSignal.abort())).rejects.toMatchObject({
    code: "Stopped",
  });
  const ending: Children = {
    run: async () => ({ code: undefined, signal: "SIGKILL" }),
  };
  await expect(replayIn(ending, verify, none)).rejects.toMatchObject({ code: "NodeLost", where: "SIGKILL" });
});

it("is begun by a program that runs a pipeline, and by no other", async () => {
  writeFileSync(
    join(cwd, "program.mjs"),
    `import { readdirSync, readFileSync } from "node:fs";
import { parameter, pipeline, replay, start, whatIf } from ${JSON.stringify(pathToFileURL(projectFile("dist/src/index.js")).href)};
import { z } from "zod";
let seen = 0;
const look = setInterval(() => {
  for (const pid of readdirSync("/proc")) {
    try {
      if (!readFileSync("/proc/" + pid + "/cmdline", "utf8").includes("replay-child")) continue;
      const stat = readFileSync("/proc/" + pid + "/stat", "utf8");
      if (Number(stat.slice(stat.lastIndexOf(")") + 2).split(" ")[1]) === process.pid) seen = 1;
    } catch {}
  }
}, 5);
const log = "lmdb:.headwater";
const alone = await replay({ log, pipeline: "numbers" });
const before = seen;
const p = pipeline("numbers", { partitions: 2 });
p.source("s", { key: (row) => String(row.v % 5) })
  .map("times", (row, ctx) => ({ v: row.v * ctx.parameters.n }), { parameters: { n: parameter(z.number(), 2) } })
  .sink("out");
let taken = 0;
const running = await start(p, { log, module: "p.ts", sinks: { out: () => { taken++; } } });
await running.offer("s", { v: 7 });
const beside = await replay({ log, pipeline: "numbers" });
let ofFork = 0;
const sinks = { out: () => { ofFork++; } };
const { diff } = await whatIf({ log, pipeline: "numbers", parameters: new Map([["times.n", "4"]]), sinks });
running.end();
await running.finished;
const after = await replay({ log, pipeline: "numbers" });
clearInterval(look);
console.log(JSON.stringify({ before, seen, taken, alone: alone.diverged, beside: beside.diverged, after: after.records, changed: diff.changed > 0, ofFork }));
`,
  );
  const { stdout } = await promisify(execFile)(process.execPath, [join(cwd, "program.mjs")], { cwd });
  const said = JSON.parse(stdout) as Record<string, unknown>;
  expect(said).toMatchObject({
    alone: 0,
    beside: 0,
    after: 20_001,
    changed: true,
    ofFork: expect.any(Number),
  });
  expect(said["ofFork"]).toBeGreaterThanOrEqual(20_000);
  expect(said["taken"]).toBeGreaterThan(0);
  if (process.platform === "linux") expect(said).toMatchObject({ before: 0, seen: 1 });
});
