import { describe, expect, test } from "vitest";
import { Arena } from "../core/arena.ts";
import { decodeCanonical, encodeCanonical } from "../core/canonical.ts";
import { decodeDeltas } from "../core/columns.ts";
import type { RecordsStored, StepsRecorded } from "../core/events.ts";
import { LIMITS } from "../core/limits.ts";
import { partitionOfKey } from "../core/partition.ts";
import { type Pipeline, pipeline } from "../pipeline/pipeline.ts";
import { planPipeline, type Segment } from "../pipeline/plan.ts";
import { payloadDrafts } from "../runtime/payload.ts";
import { decodeBlock, decodeOutlet } from "./outlet-decoder.ts";
import type { InputRows } from "./rows.ts";
import { SegmentEngine } from "./segment-engine.ts";
import { encodeSteps } from "./steps-encoder.ts";

const PARTITIONS = 4;
const FIRST = 100;

/** Input rows with N = `FIRST` and up, of one source, with ordinals 1,000 and up. */
function inputs(values: readonly unknown[], paths?: readonly string[]): InputRows {
  const buffers = values.map((value) => encodeCanonical(value));
  return {
    count: values.length,
    records: values.map((_, row) => decodeCanonical(buffers[row] as Uint8Array)),
    buffers,
    starts: values.map(() => 0),
    ends: buffers.map((bytes) => bytes.length),
    ordinals: values.map((_, row) => 1_000 + row),
    sources: undefined,
    roots: values.map((_, row) => 10 + row),
    paths,
    times: undefined,
    upstreams: undefined,
    parents: values.map((_, row) => 10 + row),
    parentKs: undefined,
    keys: undefined,
    firings: [],
  };
}

interface Ran {
  readonly segment: Segment;
  readonly event: StepsRecorded;
  readonly stored: readonly RecordsStored[];
}

/** Runs the first segment of a pipeline over one batch, and packs what comes of it into events. */
async function run(p: Pipeline, rows: InputRows): Promise<Ran> {
  const [segment] = planPipeline(p.definition).segments as [Segment];
  const sources = ["in"];
  const engine = new SegmentEngine({
    pipeline: "p",
    segment,
    origins: { names: sources, firing: 0 },
    partitions: PARTITIONS,
    arena: new Arena(),
    decode: (bytes, start, end) => decodeCanonical(bytes.subarray(start, end)),
    provenance: "full",
  });
  const result = await engine.process(rows, FIRST);
  const options = {
    pipeline: "p",
    segment,
    origins: { names: sources, firing: 0 },
    streams: ["source_p.in"],
    fromSource: true,
    provenance: "full",
  } as const;
  const steps = encodeSteps(options, rows, FIRST, result);
  const stored = payloadDrafts(steps.payload, 0).map((draft) => draft.event as RecordsStored);
  const event: StepsRecorded = {
    v: 2,
    wall: 0,
    epoch: 1,
    node: "node-1",
    deployment: new Uint8Array(32),
    scheme: 1,
    first: FIRST,
    count: rows.count,
    through: 2_000,
    from: {},
    to: {},
    ...steps.columns,
    ...(stored.length > 0 && { payload: { revision: 0, events: stored.length } }),
  };
  return { segment, event, stored };
}

interface Output {
  readonly n: number;
  readonly k: number;
  readonly path: string;
  readonly ordinal: number;
  readonly record: unknown;
}

/** What a reader of the outlet for `stage` gets. */
function outputs(
  { segment, event, stored }: Ran,
  stage: string,
  partition?: number,
  rekeys = false,
): Output[] {
  const index = segment.outlets.findIndex(
    (outlet) => segment.stages[outlet.stage]?.definition.name === stage && outlet.rekeys === rekeys,
  );
  expect(index).toBeGreaterThanOrEqual(0);
  const rows = decodeOutlet(event, index, ["in"], partition);
  const block = decodeBlock(stored, rows.block);
  return Array.from({ length: rows.count }, (_, row) => {
    const at = rows.stored?.[row] ?? row;
    const bytes = (block.buffers[at] as Uint8Array).subarray(block.starts[at], block.ends[at]);
    return {
      n: rows.ns[row] as number,
      k: rows.ks?.[row] ?? 0,
      path: rows.paths?.[row] ?? "",
      ordinal: rows.ordinals[row] as number,
      record: decodeCanonical(bytes),
    };
  });
}

