import { expect, it } from "vitest";
import { beatsOf, seenWork, sharedMarks, WorkMarks } from "./work-marks.ts";

const UNITS = ["partition:g.0", "partition:g.1"];

it("shows the other side what is under way, and what is inside", () => {
  const shared = sharedMarks(UNITS.length);
  const marks = new WorkMarks(shared, UNITS);
  expect(seenWork(shared, UNITS)).toEqual({ inside: undefined, underWay: [] });
  const [first, second] = UNITS.map((unit) => marks.of(unit));
  first?.begin(2 ** 40, 7);
  second?.begin(5, 3);
  second?.enter(2, 6, 1);
  const ofFirst = {
    unit: UNITS[0],
    restoring: false,
    first: 2 ** 40,
    count: 7,
    n: 2 ** 40,
    stage: undefined,
    row: 0,
  };
  const ofSecond = { unit: UNITS[1], restoring: false, first: 5, count: 3, n: 6, stage: 2, row: 1 };
  expect(seenWork(shared, UNITS)).toEqual({ inside: ofSecond, underWay: [ofFirst, ofSecond] });
  second?.leave();
  expect(seenWork(shared, UNITS).inside).toBeUndefined();
  second?.end();
  first?.end();
  expect(seenWork(shared, UNITS).underWay).toEqual([]);
});

it("shows a window's input while it is merged, and that it is brought back", () => {
  const shared = sharedMarks(UNITS.length);
  const unit = new WorkMarks(shared, UNITS).of("partition:g.1");
  unit.restoring(true);
  unit.enterHead(9);
  const { inside } = seenWork(shared, UNITS);
  expect(inside).toMatchObject({ restoring: true, first: 9, count: 1, n: 9, stage: 0 });
  unit.leaveHead();
  expect(seenWork(shared, UNITS)).toEqual({ inside: undefined, underWay: [] });
});

it("beats with its timer and with each record", () => {
  const shared = sharedMarks(1);
  const marks = new WorkMarks(shared, ["partition:g.0"]);
  marks.beat();
  marks.of("partition:g.0").enter(0, 1, 1);
  expect(beatsOf(shared)).toBe(2);
});
