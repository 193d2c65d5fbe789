import { describe, expect, test } from "vitest";
import { createBundler } from "./bundler.ts";

const { namesOutside } = createBundler({});

describe("the names that a function does not declare", () => {
  test.each([
    ["(a) => a.b + 1", []],
    ["(a) => helper(a)", ["helper"]],
    ["(a) => { const helper = 1; return helper + a; }", []],
    ["(a) => { { const helper = 1; a += helper; } return helper; }", ["helper"]],
    ["function named(a) { return a > 1 ? named(a - 1) : Math.abs(a); }", ["Math"]],
    ["step(total, record) { return total + record.v; }", []],
    ["async (a, { x, y: [z] }) => ({ x, z, rate })", ["rate"]],
    ["class { run() { return outer; } }", ["outer"]],
    ["(a) => a.helper({ helper: 1 })", []],
    ["(a) => { counter++; return (last = a); }", ["counter", "last"]],
    ["(get, set, of) => get(set, of)", []],
  ])("%s", async (text, names) => {
    expect([...((await namesOutside(text)) ?? ["?"])].sort()).toEqual([...names].sort());
  });

  test.each(["function () { [native code] }", ")"])("cannot be told: %s", async (text) => {
    expect(await namesOutside(text)).toBe(undefined);
  });
});
