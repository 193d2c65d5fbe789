import { afterEach, beforeEach, expect, it, vi } from "vitest";
import { createSystemClock } from "./clock.ts";

const DAY_MS = 86_400_000;

beforeEach(() => {
  vi.useFakeTimers();
});
afterEach(() => {
  vi.useRealTimers();
});

it.each([1, 24, 25, 60])("waits %i days, also where Node's timers would not wait at all", (days) => {
  const done = vi.fn();
  createSystemClock().setTimeout(done, days * DAY_MS);
  vi.advanceTimersByTime(days * DAY_MS - 1);
  expect(done).not.toHaveBeenCalled();
  vi.advanceTimersByTime(1);
  expect(done).toHaveBeenCalledOnce();
});

it("does not call what was cancelled, however long it has waited", () => {
  const done = vi.fn();
  const cancel = createSystemClock().setTimeout(done, Number.POSITIVE_INFINITY);
  vi.advanceTimersByTime(60 * DAY_MS);
  cancel();
  vi.advanceTimersByTime(60 * DAY_MS);
  expect(done).not.toHaveBeenCalled();
});
