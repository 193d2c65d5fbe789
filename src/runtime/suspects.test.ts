import { describe, expect, it } from "vitest";
import { NO_CARE, Suspects } from "./suspects.ts";
import type { WorkMark } from "./work-marks.ts";

const UNIT = "partition:g.0";
const mark = (more: Partial<WorkMark>): WorkMark => ({
  ...{ unit: UNIT, restoring: false, first: 100, count: 50, n: 120, stage: 1, row: 20 },
  ...more,
});
const alone = (n: number, more: Partial<WorkMark> = {}) => mark({ first: n, count: 1, n, row: 0, ...more });
const suspects = () =>
  new Suspects({ nameOf: (_, stage) => `stage-${stage}`, first: () => ["stage-0", "stage-4"] });

describe("Suspects", () => {
  it("has nothing to say of a unit that nothing happened to", () => {
    expect(suspects().careOf(UNIT)).toEqual(NO_CARE);
  });

  it("lets only what was inside be worked at alone, or all that was under way if nothing was", () => {
    const inside = suspects();
    inside.ended({ inside: mark({}), underWay: [mark({}), mark({ unit: "partition:g.1" })] }, "x");
    expect(inside.careOf(UNIT).aloneBelow).toBe(121);
    expect(inside.careOf("partition:g.1")).toEqual(NO_CARE);
    const waiting = suspects();
    waiting.ended(
      { inside: undefined, underWay: [mark({}), mark({ unit: "partition:g.1", first: 7 })] },
      "x",
    );
    expect(waiting.careOf(UNIT).aloneBelow).toBe(150);
    expect(waiting.careOf("partition:g.1").aloneBelow).toBe(57);
  });

  it("refuses an input that ends its thread twice in a row while it is alone", () => {
    const all = suspects();
    expect(all.ended({ inside: mark({}), underWay: [] }, "x")).toEqual([]);
    expect(all.ended({ inside: alone(120), underWay: [] }, "x")).toEqual([]);
    expect(all.careOf(UNIT).refused).toEqual([]);
    const refused = [
      {
        n: 120,
        stage: "stage-1",
        row: 0,
        message: "the worker ended (out of memory) at this record",
        code: "NodeLost",
      },
    ];
    expect(all.ended({ inside: alone(120), underWay: [] }, "out of memory")).toEqual(refused);
    expect(all.careOf(UNIT)).toEqual({ aloneBelow: 121, refused });
  });

  it("refuses an input altogether when it does not help not to call the last stage", () => {
    const all = suspects();
    const twice = () => {
      all.ended({ inside: undefined, underWay: [alone(7)] }, "x");
      return all.ended({ inside: undefined, underWay: [alone(7)] }, "x");
    };
    expect(twice().map(({ stage }) => stage)).toEqual(["stage-1"]);
    expect(twice().map(({ stage }) => stage)).toEqual(["stage-0", "stage-4"]);
    // Nothing more can be done.
    expect(twice()).toEqual([]);
    expect(all.careOf(UNIT).refused).toHaveLength(3);
  });

  it("does not refuse one that another came after, or that got further", () => {
    const all = suspects();
    all.ended({ inside: alone(120), underWay: [] }, "x");
    expect(all.ended({ inside: alone(121), underWay: [] }, "x")).toEqual([]);
    expect(all.ended({ inside: alone(120), underWay: [] }, "x")).toEqual([]);
    expect(all.ended({ inside: alone(120, { stage: 2 }), underWay: [] }, "x")).toEqual([]);
  });

  it("blames nothing that is recorded already", () => {
    const all = suspects();
    for (let time = 0; time < 3; time++) {
      expect(all.ended({ inside: alone(3, { restoring: true }), underWay: [] }, "x")).toEqual([]);
    }
    expect(all.careOf(UNIT)).toEqual(NO_CARE);
  });
});
