import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeEach, describe, expect, it } from "vitest";
import { withLog } from "../app/log.ts";
import { run } from "../app/run.ts";
import { call } from "./testing/fake-io.ts";

const folders: string[] = [];
let spec = "";

/** Three segments, with a stage in the middle of the last one. `SAMPLE` is what is kept of the source. */
const PIPELINE = `
import { pipeline } from "headwater";
const p = pipeline("kept", { partitions: 2 });
p.source("in", { sample: SAMPLE })
  .map("first", (n) => n + 1)
  .keyBy("by", (n) => n)
  .map("second", (n) => n + 1)
  .keyBy("again", (n) => n)
  .map("middle", (n) => n + 1)
  .map("third", (n) => n + 1)
  .sink("out");
export default p;
`;

async function ran(sample: number): Promise<void> {
  const folder = await mkdtemp(join(tmpdir(), "headwater-kept-"));
  folders.push(folder);
  spec = `lmdb:${join(folder, "log")}`;
  const module = join(folder, "kept.js");
  const input = join(folder, "in.jsonl");
  await writeFile(module, PIPELINE.replace("SAMPLE", String(sample)));
  await writeFile(input, "10\n");
  await run({ pipeline: module, log: spec, inputs: new Map([["in", input]]), outputs: new Map() });
}
afterAll(() => Promise.all(folders.map((folder) => rm(folder, { recursive: true, force: true }))));

async function letGo(pattern: RegExp): Promise<void> {
  await withLog(spec, "change", async (log) => {
    let found = 0;
    for await (const { stream, lastRevision } of log.streams()) {
      if (!pattern.test(stream)) continue;
      found++;
      await log.setMetadata(stream, { truncateBefore: lastRevision + 1 });
    }
    expect(found).toBeGreaterThan(0);
  });
}

async function lineage(...argv: string[]) {
  const { code, stdout } = await call(["lineage", "out#0", "--log", spec, "--json", ...argv]);
  expect(code).toBe(0);
  const { complete, vertices } = JSON.parse(stdout) as {
    readonly complete: boolean;
    readonly vertices: readonly {
      readonly kind: string;
      readonly value: unknown;
      readonly reason: string | null;
    }[];
  };
  expect(vertices.some(({ kind }) => kind === "gone")).toBe(false);
  const values = vertices.filter(({ kind }) => kind !== "keyBy");
  return { complete, values: values.map(({ value }) => value), reasons: values.map(({ reason }) => reason) };
}

const ALL = [14, 13, 12, 11, 10];

describe("a lineage is complete", () => {
  beforeEach(() => ran(1));

  it("where every value is stored, or is made again", async () => {
    expect(await lineage()).toMatchObject({ complete: true, values: ALL });
    await letGo(/^payload_kept\.(second|third|by|again|first)/);
    expect(await lineage()).toMatchObject({ complete: true, values: ALL });
  });

  it("where it was not asked for the values that are not there", async () => {
    const { complete, values } = await lineage("--no-recompute");
    expect(complete).toBe(true);
    expect(values).toEqual([14, null, 12, 11, 10]);
  });

  it("not where values were let go of, though all its events are there", async () => {
    await letGo(/^payload_/);
    const { complete, values } = await lineage();
    expect({ complete, values }).toEqual({ complete: false, values: [null, null, null, null, null] });
    // Where a value was kept once, it does not count that it might be made again.
    expect((await lineage("--no-recompute")).complete).toBe(false);
    expect((await lineage("--depth", "0")).complete).toBe(false);
    const { stderr } = await call(["lineage", "out#0", "--log", spec]);
    expect(stderr).toContain("values are not kept any more, and cannot be made again");
  });

  it("forwards, too", async () => {
    const forward = async () => {
      const argv = ["lineage", "source_kept.in@0", "--forward", "--log", spec, "--json"];
      return JSON.parse((await call(argv)).stdout) as { readonly complete: boolean };
    };
    expect((await forward()).complete).toBe(true);
    await letGo(/^payload_/);
    expect((await forward()).complete).toBe(false);
  });
});

it("values that were never kept, and cannot be made again, count; and it is said once why", async () => {
  await ran(1e-9);
  await letGo(/^transit_/);
  const { complete, values, reasons } = await lineage();
  expect({ complete, values }).toEqual({ complete: false, values: [null, null, null, null, null] });
  const why = "the record is not kept, and cannot be made again: what it was made of is not kept";
  expect(reasons).toEqual([why, why, why, why, "the record is not kept"]);
});
