import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { withLog } from "../app/log.ts";
import { run } from "../app/run.ts";
import { call } from "./testing/fake-io.ts";

let folder = "";
let spec = "";

const PIPELINE = `
import { count, pipeline, tumbling } from "headwater";
const p = pipeline("orders", { partitions: 2 });
const web = p.source("web", { key: (o) => o.who, id: (o) => o.id, eventTime: (o) => o.at });
web
  .flatMap("lines", (o) => o.prices.map((price) => ({ who: o.who, price })))
  .map("priced", ({ who, price }, ctx) => ({ who, twice: 2 * mustBeFinite(price), luck: ctx.random() }))
  .filter("dear", (line) => line.twice > 10)
  .reduce("totals", { init: () => 0, step: (t, line) => t + line.twice, emit: (t, who) => ({ who, t }) })
  .map("shown", ({ who, t }) => who + " " + t)
  .sink("totals");
web.window("tens", tumbling("10m"), { aggregate: count(), emit: (n, { key }) => ({ key, n }) }).sink("tens");
function mustBeFinite(price) { if (price < 0) throw new Error("a price below 0"); return price; }
export default p;
`;

const at = (minutes: number) => Date.UTC(2024, 0, 1, 12, minutes);
const ORDERS = [
  { id: "a-1", who: "ada", prices: [3, 20], at: at(0) },
  { id: "b-1", who: "bob", prices: [1], at: at(1) },
  { id: "a-2", who: "ada", prices: [30, -1], at: at(2) },
  { id: "a/3", who: "ada", prices: [], at: at(25) },
];

beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), "headwater-cli-lineage-"));
  spec = `lmdb:${join(folder, "log")}`;
  const module = join(folder, "orders.js");
  const input = join(folder, "orders.jsonl");
  await writeFile(module, PIPELINE);
  await writeFile(input, ORDERS.map((order) => `${JSON.stringify(order)}\n`).join(""));
  await run({ pipeline: module, log: spec, inputs: new Map([["web", input]]), outputs: new Map() });
});
afterAll(() => rm(folder, { recursive: true, force: true }));

const lineage = (...argv: string[]) => call(["lineage", ...argv, "--log", spec]);

interface Found {
  readonly record: string;
  readonly value: unknown;
  readonly recomputed: boolean;
  readonly complete: boolean;
  readonly vertices: readonly {
    readonly address: string;
    readonly kind: string;
    readonly stage: string;
    readonly value: unknown;
    readonly recomputed: boolean;
    readonly before: string | null;
    readonly after: string | null;
    readonly reason: string | null;
  }[];
}

const json = async (...argv: string[]): Promise<Found> => {
  const { code, stdout, stderr } = await lineage(...argv, "--json");
  expect({ code, stderr }).toEqual({ code: 0, stderr: "" });
  return JSON.parse(stdout);
};

const failure = async (...argv: string[]) => {
  const { code, stdout, stderr } = await lineage(...argv, "--json");
  expect(stdout).toBe("");
  return { code, ...JSON.parse(stderr).error };
};

