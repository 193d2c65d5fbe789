import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { describe, expect, test } from "vitest";
import { createBundler } from "./bundler.ts";
import { othersIn } from "./names.ts";

const { namesOutside } = createBundler({});

describe("the names that a function does not declare", () => {
  test.each([
    ["(a) => a.b + 1", []],
    ["(a) => helper(a)", ["helper"]],
    ["(a) => { const helper = 1; return helper + a; }", []],
    ["(a) => { { const helper = 1; a += helper; } return helper; }", ["helper"]],
    ["function named(a) { return a > 1 ? Math.abs(a) : 1; }", ["Math"]],
    ["function named(a) { return a.v * named.factor; }", ["named"]],
    ["(r) => get(r) + set(r) + of(r) + async(r)", ["async", "get", "of", "set"]],
    ["(a) => a * NaN", ["NaN"]],
    ["step(total, record) { return total + record.v; }", []],
    ["async (a, { x, y: [z] }) => ({ x, z, rate })", ["rate"]],
    ["class { run() { return outer; } }", ["outer"]],
    ["(a) => a.helper({ helper: 1 })", []],
    ["(a) => { counter++; return (last = a); }", ["counter", "last"]],
    ["(get, set, of) => get(set, of)", []],
  ])("%s", async (text, names) => {
    expect([...((await namesOutside(text)) ?? ["?"])].sort()).toEqual([...names].sort());
  });

  test.each([
    "function () { [native code] }",
    ")",
    "(r) => r.v * this.k",
    "(r) => r.v * arguments[0]",
    "(r) => r.v * gr\\u00F6\\u00DFe",
    "(r) => eval(r.code)",
  ])("cannot be told: %s", async (text) => {
    expect(await namesOutside(text)).toBe(undefined);
  });
});

describe("what a bundle makes something else of", () => {
  const NAMES = new Set(["Number", "Map", "parseInt", "JSON"]);
  const of = async (text: string) =>
    [...(await othersIn({ code: new TextEncoder().encode(text), module: "m.js" }, NAMES))].sort();

  test.each([
    ["const a = (r) => new Map([[parseInt(r), JSON.stringify(r)]]);", []],
    ["function parseInt(s) { return 1; }", ["parseInt"]],
    ["const made = (Map) => (r) => Map(r);", ["Map"]],
    ["var { Map } = require('x');", ["Map"]],
    ["Number.twice = (v) => v * 2;", ["Number"]],
    ["Object.assign(JSON, { stringify: () => 'x' });", ["JSON"]],
    ["if (Number.EPSILON === 1) {}", []],
    ["Number.prototype.twice = function () { return 2; };", [...NAMES].sort()],
    ["Object.defineProperty(Number, 'x', {});", ["Number"]],
    ["Object.defineProperty(Number.prototype, 'x', {});", [...NAMES].sort()],
    ["const all = Array.prototype; all.first = 1;", [...NAMES].sort()],
    ["globalThis.Map = class {};", ["Map"]],
    ["const g = globalThis; g.Map = 1;", [...NAMES].sort()],
    ["(1).constructor.prototype.x = 1;", [...NAMES].sort()],
    ["const has = Object.prototype.hasOwnProperty; if (a === Object.prototype) b();", []],
    ["a.Map = 1; a.b.JSON();", []],
    ["Map = class {};", ["Map"]],
  ])("%s", async (text, others) => {
    expect(await of(text)).toEqual(others);
  });

  test("is nothing where a module is bundled that does none of it", async () => {
    const folder = await mkdtemp(join(tmpdir(), "names-"));
    try {
      const module = join(folder, "m.ts");
      await writeFile(module, "export const twice = (v: number) => Number(v) * 2;\nexport default twice;\n");
      expect(await othersIn(await createBundler({}).bundle(module), NAMES)).toEqual(new Set());
    } finally {
      await rm(folder, { recursive: true });
    }
  });
});
