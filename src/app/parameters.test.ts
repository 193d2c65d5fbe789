import { existsSync, mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, test } from "vitest";
import { z } from "zod";
import type { ParameterSettings } from "../pipeline/parameter-overrides.ts";
import { parameter } from "../pipeline/parameters.ts";
import { pipeline } from "../pipeline/pipeline.ts";
import type { RunNotice } from "./run-types.ts";
import { start } from "./start.ts";

let dir: string;
beforeEach(() => {
  dir = mkdtempSync(join(tmpdir(), "headwater-parameters-"));
});
afterEach(() => rmSync(dir, { recursive: true, force: true }));

/** Every kind of stage that has parameters: each has one of the same name, and a value of its own. */
function numbers() {
  const n = (value: number) => ({ parameters: { n: parameter(z.number(), value) } });
  const p = pipeline("numbers", { partitions: 2 });
  p.source("in", { schema: z.number(), key: () => "all" })
    .filter("filter", async (x, ctx) => x >= ctx.parameters.n, n(1))
    .flatMap("flat-map", (x, ctx) => Array.from({ length: ctx.parameters.n }, () => x), n(2))
    .map("map", (x, ctx) => x * ctx.parameters.n, n(10))
    .reduce("reduce", {
      ...n(0),
      init: () => 0,
      step: (sum, x, ctx) => sum + x + ctx.parameters.n,
      emit: (sum) => sum,
    })
    .sink("out");
  return p;
}

async function run(log: string, inputs: readonly number[], parameters: ParameterSettings) {
  const outputs: number[] = [];
  const notices: RunNotice[] = [];
  const running = await start(numbers(), {
    log,
    inputs: { in: inputs },
    sinks: { out: (sum: number) => void outputs.push(sum) },
    parameters,
    onNotice: (notice) => notices.push(notice),
  });
  const report = await running.finished;
  return { outputs, report, deployed: notices.find(({ kind }) => kind === "deployed") };
}

describe("a program's parameters", () => {
  test("get to the functions of their stages, as they are declared or given", async () => {
    expect((await run("memory:", [0, 1, 2], {})).outputs).toEqual([10, 20, 40, 60]);
    const given = { filter: { n: 2 }, "flat-map": { n: 1 }, map: { n: 3 }, reduce: { n: 100 } };
    expect((await run("memory:", [0, 1, 2, 3], given)).outputs).toEqual([106, 215]);
  });

  test("make another deployment of the same program, which goes on with the state", async () => {
    const log = `lmdb:${dir}/log`;
    const first = await run(log, [1], { map: { n: 1 } });
    const second = await run(log, [1], { map: { n: 100 } });
    const third = await run(log, [1], {});
    expect([first, second, third].map(({ outputs }) => outputs)).toEqual([
      [1, 2],
      [102, 202],
      [212, 222],
    ]);
    expect(new Set([first, second, third].map(({ report }) => report.deployment)).size).toBe(3);
    expect(third.deployed).toMatchObject({
      version: 3,
      parameters: [{ stage: "map", name: "n", value: 10, isDefault: true }],
    });
  });

  test("are refused before the log is made", async () => {
    for (const parameters of [
      { map: { m: 1 } },
      { nap: { n: 1 } },
      { map: { n: "1" } },
      { map: 1 as never },
    ]) {
      await expect(run(`lmdb:${dir}/log`, [], parameters)).rejects.toMatchObject({ code: "BadParameter" });
    }
    expect(existsSync(join(dir, "log"))).toBe(false);
  });

  test("cannot be changed by a function", async () => {
    const p = pipeline("greedy", { partitions: 1 });
    p.source("in")
      .map("take", (_, ctx) => (ctx.parameters.list as number[]).pop(), {
        parameters: { list: parameter(z.array(z.number()), [1, 2]) },
      })
      .sink("out");
    const running = await start(p, { log: "memory:", inputs: { in: [1, 2] } });
    const { records, outputs } = await running.finished;
    expect(records.quarantined).toBe(2);
    expect(outputs).toEqual({ out: 0 });
  });
});