/** How many records each stage's block holds. */
function blockSizes({ stored, segment }: Ran): Record<string, number> {
  const names = segment.stages.map((stage) => stage.definition.name);
  return Object.fromEntries(
    [...new Set(segment.outlets.map((outlet) => outlet.stored))].map((stage) => [
      names[stage] ?? "input",
      decodeBlock(stored, stage).starts.length,
    ]),
  );
}

const numbers = (count: number) => Array.from({ length: count }, (_, value) => value);

describe("outlets that share a stored stage", () => {
  function filters(withAll: boolean) {
    const p = pipeline("p", { partitions: PARTITIONS });
    const doubled = p.source<undefined>("in").map("double", (value) => (value as number) * 2);
    doubled.filter("by-four", (value) => value % 4 === 0).sink("fours");
    doubled
      .filter("by-six", (value) => value % 6 === 0)
      .filter("large", (value) => value > 6)
      .sink("large-sixes");
    if (withAll) doubled.sink("all");
    return p;
  }

  test("keep the records that reach one of them, each once, and give each its own", async () => {
    const ran = await run(filters(false), inputs(numbers(10)));
    expect(outputs(ran, "by-four").map(({ record }) => record)).toEqual([0, 4, 8, 12, 16]);
    expect(outputs(ran, "large").map(({ record }) => record)).toEqual([12, 18]);
    expect(blockSizes(ran)).toEqual({ double: 6 });
  });

  test("count K outlet by outlet, and take paths from the branches", async () => {
    const ran = await run(filters(true), inputs(numbers(10)));
    expect(outputs(ran, "by-four").map(({ n, k }) => [n, k])).toEqual(
      [0, 2, 4, 6, 8].map((row) => [FIRST + row, 0]),
    );
    // N = 106 has left through the first outlet before.
    expect(outputs(ran, "large").map(({ n, k, path, ordinal }) => [n, k, path, ordinal])).toEqual([
      [FIRST + 6, 1, "by-six\0", 1_006],
      [FIRST + 9, 0, "by-six\0", 1_009],
    ]);
    expect(outputs(ran, "double").map(({ k, path }) => [k, path])).toEqual(
      [1, 0, 1, 0, 1, 0, 2, 0, 1, 1].map((k) => [k, ""]),
    );
    expect(blockSizes(ran)).toEqual({ double: 10 });
  });

  test("take the segment's own inputs where no stage makes records", async () => {
    const p = pipeline("p", { partitions: PARTITIONS });
    p.source<undefined>("in")
      .filter("odd", (value) => (value as number) % 2 === 1)
      .filter("large", (value) => (value as number) > 4)
      .sink("out");
    const ran = await run(p, inputs(numbers(10)));
    expect(outputs(ran, "large").map(({ n, record }) => [n, record])).toEqual(
      [5, 7, 9].map((v) => [FIRST + v, v]),
    );
    expect(blockSizes(ran)).toEqual({ input: 3 });
  });

  test("have no block when nothing reaches them", async () => {
    const p = pipeline("p", { partitions: PARTITIONS });
    p.source("in")
      .filter("none", () => false)
      .sink("out");
    const ran = await run(p, inputs(numbers(3)));
    expect(outputs(ran, "none")).toEqual([]);
    expect(ran.stored).toEqual([]);
  });
});

