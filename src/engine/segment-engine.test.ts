import { describe, expect, test } from "vitest";
import { Arena } from "../core/arena.ts";
import { decodeCanonical, encodeCanonical } from "../core/canonical.ts";
import { isHeadwaterError } from "../core/errors.ts";
import { type Pipeline, pipeline } from "../pipeline/pipeline.ts";
import { planPipeline, type Segment } from "../pipeline/plan.ts";
import type { InputRows } from "./rows.ts";
import { SegmentEngine } from "./segment-engine.ts";
import type { StageRows } from "./stage-output.ts";

interface Entry {
  readonly key: string;
  readonly value: number;
}

function engineOf(p: Pipeline): SegmentEngine {
  const [segment] = planPipeline(p.definition).segments as [Segment];
  return new SegmentEngine({
    pipeline: "p",
    segment,
    origins: { names: ["in"], firing: 0 },
    partitions: 1,
    arena: new Arena(),
    decode: (bytes, start, end) => decodeCanonical(bytes.subarray(start, end)),
    provenance: "full",
  });
}

function inputs(values: readonly unknown[], first: number): InputRows {
  const buffers = values.map((value) => encodeCanonical(value));
  return {
    count: values.length,
    records: [...values],
    buffers,
    starts: values.map(() => 0),
    ends: buffers.map((bytes) => bytes.length),
    ordinals: values.map((_, row) => first + row + 1),
    sources: undefined,
    roots: values.map((_, row) => first + row),
    paths: undefined,
    times: undefined,
    upstreams: undefined,
    parents: values.map((_, row) => first + row),
    parentKs: undefined,
    keys: undefined,
    firings: [],
  };
}

/** The rows of the last stage, and at which rows it failed if it is the only one, over `values`, in batches of `size`. */
async function run(engine: SegmentEngine, values: readonly unknown[], size: number, first = 0) {
  const records: unknown[] = [];
  const previous: number[] = [];
  const failed: number[] = [];
  for (let at = 0; at < values.length; at += size) {
    const result = await engine.process(inputs(values.slice(at, at + size), first + at), first + at);
    const last = result.stages.at(-1) as StageRows;
    records.push(...last.records);
    previous.push(...(last.previous ?? []));
    failed.push(...last.failures.map(({ row }) => at + row));
  }
  return { records, previous, failed };
}

const SIZES = [1, 2, 3, 100];

function sums(): Pipeline {
  const p = pipeline("p", { partitions: 1 });
  p.source<undefined, string>("in", { key: (entry) => (entry as Entry).key })
    .reduce("sum", {
      init: () => 0,
      step: (sum: number, entry) => {
        const { value } = entry as Entry;
        if (value < 0) throw new Error("a negative value");
        return sum + value;
      },
      emit: (sum, key) => (sum === 13 ? undefined : `${key}${sum}`),
    })
    .sink("out");
  return p;
}

