import { describe, expect, test } from "vitest";
import { Arena } from "../core/arena.ts";
import { decodeCanonical, encodeCanonical } from "../core/canonical.ts";
import { type Pipeline, pipeline } from "../pipeline/pipeline.ts";
import { planPipeline, type Segment } from "../pipeline/plan.ts";
import type { InputRows } from "./rows.ts";
import { SegmentEngine } from "./segment-engine.ts";

interface Row {
  k: string;
  i: number;
}

function inputs(values: readonly Row[]): InputRows {
  const buffers = values.map((value) => encodeCanonical(value));
  const rows = values.map((_, row) => row);
  return {
    count: values.length,
    records: buffers.map((bytes) => decodeCanonical(bytes)),
    buffers,
    starts: rows.map(() => 0),
    ends: buffers.map((bytes) => bytes.length),
    ordinals: rows,
    sources: undefined,
    roots: rows,
    paths: undefined,
    times: undefined,
    upstreams: undefined,
    parents: rows,
    parentKs: undefined,
    keys: undefined,
    firings: [],
  };
}

/** As in a process: one for all of its engines. */
const arena = new Arena();

/** The canonical records of each stage, as they are kept. */
async function run(p: Pipeline, values: readonly Row[]): Promise<unknown[][]> {
  const [segment] = planPipeline(p.definition).segments as [Segment];
  const engine = new SegmentEngine({
    pipeline: "p",
    segment,
    origins: { names: ["in"], firing: 0 },
    partitions: 1,
    arena,
    decode: (bytes, start, end) => decodeCanonical(bytes.subarray(start, end)),
    provenance: "full",
  });
  const { stages } = await engine.process(inputs(values), 0);
  return stages.map(({ packed }) => {
    let at = 0;
    return (packed?.lengths ?? []).map((length) => {
      at += length;
      return decodeCanonical((packed as { bytes: Uint8Array }).bytes.subarray(at - length, at));
    });
  });
}

const VALUES: readonly Row[] = [1, 2, 3].map((i) => ({ k: "a", i }));
const source = (p: Pipeline) => p.source<undefined, string>("in", { key: (row) => (row as Row).k });

describe("what one stage does to an object", () => {
  test("is not seen in what it answered before: a map that uses one object again", async () => {
    const p = pipeline("p");
    const shared = { i: 0 };
    source(p)
      .map("m", (row) => {
        shared.i = (row as Row).i;
        return shared;
      })
      .map("n", (row) => ({ twice: row.i * 2 }))
      .sink("out");
    expect(await run(p, VALUES)).toEqual([
      [{ i: 1 }, { i: 2 }, { i: 3 }],
      [{ twice: 2 }, { twice: 4 }, { twice: 6 }],
    ]);
  });

  test("is not seen by the stage after a reduce that changes its total in place", async () => {
    const p = pipeline("p");
    source(p)
      .reduce("all", {
        init: () => ({ list: [] as number[] }),
        step: (total, row) => {
          total.list.push((row as Row).i);
          return total;
        },
        emit: (total) => total,
      })
      .map("count", (total) => ({ n: total.list.length }))
      .sink("out");
    expect((await run(p, VALUES))[1]).toEqual([{ n: 1 }, { n: 2 }, { n: 3 }]);
  });

  test("is not seen by another branch, nor in the key that the record came with", async () => {
    const p = pipeline("p");
    const keys: unknown[] = [];
    const rows = source(p).filter("all", () => true);
    const spoiled = rows.map("spoil", (row) => {
      (row as Row).k = "spoiled";
      return row as Row;
    });
    spoiled
      .reduce("keys", {
        init: () => 0,
        step: (n) => n + 1,
        emit: (n, key) => {
          keys.push(key);
          return n;
        },
      })
      .sink("keys");
    rows.map("look", (row) => ({ seen: (row as Row).k })).sink("out");
    const stages = await run(p, VALUES);
    expect(keys).toEqual(["a", "a", "a"]);
    expect(stages.at(-1)).toEqual([{ seen: "a" }, { seen: "a" }, { seen: "a" }]);
  });

  test("is not seen in another batch's records while promises are waited for", async () => {
    const later = pipeline("p");
    source(later)
      .map("slow", async (row) => {
        await new Promise((resolve) => setImmediate(resolve));
        return { slow: (row as Row).i };
      })
      .sink("out");
    const both = await Promise.all([run(later, VALUES), run(later, VALUES.toReversed())]);
    expect(both).toEqual([
      [[{ slow: 1 }, { slow: 2 }, { slow: 3 }]],
      [[{ slow: 3 }, { slow: 2 }, { slow: 1 }]],
    ]);
  });
});
