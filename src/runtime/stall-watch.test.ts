import { beforeEach, expect, test } from "vitest";
import { StallWatch } from "./stall-watch.ts";
import { sharedMarks, WorkMarks } from "./work-marks.ts";

const units = [
  { unit: "partition:a.0", stream: "steps_p.a.0000", stages: ["a", "b"] },
  { unit: "partition:a.1", stream: "steps_p.a.0001", stages: ["a", "b"] },
];
let marks: WorkMarks;
let watch: StallWatch;
beforeEach(() => {
  const shared = sharedMarks(units.length);
  const names = units.map(({ unit }) => unit);
  marks = new WorkMarks(shared, names);
  watch = new StallWatch({ units, pid: 42, lookMs: 500, toldMs: 1_500 }, shared);
});
const looks = (times: number) => Array.from({ length: times }, () => watch.look());

test("a stage that does not return is named once, with its record, and so is that it goes on", () => {
  marks.of("partition:a.1").enter(1, 7, 0);
  const told = looks(10).filter((line) => line !== undefined);
  expect(told).toHaveLength(1);
  expect(told[0]).toContain("stage b has been at input 7 of steps_p.a.0001 for 1.5 s without a break");
  expect(told[0]).toContain("kill -9 42");
  marks.of("partition:a.1").leave();
  marks.beat();
  expect(looks(2)).toEqual(["headwater: stage b goes on", undefined]);
});

test("nothing is said while there are beats, or records are begun, however slowly", () => {
  for (let round = 0; round < 10; round++) {
    if (round % 2 === 0) marks.beat();
    else marks.of("partition:a.0").enter(0, round, 0);
    expect(looks(3)).toEqual([undefined, undefined, undefined]);
  }
});

test("what keeps the thread outside of a stage is not put down to one", () => {
  marks.beat();
  expect(looks(5).find((line) => line !== undefined)).toMatch(
    /^headwater: a function in this process has been at work/,
  );
});