describe("a reduce", () => {
  const entries: Entry[] = [
    { key: "a", value: 1 },
    { key: "b", value: 10 },
    { key: "a", value: -5 },
    { key: "a", value: 2 },
    { key: "b", value: 3 },
    { key: "b", value: 4 },
    { key: "c", value: -1 },
    { key: "c", value: 7 },
    { key: "a", value: 3 },
  ];
  // At N = 2 and 6 a step fails, at N = 4 what it emits is no record: the totals are as before.
  const records = ["a1", "b10", "a3", "b14", "c7", "a6"];
  // 1 + the distance to N of the key's last step that was recorded: N = 3 after 0, 5 after 1, 8 after 3.
  const previous = [0, 0, 4, 5, 0, 6];

  test.each(SIZES)(
    "links each step to the one before it with its key, past failures (batches of %i)",
    async (size) => {
      const ran = await run(engineOf(sums()), entries, size);
      expect(ran).toEqual({ records, previous, failed: [2, 4, 6] });
    },
  );

  test("goes on from a snapshot as if it had never stopped", async () => {
    for (let cut = 0; cut <= entries.length; cut++) {
      const before = engineOf(sums());
      const one = await run(before, entries.slice(0, cut), 2);
      const snapshot = before.snapshot(cut, { "source_p.in": cut }, cut, undefined);
      expect(snapshot.next).toBe(cut);
      const after = engineOf(sums());
      after.restore(snapshot);
      expect(after.stateEntries).toBe(before.stateEntries);
      const two = await run(after, entries.slice(cut), 2, cut);
      expect([...one.records, ...two.records]).toEqual(records);
      expect([...one.previous, ...two.previous]).toEqual(previous);
    }
  });

  test("has the same snapshot however its batches were cut", async () => {
    const snapshots = await Promise.all(
      SIZES.map(async (size) => {
        const engine = engineOf(sums());
        await run(engine, entries, size);
        return Buffer.from(encodeCanonical(engine.snapshot(9, {}, 9, undefined))).toString("hex");
      }),
    );
    expect(new Set(snapshots).size).toBe(1);
  });

  test.each(SIZES)("takes several steps of one input one after the other (batches of %i)", async (size) => {
    const p = pipeline("p", { partitions: 1 });
    p.source<undefined, string>("in", { key: (entry) => (entry as Entry).key })
      .flatMap("twice", (entry) => [entry as Entry, { ...(entry as Entry), value: 100 }])
      .reduce("sum", { init: () => 0, step: (sum: number, { value }) => sum + value, emit: (sum) => sum })
      .sink("out");
    const ran = await run(engineOf(p), [entries[0], entries[1], entries[0]], size);
    expect(ran.records).toEqual([1, 101, 10, 110, 102, 202]);
    // The step before may be one of the same input: distance 0.
    expect(ran.previous).toEqual([0, 1, 0, 1, 3, 1]);
  });

  test("keeps keys apart that differ in type only, and takes −0 for 0 and NaN for itself", async () => {
    const keys = [1, "1", 1n, true, null, -0, 0, Number.NaN, Number.NaN];
    const p = pipeline("p", { partitions: 1 });
    p.source<undefined, never>("in", { key: (index) => keys[index as number] as never })
      .reduce("count", { init: () => 0, step: (count: number) => count + 1, emit: (count) => count })
      .sink("out");
    const ran = await run(
      engineOf(p),
      keys.map((_, index) => index),
      4,
    );
    expect(ran.records).toEqual([1, 1, 1, 1, 1, 1, 2, 1, 2]);
  });
});

describe("a stage that fails", () => {
  test("quarantines exactly its records, whether it throws, rejects, or answers what is no record", async () => {
    const p = pipeline("p", { partitions: 1 });
    p.source<undefined>("in")
      .map("odd", async (value) => {
        if (value === 1) throw new Error("thrown");
        if (value === 3) return Promise.reject(new Error("rejected"));
        return value === 5 ? new Date(0) : value === 7 ? undefined : value;
      })
      .sink("out");
    const [odd] = (await engineOf(p).process(inputs([0, 1, 2, 3, 4, 5, 6, 7, 8], 0), 0)).stages as [
      StageRows,
    ];
    expect(odd.records).toEqual([0, 2, 4, 6, 8]);
    expect(odd.failures.map(({ row }) => row)).toEqual([1, 3, 5, 7]);
    expect(odd.parent).toEqual([0, 2, 4, 6, 8]);
    expect(odd.packed?.lengths).toEqual([1, 1, 1, 1, 1]);
    expect(odd.digests).toHaveLength(5 * 32);
    expect(isHeadwaterError(odd.failures[2]?.error, "NotCanonical")).toBe(true);
  });

  test("keeps nothing of a flatMap's results when one of them is no record", async () => {
    const p = pipeline("p", { partitions: 1 });
    p.source<undefined>("in")
      .flatMap("parts", (value) => (value === "bad" ? ["x", "y", undefined] : [value, value]))
      .sink("out");
    const [parts] = (await engineOf(p).process(inputs(["a", "bad", "b"], 0), 0)).stages as [StageRows];
    expect(parts.records).toEqual(["a", "a", "b", "b"]);
    expect(parts.packed?.lengths).toEqual([2, 2, 2, 2]);
    expect(parts.results).toEqual([2, 0, 2]);
    expect(parts.failures.map(({ row }) => row)).toEqual([1]);
  });
});
