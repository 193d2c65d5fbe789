import { expect, test } from "vitest";
import { LIMITS } from "../core/limits.ts";
import { type Delay, LongWaits } from "./long-waits.ts";

/** A clock that goes on when it is told to, and its timers. */
class HandClock {
  #now = 0;
  readonly #timers = new Set<{ readonly at: number; readonly callback: () => void }>();
  now = () => this.#now;
  monotonic = () => this.#now;

  setTimeout(callback: () => void, ms: number) {
    const timer = { at: this.#now + ms, callback };
    this.#timers.add(timer);
    return () => this.#timers.delete(timer);
  }

  get timers(): number {
    return this.#timers.size;
  }

  pass(ms: number): void {
    this.#now += ms;
    for (const timer of [...this.#timers]) {
      if (timer.at <= this.#now && this.#timers.delete(timer)) timer.callback();
    }
  }
}

test("a wait is told with what keeps the record, as long as that does", () => {
  const clock = new HandClock();
  const told: (string | undefined)[] = [];
  const waits = new LongWaits({
    clock,
    signal: new AbortController().signal,
    onLong: (_place, why) => told.push(why),
    onOver: () => {},
  });
  const wait = (n: number, ...delays: readonly (readonly [string, Delay | undefined])[]) => {
    for (const [id, delay] of delays) waits.delayed({ stage: "a", n }, id, delay);
    waits.waitsFor({ stage: "a", n });
    clock.pass(LIMITS.waitToldMs);
    waits.waitsFor(undefined);
    return told.pop();
  };
  const again = (ms: number): Delay => ({
    kind: "again",
    what: "it",
    dueAt: clock.monotonic() + LIMITS.waitToldMs + ms,
    because: "busy",
  });
  const queued: Delay = { kind: "queued", what: "its effect e", most: 3 };
  expect(wait(1)).toBeUndefined();
  expect(wait(2, ["", again(60_000)])).toBe("it is tried again in 60 s, because: busy");
  expect(wait(2), "its time is over").toBeUndefined();
  expect(wait(3, ["", again(-1)])).toBe("it is tried again just now, because: busy");
  expect(wait(4, ["", again(-1)], ["e", queued])).toBe(
    "its effect e waits for other calls to end, of which 3 may be under way",
  );
  expect(wait(5, ["", again(-1)], ["e", queued], ["e", undefined])).toContain("just now");
  waits.delayed({ stage: "a", n: 7 }, "e", queued);
  expect(wait(6), "another record").toBeUndefined();
});

test("a wait is told of once, when it is long, and again when it is over", () => {
  const clock = new HandClock();
  const stop = new AbortController();
  const told: string[] = [];
  const waits = new LongWaits({
    clock,
    signal: stop.signal,
    onLong: ({ stage, n }) => told.push(`${stage} ${n}`),
    onOver: () => told.push("over"),
  });
  const part = LIMITS.waitToldMs / 2;
  waits.waitsFor({ stage: "a", n: 1 });
  clock.pass(part);
  waits.waitsFor(undefined);
  waits.waitsFor({ stage: "a", n: 2 });
  clock.pass(part);
  expect(told, "none of them has waited for so long").toEqual([]);
  clock.pass(part);
  clock.pass(10 * LIMITS.waitToldMs);
  expect(told).toEqual(["a 2"]);
  waits.waitsFor({ stage: "a", n: 3 });
  expect(told).toEqual(["a 2", "over"]);
  clock.pass(LIMITS.waitToldMs);
  expect(told).toEqual(["a 2", "over", "a 3"]);
  waits.waitsFor({ stage: "a", n: 4 });
  stop.abort();
  expect(clock.timers).toBe(0);
});
