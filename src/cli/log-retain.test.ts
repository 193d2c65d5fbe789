import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { start } from "../app/start.ts";
import { pipeline } from "../pipeline/pipeline.ts";
import { call } from "./testing/fake-io.ts";

let folder = "";
let spec = "";

beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), "headwater-retain-"));
  spec = `lmdb:${join(folder, "log")}`;
  const p = pipeline("orders", { retention: { payload: { age: "7d" } } });
  p.source("in").sink("out");
  const running = await start(p, { log: spec, inputs: { in: [1, 2, 3] }, sinks: { out: () => {} } });
  await running.finished;
});
afterAll(() => rm(folder, { recursive: true, force: true }));

const retain = (...argv: string[]) => call(["log", "retain", ...argv, "--log", spec]);
const reported = async (...argv: string[]) => JSON.parse((await retain(...argv, "--json")).stdout);

describe("headwater log retain", () => {
  test("shows what the definition says, and what a command puts above it", async () => {
    const definition = { payload: { ageMs: 604_800_000 } };
    expect(await reported("orders")).toEqual({
      pipeline: "orders",
      inForce: definition,
      by: "definition",
      definition,
      held: [],
    });
    const set = await reported("orders", "--payload", "size=1MB,events=100", "--state", "age=1h");
    const inForce = { payload: { bytes: 1_000_000, events: 100 }, state: { ageMs: 3_600_000 } };
    expect(set).toEqual({ pipeline: "orders", inForce, by: "command", definition, held: [] });
    expect((await retain("orders")).stdout).toBe(
      [
        "orders, as a command says:",
        "  payload  976.6 KiB, or 100 events",
        "  steps    kept for ever",
        "  effects  kept for ever",
        "  state    1h",
        "",
      ].join("\n"),
    );
    expect(await reported("orders", "--forever")).toMatchObject({ inForce: {}, by: "command" });
    expect(await reported("orders", "--as-defined")).toMatchObject({ inForce: definition, by: "definition" });
    const { stdout } = await call(["log", "show", "pipeline_orders", "--json", "--log", spec]);
    const types = stdout
      .trimEnd()
      .split("\n")
      .map((line) => JSON.parse(line).type);
    expect(types).toEqual(["PipelineDeployed", ...new Array(4).fill("RetentionSet")]);
  });

  test.each([
    [["nobody"], /no pipeline of this name is deployed: nobody/],
    [["orders", "--payload", "age"], /not a bound: "age": --payload\nWrite it like age=7d/],
    [["orders", "--payload", "age=soon"], /the age is not a duration: "soon": --payload/],
    [["orders", "--state", "size=1MB,size=2MB"], /not a bound: "size=2MB": --state/],
    [["orders", "--state", "events=many"], /events has to be a whole number/],
    [["orders", "--forever", "--as-defined"], /two things are asked for at once/],
  ] as const)("refuses %s", async (argv, message) => {
    const { code, stderr } = await retain(...argv);
    expect(stderr).toMatch(message);
    expect(code).toBe(2);
  });
});
