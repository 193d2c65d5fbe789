import { readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { openLog } from "../../src/runtime/compose.ts";
import { type Command, headwater, jsonError, Workplace } from "./command.ts";
import { clearSound } from "./open-log.ts";

const place = new Workplace();
let cwd: string;

beforeEach(async () => {
  cwd = await place.folder();
  define("p.ts", 1);
  define("q.ts", 2);
  await run(600);
});
afterEach(() => clearSound(place));

/** Numbers, a times as many, with totals of three keys. */
function define(file: string, times: number): void {
  const text = `import { pipeline } from "headwater";
const p = pipeline("weights", { partitions: 2 });
const weighed = p.source("in", { key: (row) => (row as { n: number }).n % 3 })
  .map("weigh", (row) => (row as { n: number }).n * ${times});
weighed.reduce("total", { init: () => 0, step: (sum, w) => sum + (w as number), emit: (sum, key) => ({ key, sum }) })
  .sink("out");
export default p;
`;
  writeFileSync(join(cwd, file), text);
}

/** Goes on with the input up to so many numbers, in small batches. */
async function run(count: number): Promise<void> {
  const rows = Array.from({ length: count }, (_, n) => `${JSON.stringify({ n })}\n`);
  writeFileSync(join(cwd, "in.jsonl"), rows.join(""));
  await ask("run", "p.ts", "--input", "in=in.jsonl", "--batch", "7");
}

async function ask(...args: readonly string[]): Promise<string> {
  const ended = await headwater(args, { cwd });
  expect(ended.code, ended.stderr).toBe(0);
  return ended.stdout;
}

const replay = async (...args: readonly string[]) => JSON.parse(await ask("replay", ...args, "--json"));

/** Begins a replay and waits until it has come to some records. */
async function begin(id: string, ...more: readonly string[]): Promise<Command> {
  const begun = place.start(["replay", "weights", "--id", id, "--rate", "40", ...more, "--json"], { cwd });
  for (;;) {
    const list: { id: string; records: number }[] = await replay("list");
    if (list.some((one) => one.id === id && one.records > 50)) return begun;
    expect(begun.exited, begun.said).toBe(false);
    await new Promise((resolve) => setTimeout(resolve, 100));
  }
}

/** Keeps as little as can be, from here on. */
async function keepLittle(): Promise<void> {
  await ask(
    "log",
    "retain",
    "weights",
    ...["--payload", "--steps", "--state"].flatMap((tier) => [tier, "events=1"]),
  );
}

/** How many streams' beginnings are gone. */
async function cut(): Promise<number> {
  await ask("log", "scavenge");
  const log = await openLog(`lmdb:${join(cwd, ".headwater")}`, { readOnly: true });
  try {
    let found = 0;
    for await (const { firstRevision } of log.streams()) if (firstRevision > 0) found++;
    return found;
  } finally {
    await log.close();
  }
}

function found(report: Record<string, unknown>) {
  const { id: _, seconds: __, ...rest } = report;
  return rest;
}

describe("history of which a replay that is not through needs some", () => {
  it("is kept for one that compares and was killed, until it is through", async () => {
    const whole = await replay("weights");
    expect(whole).toMatchObject({ records: 600, unverifiable: 0 });
    const killed = await begin("part");
    killed.kill("SIGKILL");
    await killed.ended;
    await keepLittle();
    await run(900);
    expect(await cut()).toBe(0);
    const [listed] = await replay("list");
    expect(listed).toMatchObject({ id: "part", status: "interrupted" });
    const days = (listed.heldUntil - Date.now()) / (24 * 3_600_000);
    expect(days).toBeGreaterThan(2.9);
    expect(days).toBeLessThan(3);
    const until = new Date(listed.heldUntil).toISOString();
    expect(await ask("replay", "list")).toContain(until);
    expect(JSON.parse(await ask("log", "retain", "weights", "--json")).held).toEqual([
      { replay: "weights~part", until },
    ]);
    expect(await ask("log", "retain", "weights")).toContain(
      `nothing is let go of until ${until}, as replay weights~part can go on: "headwater replay stop weights~part" ends it`,
    );
    expect(found(await replay("resume", "part"))).toEqual(found(whole));
    expect((await replay("list"))[0]).toMatchObject({ status: "done", heldUntil: null });
    expect(JSON.parse(await ask("log", "retain", "weights", "--json")).held).toEqual([]);
    await run(1_000);
    expect(await cut()).toBeGreaterThan(5);
  });

  it("is kept for one that runs other code and was stopped with Ctrl-C or paused, until it is stopped for good", async () => {
    await replay("weights", "--what-if", "q.ts", "--id", "whole", "--output", "out=whole.jsonl");
    const interrupted = await begin("part", "--what-if", "q.ts", "--output", "out=part.jsonl");
    interrupted.kill("SIGINT");
    expect(jsonError(await interrupted.ended)).toMatchObject({
      code: "Stopped",
      hint: expect.stringMatching(/but 3 days at most, .*; headwater replay stop weights~part ends it/),
    });
    const paused = await begin("still", "--what-if", "q.ts");
    await replay("pause", "still");
    await paused.ended;
    await keepLittle();
    await run(900);
    expect(await cut()).toBe(0);
    const report = await replay("resume", "part");
    expect(report).toMatchObject({ records: 600, gone: null });
    expect(readFileSync(join(cwd, "part.jsonl"), "utf8")).toBe(
      readFileSync(join(cwd, "whole.jsonl"), "utf8"),
    );
    await run(950);
    expect(await cut()).toBe(0);
    expect(await replay("stop", "still")).toMatchObject({ heldUntil: null });
    await run(1_000);
    expect(await cut()).toBeGreaterThan(5);
  });
});