describe("sections", () => {
  test("part an outlet's rows by the partition of their key, and keep N, K and path", async () => {
    const p = pipeline("p", { partitions: PARTITIONS });
    const keyed = p
      .source<undefined>("in")
      .flatMap("twice", (value) => [value as number, -(value as number)])
      .filter("known", (value) => Math.abs(value) !== 3)
      .keyBy("by-last", (value) => Math.abs(value) % 5);
    keyed.map("next", (value) => value).sink("out");
    keyed.sink("all");
    const ran = await run(p, inputs(numbers(20)));
    const all = outputs(ran, "by-last");
    expect(all).toHaveLength(38);
    const sections = numbers(PARTITIONS).flatMap((partition) => {
      const section = outputs(ran, "by-last", partition, true);
      for (const { record } of section)
        expect(partitionOfKey(Math.abs(record as number) % 5, PARTITIONS)).toBe(partition);
      expect(section.map(({ ordinal }) => ordinal)).toEqual(
        section.map(({ ordinal }) => ordinal).sort((a, b) => a - b),
      );
      return section;
    });
    const key = ({ n, path }: Output) => `${n} ${path}`;
    const without = ({ k: _k, ...output }: Output) => output;
    const sorted = (list: readonly Output[]) =>
      [...list].sort((a, b) => (key(a) < key(b) ? -1 : 1)).map(without);
    expect(sorted(sections)).toEqual(sorted(all));
    // The re-keying outlet is the first: K 0 and 1, the sink's is the second: 2 and 3.
    expect(
      sections
        .filter(({ n }) => n === FIRST + 7)
        .map(({ k }) => k)
        .sort(),
    ).toEqual([0, 1]);
    expect(all.filter(({ n }) => n === FIRST + 7).map(({ k }) => k)).toEqual([2, 3]);
    expect(decodeDeltas(ran.event.outlets?.[0]?.sections?.[0]?.[1] as Uint8Array).length).toBeGreaterThan(0);
  });

  test("leave out the records whose key fails", async () => {
    const p = pipeline("p", { partitions: PARTITIONS });
    p.source<undefined>("in")
      .keyBy("by", (value) => (value === 2 ? (undefined as never) : (value as number)))
      .map("next", (value) => value)
      .sink("out");
    const ran = await run(p, inputs(numbers(5)));
    const records = numbers(PARTITIONS).flatMap((partition) => outputs(ran, "by", partition, true));
    expect(records.map(({ record }) => record).sort()).toEqual([0, 1, 3, 4]);
    expect(decodeDeltas(ran.event.stages?.[0]?.failed as Uint8Array)).toEqual([2]);
  });
});

describe("paths", () => {
  test("hold a flatMap's index in as few bytes as it takes, and compare as the indexes do", async () => {
    const p = pipeline("p", { partitions: PARTITIONS });
    p.source<undefined>("in")
      .flatMap("many", () => numbers(300))
      .sink("out");
    const ran = await run(p, inputs(["x"], ["before\0"]));
    const paths = outputs(ran, "many").map(({ path }) => path);
    expect([0, 247, 248, 255, 256, 299].map((index) => paths[index])).toEqual(
      ["\x00", "\xf7", "\xf8\xf8", "\xf8\xff", "\xf9\x01\x00", "\xf9\x01\x2b"].map(
        (element) => `before\0${element}`,
      ),
    );
    expect([...paths].sort((a, b) => (a < b ? -1 : 1))).toEqual(paths);
    expect(outputs(ran, "many").map(({ k }) => k)).toEqual(numbers(300));
  });

  test("go through filters between flatMaps, and count within each input of the second", async () => {
    const p = pipeline("p", { partitions: PARTITIONS });
    p.source<undefined>("in")
      .flatMap("outer", (value) => [value, "drop", value])
      .filter("kept", (value) => value !== "drop")
      .flatMap("inner", (value) => [`${value}-0`, `${value}-1`])
      .sink("out");
    const ran = await run(p, inputs(["a", "b"]));
    expect(outputs(ran, "inner").map(({ n, k, path, record }) => [n - FIRST, k, path, record])).toEqual([
      [0, 0, "\0\0", "a-0"],
      [0, 1, "\0\x01", "a-1"],
      [0, 2, "\x02\0", "a-0"],
      [0, 3, "\x02\x01", "a-1"],
      [1, 0, "\0\0", "b-0"],
      [1, 1, "\0\x01", "b-1"],
      [1, 2, "\x02\0", "b-0"],
      [1, 3, "\x02\x01", "b-1"],
    ]);
    expect(ran.event.paths).toBeUndefined();
  });

  test("name the branch before the index", async () => {
    const p = pipeline("p", { partitions: PARTITIONS });
    const first = p.source<undefined>("in").map("first", (value) => value);
    first.flatMap("left", (value) => [value, value]).sink("l");
    first.map("right", (value) => value).sink("r");
    const ran = await run(p, inputs(["a"]));
    expect(outputs(ran, "left").map(({ path }) => path)).toEqual(["left\0\0", "left\0\x01"]);
    expect(outputs(ran, "right").map(({ k, path }) => [k, path])).toEqual([[2, "right\0"]]);
  });
});

