import { describe, expect, test } from "vitest";
import { isHeadwaterError } from "../core/errors.ts";
import { count } from "./aggregates.ts";
import { type Pipeline, pipeline } from "./pipeline.ts";
import { planPipeline } from "./plan.ts";
import { tumbling } from "./windows.ts";

function capturesOf(p: Pipeline) {
  return Object.fromEntries(
    [...planPipeline(p.definition).captures].map(([name, { level, rate }]) => [name, `${level} ${rate}`]),
  );
}

function refusal(define: () => Pipeline): string {
  try {
    define().definition;
  } catch (error) {
    if (isHeadwaterError(error, "BadPipeline")) return `${error.message} | ${error.where}`;
    throw error;
  }
  throw new Error("nothing was refused");
}

describe("what is kept", () => {
  test("is what is said, and the sample goes on to what is made of the records", () => {
    const p = pipeline("p");
    const a = p.source<undefined, string>("a", { key: String, eventTime: () => 0, sample: 0.5 });
    const b = p.source<undefined, string>("b", { key: String, eventTime: () => 0, capture: "none" });
    const few = a.map("few", (r) => r, { capture: "all", sample: 0.25 });
    p.union("both", few, b)
      .filter("some", () => true)
      .window("counts", tumbling("1m"), { aggregate: { n: count() }, emit: (r) => r, capture: "all" })
      .late("late");
    expect(capturesOf(p)).toEqual({
      a: "ends 0.5",
      b: "none 1",
      few: "all 0.25",
      both: "none 0.25",
      some: "none 0.25",
      counts: "all 0.25",
      // What comes too late is what came in.
      late: "none 0.25",
    });
  });

  test("is said of no segment of a pipeline that says nothing", () => {
    const p = pipeline("p");
    p.source("a")
      .map("m", (r) => r)
      .sink("out");
    expect(planPipeline(p.definition).segments[0]?.captures).toBeUndefined();
    expect(p.definition.stages[0]).not.toHaveProperty("capture");
    expect(p.definition.sources[0]).not.toHaveProperty("sample");
  });

  test.each([
    ["a level", { capture: "some" as never }, /capture is none of the levels: some \| stage m/],
    ["too much", { sample: 1.5 }, /sample has to be above 0 and at most 1, not 1\.5/],
    ["nothing", { sample: 0 }, /sample has to be above 0/],
    ["no number", { sample: "half" as never }, /not half/],
    ["a sample of nothing", { sample: 0.5, capture: "none" }, /a sample is kept of nothing/],
    ["more than there is", { sample: 0.5 }, /it keeps a sample of 0\.5, and .* kept at 0\.25 \| stage m/],
  ] as const)("is refused where it says %s", (_what, options, message) => {
    const define = () => {
      const p = pipeline("p");
      p.source("a", { sample: 0.25 }).map("m", (r) => r, options);
      return p;
    };
    expect(refusal(define)).toMatch(message);
  });

  test("is refused where no records are made", () => {
    const define = () => {
      const p = pipeline("p");
      p.source("a").filter("f", () => true, { capture: "all" } as never);
      return p;
    };
    expect(refusal(define)).toMatch(/a filter makes no records that could be kept \| stage f/);
  });
});
