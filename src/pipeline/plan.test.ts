import { describe, expect, it } from "vitest";
import { pipeline } from "./pipeline.ts";
import { planPipeline, SEGMENT_INPUT } from "./plan.ts";

const same = (x: unknown) => x;

describe("planPipeline", () => {
  it("runs a chain as one segment, and cuts where the key changes", () => {
    const p = pipeline("p");
    p.source("s", { key: () => "k" })
      .map("a", same)
      .filter("b", () => true)
      .keyBy("c", () => 1)
      .map("d", same)
      .sink("out");
    const { segments, sinks } = planPipeline(p.definition);
    expect(
      segments.map((segment) => [segment.name, segment.stages.map((stage) => stage.definition.name)]),
    ).toEqual([
      ["a", ["a", "b", "c"]],
      ["d", ["d"]],
    ]);
    expect(segments[0]?.upstreams).toMatchObject([{ from: { source: "s" }, route: "same", branch: "" }]);
    // What leaves at the keyBy are the records that the map made, as far as the filter lets them.
    expect(segments[0]?.outlets).toEqual([{ stage: 2, stored: 0, rekeys: true, keyed: false }]);
    expect(segments[1]?.upstreams).toMatchObject([{ from: { segment: "a", outlet: 0 }, route: "sections" }]);
    expect(sinks).toMatchObject([
      { name: "out", upstream: { from: { segment: "d", outlet: 0 }, route: "all" } },
    ]);
  });

  it("keeps branches in one segment and tells them apart in paths", () => {
    const p = pipeline("p");
    const a = p.source("s").map("a", same);
    a.filter("left", () => true).sink("l");
    a.map("right", same).sink("r");
    a.sink("both");
    const { segments } = planPipeline(p.definition);
    expect(segments).toHaveLength(1);
    expect(segments[0]?.stages.map((stage) => [stage.input, stage.branch])).toEqual([
      [SEGMENT_INPUT, ""],
      [0, "left\0"],
      [0, "right\0"],
    ]);
    expect(segments[0]?.outlets).toEqual([
      { stage: 1, stored: 0, rekeys: false, keyed: false },
      { stage: 2, stored: 2, rekeys: false, keyed: false },
      { stage: 0, stored: 0, rekeys: false, keyed: false },
    ]);
    expect(segments[0]?.paths).toBe(true);
  });

  it("begins a segment at a union, which reads the same partition of each", () => {
    const p = pipeline("p");
    const a = p.source("a");
    const b = p.source("b").map("m", same);
    p.union("u", a, b).map("after", same).sink("out");
    const { segments } = planPipeline(p.definition);
    expect(segments.map((segment) => segment.name)).toEqual(["m", "u"]);
    expect(segments[1]?.upstreams).toMatchObject([
      { from: { source: "a" }, route: "same" },
      { from: { segment: "m", outlet: 0 }, route: "same" },
    ]);
  });

  it("gives each reader of a source its own segment and branch", () => {
    const p = pipeline("p");
    const s = p.source("s");
    s.map("a", same).sink("a");
    s.map("b", same).sink("b");
    const { segments } = planPipeline(p.definition);
    expect(segments.map((segment) => [segment.name, segment.upstreams[0]?.branch])).toEqual([
      ["a", "a\0"],
      ["b", "b\0"],
    ]);
  });
});