describe("more outputs than one input may have", () => {
  const most = LIMITS.outputsPerInput;

  test("of one call quarantine its input; as many as there may be do not", async () => {
    const p = pipeline("p", { partitions: PARTITIONS });
    p.source<undefined>("in")
      .flatMap("many", (count) => numbers(count as number))
      .sink("out");
    const ran = await run(p, inputs([most, most + 1, 2]));
    expect(outputs(ran, "many").filter(({ n }) => n === FIRST)).toHaveLength(most);
    expect(outputs(ran, "many").filter(({ n }) => n === FIRST + 1)).toHaveLength(0);
    expect(outputs(ran, "many").filter(({ n }) => n === FIRST + 2)).toHaveLength(2);
    expect(decodeDeltas(ran.event.stages?.[0]?.failed as Uint8Array)).toEqual([1]);
  });

  test("of several calls together fail all of them, and leave the batch's other inputs alone", async () => {
    const p = pipeline("p", { partitions: PARTITIONS });
    p.source<undefined>("in")
      .flatMap("few", (counts) => counts as number[])
      .flatMap("many", (count) => numbers(count))
      .sink("out");
    const ran = await run(
      p,
      inputs([
        [most / 2, most / 2],
        [most / 2, most / 2, 1],
        [1, 1],
      ]),
    );
    const counts = [0, 1, 2].map((row) => outputs(ran, "many").filter(({ n }) => n === FIRST + row).length);
    expect(counts).toEqual([most, 0, 2]);
    expect(decodeDeltas(ran.event.stages?.[1]?.failed as Uint8Array)).toEqual([2, 3, 4]);
  });
});

describe("a payload that does not fit into one event", () => {
  test("goes on in the next, stage by stage, and every record is found", async () => {
    const p = pipeline("p", { partitions: PARTITIONS });
    const large = p.source<undefined>("in").map("large", (value) => `${value}`.padEnd(100_000, "x"));
    large.sink("out");
    large
      .filter("even", (text) => Number.parseInt(text, 10) % 2 === 0)
      .map("other", (text) => text.replaceAll("x", "y"))
      .sink("others");
    const ran = await run(p, inputs(numbers(12)));
    expect(ran.stored.length).toBeGreaterThan(3);
    for (const { blocks } of ran.stored) {
      const bytes = blocks.reduce((sum, block) => sum + block.bytes.length, 0);
      expect(bytes).toBeLessThanOrEqual(LIMITS.batchBytes);
    }
    const text = (value: number, fill: string) => `${value}`.padEnd(100_000, fill);
    expect(outputs(ran, "large").map(({ record }) => record)).toEqual(
      numbers(12).map((value) => text(value, "x")),
    );
    expect(outputs(ran, "other").map(({ record }) => record)).toEqual(
      [0, 2, 4, 6, 8, 10].map((value) => text(value, "y")),
    );
  });

  test("has the largest records alone", async () => {
    const p = pipeline("p", { partitions: PARTITIONS });
    p.source<undefined>("in")
      .map("copy", (value) => value)
      .sink("out");
    const text = "z".repeat(LIMITS.recordBytes - 5);
    const ran = await run(p, inputs(["a", text, "b", text]));
    expect(outputs(ran, "copy").map(({ record }) => record)).toEqual(["a", text, "b", text]);
    for (const { blocks } of ran.stored) {
      expect(blocks.reduce((sum, block) => sum + block.bytes.length, 0)).toBeLessThanOrEqual(
        LIMITS.recordBytes,
      );
    }
  });
});
