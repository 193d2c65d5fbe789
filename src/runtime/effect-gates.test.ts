import { describe, expect, test } from "vitest";
import { EffectGates } from "./effect-gates.ts";

const never = new AbortController().signal;

/** Lets everything go on that can. */
const settle = () => new Promise((resolve) => setImmediate(resolve));

describe("the gates of effects", () => {
  test("let through so many at a time, first come, first served", async () => {
    const gates = new EffectGates();
    const entered: number[] = [];
    for (let call = 0; call < 5; call++) void gates.enter("a", 2, never).then(() => entered.push(call));
    await settle();
    expect(entered).toEqual([0, 1]);
    gates.leave("a");
    await settle();
    expect(entered).toEqual([0, 1, 2]);
    gates.leave("a");
    gates.leave("a");
    await settle();
    expect(entered).toEqual([0, 1, 2, 3, 4]);
  });

  test("are of one effect each", async () => {
    const gates = new EffectGates();
    expect(await gates.enter("a", 1, never)).toBe(true);
    expect(await gates.enter("b", 1, never)).toBe(true);
  });

  test("are not held by who gave up waiting", async () => {
    const gates = new EffectGates();
    const stop = new AbortController();
    await gates.enter("a", 1, never);
    const given = gates.enter("a", 1, stop.signal);
    const next = gates.enter("a", 1, never);
    stop.abort();
    expect(await given).toBe(false);
    gates.leave("a");
    expect(await next).toBe(true);
    expect(await gates.enter("a", 1, stop.signal)).toBe(false);
  });
});
