import { expect, test } from "vitest";
import type { Clock } from "../ports/clock.ts";
import type { FromNode } from "./thread-messages.ts";
import { ToldBoard } from "./told-board.ts";

test("what may block the thread is told before it begins, and nothing older after it", () => {
  const timers: (() => void)[] = [];
  const clock: Clock = {
    now: () => 0,
    monotonic: () => 0,
    setTimeout: (callback) => {
      timers.push(callback);
      return () => {};
    },
  };
  const told: FromNode[] = [];
  const { pressure } = new ToldBoard(clock, (message) => told.push(message));
  const unit = "partition:a.0";
  pressure.enters(unit, { kind: "waiting" });
  expect(told, "who waits leaves the thread to others").toEqual([]);
  pressure.enters(unit, { kind: "working" });
  expect(told).toEqual([{ kind: "activity", unit, activity: { kind: "working" } }]);
  pressure.enters(unit, { kind: "log" });
  expect(told.at(-1)).toEqual({ kind: "activity", unit, activity: { kind: "log" } });
  for (const timer of timers.splice(0)) timer();
  expect(told.at(-1)).toMatchObject({ kind: "progress", activities: [] });
  pressure.enters(unit, { kind: "waiting" });
  for (const timer of timers) timer();
  expect(told.at(-1)).toMatchObject({ activities: [[unit, { kind: "waiting" }]] });
});
