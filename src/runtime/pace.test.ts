import { describe, expect, test } from "vitest";
import { timeToOrdinal } from "../core/ordinal.ts";
import { durationAt, WindowPace } from "./pace.ts";

const NEVER = new AbortController().signal;

/** A clock that goes on when somebody waits for it, and by hand. */
class HandClock {
  at = 0;

  now(): number {
    return this.at;
  }

  monotonic(): number {
    return this.at;
  }

  setTimeout(done: () => void, ms: number): () => void {
    this.at += ms;
    queueMicrotask(done);
    return () => {};
  }
}

describe("the pace of a window", () => {
  test("lasts as long as its records do, a second apart or at twice their pace", () => {
    const first = timeToOrdinal(Date.parse("2024-01-01T00:00:00Z"));
    const last = timeToOrdinal(Date.parse("2024-01-01T00:01:00Z"));
    expect(durationAt({ recordsPerSecond: 50 }, 100, first, last)).toBe(2_000);
    expect(durationAt({ timesRealTime: 2 }, 100, first, last)).toBe(30_000);
  });

  test("holds back whoever is ahead, from where it was begun", async () => {
    const clock = new HandClock();
    const pace = new WindowPace(10_000, clock, 0.5);
    await pace.reach(0.6, NEVER);
    expect(clock.at).toBeCloseTo(1_000);
    clock.at = 1_900;
    await pace.reach(0.7, NEVER);
    expect(clock.at).toBeCloseTo(2_000);
    await pace.reach(1, NEVER);
    expect(clock.at).toBeCloseTo(5_000);
  });

  test("lets whoever is late make up for a second at most", async () => {
    const clock = new HandClock();
    const pace = new WindowPace(10_000, clock, 0);
    clock.at = 60_000;
    await pace.reach(0.1, NEVER);
    expect(clock.at).toBe(60_000);
    // A tenth is a second of the window: it has that much in hand, and no more.
    await pace.reach(0.2, NEVER);
    expect(clock.at).toBe(60_000);
    await pace.reach(0.3, NEVER);
    expect(clock.at).toBeCloseTo(61_000);
  });
});