describe("headwater lineage", () => {
  it("goes from an output through every stage to what was accepted", async () => {
    const { vertices, complete, value } = await json("totals#0");
    expect(value).toBe("ada 40");
    expect(complete).toBe(true);
    expect(vertices.map(({ kind, stage }) => `${kind} ${stage}`)).toEqual([
      "map shown",
      "reduce totals",
      "filter dear",
      "map priced",
      "flatMap lines",
      "source web",
    ]);
    for (const [place, { before }] of vertices.entries()) {
      expect(before).toBe(vertices[place + 1]?.after ?? null);
    }
    expect(vertices.at(-1)).toMatchObject({
      id: "a-1",
      value: ORDERS[0],
      input: join(folder, "orders.jsonl"),
    });
  });

  it("makes records again that are not kept, and says so", async () => {
    const { vertices } = await json("totals#0");
    const [shown, totals, dear, priced, lines, source] = vertices;
    expect(shown).toMatchObject({ value: "ada 40", recomputed: false });
    expect(totals).toMatchObject({ value: { who: "ada", t: 40 }, recomputed: true });
    expect(dear).toMatchObject({ recomputed: true, value: priced?.value });
    expect(priced).toMatchObject({ recomputed: true, value: { who: "ada", twice: 40 } });
    expect(lines).toMatchObject({ recomputed: true, value: { who: "ada", price: 20 } });
    expect(source?.recomputed).toBe(false);
  });

  it("runs no code from the log with --no-recompute", async () => {
    const { vertices } = await json("totals#0", "--no-recompute");
    expect(vertices.map(({ value }) => value)).toEqual(["ada 40", null, null, null, null, ORDERS[0]]);
    expect(vertices[3]?.reason).toBe("the record is not kept");
  });

  it("names a window's members", async () => {
    const { stdout } = await lineage("tens#0");
    expect(stdout).toMatch(
      /^steps_orders\.tens\.000\d@\d+\.0\/tens {2}window tens \(on-time, of \d records?\)/,
    );
    const { vertices } = await json("tens#0");
    const sources = vertices.filter(({ kind }) => kind === "source").map(({ value }) => value);
    expect([[ORDERS[0], ORDERS[2]], [ORDERS[1]]]).toContainEqual(sources);
  });

  it("tells what became of every record, and why it ended", async () => {
    const { vertices } = await json("web:a-2", "--forward");
    const reasons = vertices.flatMap(({ stage, reason }) => (reason === null ? [] : [`${stage}: ${reason}`]));
    expect(reasons).toContainEqual(
      "priced: quarantined at priced: a price below 0; it has not been put back",
    );
    expect(vertices.filter(({ kind }) => kind === "sink").map(({ address }) => address)).toEqual([
      expect.stringMatching(/^orders\/tens#\d$/),
      "orders/totals#1",
    ]);
    const cheap = await json("web:b-1", "--forward");
    expect(cheap.vertices.find(({ stage }) => stage === "priced")?.reason).toContain("filtered at dear");
    const empty = await json("orders/web:a/3", "--forward");
    expect(empty.vertices[0]?.reason).toBe("lines gave nothing for it");
  });

  it("writes graphs", async () => {
    const { stdout: dot } = await lineage("totals#0", "--format", "dot");
    expect(dot).toMatch(/^digraph lineage \{\n/);
    expect(dot).toContain('" -> "');
    expect(dot).toContain('\\"who\\"');
    const { stdout: mermaid } = await lineage("totals#0", "--format", "mermaid");
    expect(mermaid).toMatch(/^flowchart LR\n {2}r0\["steps_orders/);
    expect(mermaid).toContain("  r1 --> r0\n");
  });

  it("stops where it is told to, and says so", async () => {
    const { stdout, stderr, code } = await lineage("totals#0", "--depth", "1");
    expect(stdout.match(/^steps_/gm)).toHaveLength(2);
    expect({ code, stderr }).toEqual({ code: 0, stderr: expect.stringContaining("there is more") });
  });

  it("says what is wrong with a record that is not there", async () => {
    expect(await failure("orders/web:nobody")).toMatchObject({ code: "RecordNotFound" });
    expect(await failure("totals#99")).toMatchObject({
      code: "RecordNotFound",
      hint: "It has delivered #0 to #1.",
    });
    expect(await failure("source_orders.web@4")).toMatchObject({
      code: "RecordNotFound",
      where: "source_orders.web@4",
      hint: "The stream has 0 to 3.",
    });
    expect(await failure("steps_orders.lines.0007@0")).toMatchObject({ code: "RecordNotFound" });
    expect(await failure("steps_orders.lines.7@0")).toMatchObject({ code: "BadUsage" });
    expect(await failure("everything")).toMatchObject({ code: "BadUsage", where: "RECORD" });
    expect(await failure("shop:1")).toMatchObject({ code: "UnknownSource" });
    expect(await failure("shop/web:1")).toMatchObject({ code: "UnknownPipeline" });
    expect(await failure("orders/bin#0")).toMatchObject({
      code: "UnknownSink",
      hint: expect.stringContaining("totals, tens"),
    });
  });

  it("is found by what search prints", async () => {
    const search = async (...argv: string[]) => {
      const { code, stdout, stderr } = await call(["search", "orders", ...argv, "--log", spec, "--json"]);
      expect({ code, stderr }).toEqual({ code: 0, stderr: "" });
      return stdout
        .split("\n")
        .filter(Boolean)
        .map((line) => JSON.parse(line) as { readonly address: string; readonly digest: string });
    };
    const addresses = async (...argv: string[]) => (await search(...argv)).map(({ address }) => address);
    const all = [0, 1, 2, 3].map((n) => `source_orders.web@${n}`);
    expect(await addresses("--id", "a/3")).toEqual([all[3]]);
    expect(await addresses("--id", "nobody")).toEqual([]);
    expect(await addresses("--key", "bob")).toEqual([all[1]]);
    expect(await addresses("--from", "2024-01-01T12:01:00Z", "--to", "2024-01-01T12:25:00Z")).toEqual([
      all[1],
      all[2],
    ]);
    expect(await addresses("--from", "-1h", "--log-time")).toEqual(all);
    expect(await addresses("--to", "-1h", "--log-time")).toEqual([]);
    expect(await addresses("--deployment", "1", "--limit", "2")).toEqual(all.slice(0, 2));
    const [{ node } = { node: "" }] = (await search("--id", "a-1")) as unknown as { readonly node: string }[];
    expect(await addresses("--node", node, "--id", "a-1")).toEqual([all[0]]);
    expect(await addresses("--node", "another", "--id", "a-1")).toEqual([]);
    const totals = await search("--stage", "totals");
    expect(totals).toHaveLength(2);
    for (const { address, digest } of totals) {
      const found = await addresses("--digest", digest);
      expect(found).toContain(address);
      expect((await json(address)).vertices[0]?.after).toBe(digest);
    }
    const failed = await call(["search", "orders", "--log", spec]);
    expect({ code: failed.code, stdout: failed.stdout }).toEqual({ code: 2, stdout: "" });
  });

  it("says what has been let go of", async () => {
    const { address } = (await json("totals#0")).vertices.at(-1) ?? { address: "" };
    await withLog(spec, "change", async (log) => {
      const info = await log.streamInfo("source_orders.web");
      await log.setMetadata("source_orders.web", { truncateBefore: (info?.lastRevision ?? 0) + 1 });
    });
    const found = await json("totals#0", "--no-recompute");
    expect(found.complete).toBe(false);
    expect(found.vertices.at(-1)).toMatchObject({
      address,
      kind: "gone",
      reason: expect.stringMatching(/^let go of: source_orders\.web has its events from revision \d+ on$/),
    });
    const { stderr } = await lineage("totals#0");
    expect(stderr).toContain("1 record is not kept any more");
    expect(await failure(address)).toMatchObject({ code: "RecordGone", where: address });
  });
});
