import { expect, test } from "vitest";
import { LIMITS } from "../core/limits.ts";
import { SnapshotSchedule } from "./snapshot-schedule.ts";

const EVERY_MS = 1_000;

function schedule(everyMs: number | undefined) {
  let nowMs = 0;
  const snapshots = new SnapshotSchedule(
    { now: () => nowMs, monotonic: () => nowMs, setTimeout: () => () => {} },
    everyMs,
  );
  return { snapshots, pass: (ms: number) => (nowMs += ms) };
}

test("without a time one is due when as many inputs came as there are entries, and not too few", () => {
  const { snapshots, pass } = schedule(undefined);
  const cursors = {};
  pass(1_000 * EVERY_MS);
  snapshots.count(LIMITS.snapshotInputs - 1);
  expect(snapshots.isDue(0, cursors)).toBe(false);
  snapshots.count(1);
  expect(snapshots.isDue(0, cursors)).toBe(true);
  expect(snapshots.isDue(LIMITS.snapshotInputs + 1, cursors)).toBe(false);
  expect(snapshots.untilDueMs(cursors)).toBeUndefined();
  expect(snapshots.isWorthIt(cursors)).toBe(true);
  snapshots.kept(cursors);
  expect(snapshots.isDue(0, cursors)).toBe(false);
  expect(snapshots.isWorthIt({ in: 1 })).toBe(false);
});

test("by time one is due where something was taken or passed over since", () => {
  const { snapshots, pass } = schedule(EVERY_MS);
  const cursors = { in: 1 };
  expect(snapshots.isDue(0, cursors)).toBe(true);
  snapshots.take(() => "state");
  snapshots.kept(cursors);
  pass(10 * EVERY_MS);
  expect(snapshots.untilDueMs(cursors)).toBeUndefined();
  expect(snapshots.isWorthIt(cursors)).toBe(false);
  expect(snapshots.isDue(0, { in: 2 })).toBe(true);
  snapshots.take(() => "state");
  snapshots.kept(cursors);
  snapshots.count(1);
  pass(EVERY_MS / 4);
  expect(snapshots.untilDueMs(cursors)).toBe((EVERY_MS * 3) / 4);
  pass(EVERY_MS);
  expect(snapshots.untilDueMs(cursors)).toBe(0);
});

test("one that takes long is taken so much the more seldom", () => {
  const { snapshots, pass } = schedule(EVERY_MS);
  snapshots.take(() => pass(EVERY_MS));
  snapshots.kept({});
  snapshots.count(1);
  expect(snapshots.untilDueMs({})).toBe((LIMITS.snapshotTimes - 1) * EVERY_MS);
});
