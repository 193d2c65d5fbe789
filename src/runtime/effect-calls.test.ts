import { describe, expect, test } from "vitest";
import { decodeCanonical } from "../core/canonical.ts";
import type { EffectRequest } from "../engine/outside.ts";
import { type EffectCall, type EffectOptions, effectPlan } from "../pipeline/effects.ts";
import type { Clock } from "../ports/clock.ts";
import { type CallResult, callEffect } from "./effect-calls.ts";
import { EffectGates } from "./effect-gates.ts";

/** A clock that goes on when nothing else is left to do. */
class StepClock implements Clock {
  ms = 0;
  readonly #timers = new Map<() => void, number>();

  now(): number {
    return this.ms;
  }

  monotonic(): number {
    return this.ms;
  }

  setTimeout(callback: () => void, ms: number): () => void {
    this.#timers.set(callback, this.ms + ms);
    return () => this.#timers.delete(callback);
  }

  get timers(): number {
    return this.#timers.size;
  }

  /** Runs until `work` has settled. */
  async until<T>(work: Promise<T>): Promise<T> {
    let settled = false;
    const done = () => {
      settled = true;
    };
    work.then(done, done);
    for (;;) {
      await new Promise((resolve) => setImmediate(resolve));
      if (settled) return work;
      const [next] = [...this.#timers].sort(([, a], [, b]) => a - b);
      if (next === undefined) throw new Error("nothing is left to happen");
      this.#timers.delete(next[0]);
      this.ms = next[1];
      next[0]();
    }
  }
}

function request(fn: EffectRequest["fn"], options: EffectOptions = {}): EffectRequest {
  const plan = effectPlan(options, "here");
  const at = { root: "source_p.s@0", path: "" };
  return { n: 0, k: 0, ordinal: 0, stage: "s", name: "e", at, key: "key", turn: 0, callsBefore: 0, plan, fn };
}

function world() {
  const clock = new StepClock();
  const stop = new AbortController();
  const gates = new EffectGates();
  const call = (fn: EffectRequest["fn"], options?: EffectOptions): Promise<CallResult> =>
    clock.until(callEffect(request(fn, options), { clock, gates, signal: stop.signal }));
  const sleep = (ms: number) => new Promise<void>((resolve) => clock.setTimeout(resolve, ms));
  return { clock, stop, gates, call, sleep };
}

const value = ({ kind, bytes }: CallResult) => ({
  kind,
  value: bytes.length === 0 ? undefined : decodeCanonical(bytes),
});

describe("the call of an effect", () => {
  test("gives what the function answers, in canonical form", async () => {
    const { call, clock } = world();
    expect(value(await call(() => ({ b: 1, a: undefined })))).toEqual({ kind: "value", value: { b: 1 } });
    expect(value(await call(async () => undefined))).toEqual({ kind: "nothing", value: undefined });
    expect(clock.timers).toBe(0);
  });

  test("is made again as its plan says, each time with the same key", async () => {
    const { call, sleep, clock } = world();
    const calls: EffectCall[] = [];
    const result = await call(
      async (given) => {
        calls.push(given);
        await sleep(30);
        if (calls.length < 3) throw new Error("not yet");
        return "there";
      },
      { retry: { times: 5, backoff: 100, factor: 3 } },
    );
    expect(value(result)).toEqual({ kind: "value", value: "there" });
    expect(calls.map(({ key, attempt }) => ({ key, attempt }))).toEqual(
      [1, 2, 3].map((attempt) => ({ key: "key", attempt })),
    );
    expect(result).toMatchObject({ calls: 3, millis: clock.ms });
    // Three calls of 30 ms, and waits of up to 100 and 300 ms, at least half of it.
    expect(clock.ms).toBeGreaterThanOrEqual(90 + 50 + 150);
    expect(clock.ms).toBeLessThanOrEqual(90 + 100 + 300);
  });

  test("fails with what was thrown last, as plain data", async () => {
    const { call } = world();
    const refused = Object.assign(new TypeError("refused"), { code: "ECONNREFUSED" });
    expect(value(await call(() => Promise.reject(refused), { retry: { times: 1 } }))).toEqual({
      kind: "failed",
      value: { message: "refused", name: "TypeError", code: "ECONNREFUSED" },
    });
    expect(value(await call(() => Promise.reject("boom")))).toEqual({
      kind: "failed",
      value: { message: "a text was thrown, not an Error: boom" },
    });
  });

  test("is over when its time is up: the signal says so, and an answer after that changes nothing", async () => {
    const { call, sleep, clock } = world();
    const seen: string[] = [];
    let late: Promise<void> | undefined;
    const result = await call(
      ({ signal, attempt }) => {
        if (attempt === 2) return sleep(40).then(() => "second");
        signal.addEventListener("abort", () => seen.push(String(signal.reason)));
        late = sleep(600).then(() => {
          seen.push("answered late");
          throw new Error("and badly");
        });
        return late;
      },
      { timeout: 500, retry: { times: 1, backoff: 1 } },
    );
    expect(value(result)).toEqual({ kind: "value", value: "second" });
    await clock.until(Promise.allSettled([late]));
    expect(seen).toEqual([
      expect.stringMatching(/the effect e had no answer within 500 ms/),
      "answered late",
    ]);

    expect(value(await call(() => new Promise(() => {}), { timeout: 500 }))).toEqual({
      kind: "timedOut",
      value: { message: "within 500 ms" },
    });
  });

  test("that came to an end is not made again because its result cannot be kept", async () => {
    const { call } = world();
    let calls = 0;
    const result = await call(
      () => {
        calls++;
        return { at: [{ when: new Date(0) }] };
      },
      { retry: { times: 3 } },
    );
    expect(calls).toBe(1);
    expect(value(result)).toMatchObject({ kind: "failed", value: { path: "$.at[0].when" } });
    expect((value(result).value as { message: string }).message).toMatch(
      /^its result cannot be kept: .*Date.*\. Use value\.toISOString/,
    );
  });

  test.each([
    [
      "its keys",
      {
        ownKeys: () => {
          throw new Error("trap");
        },
      },
    ],
    [
      "what it is",
      {
        getPrototypeOf: () => {
          throw "trap";
        },
      },
    ],
  ])("that answers what cannot be asked for %s fails", async (_, traps: ProxyHandler<object>) => {
    const { call } = world();
    const { kind, value: failure } = value(
      await call(() => Promise.resolve({ result: new Proxy({}, traps) })),
    );
    expect(kind).toBe("failed");
    expect((failure as { message: string }).message).toMatch(/^its result cannot be kept: .*trap/);
  });

  test("is let go of at once, and holds no place after that", async () => {
    const { call, stop, gates } = world();
    let told = false;
    const calling = call(
      ({ signal }) => {
        signal.addEventListener("abort", () => {
          told = true;
        });
        queueMicrotask(() => stop.abort());
        return new Promise(() => {});
      },
      { concurrency: 1 },
    );
    await expect(calling).rejects.toMatchObject({ code: "Stopped" });
    expect(told).toBe(true);
    expect(await gates.enter("s\0e", 1, new AbortController().signal)).toBe(true);
  });
});
