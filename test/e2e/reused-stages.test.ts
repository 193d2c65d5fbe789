import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { createBundler } from "../../src/adapters/esbuild/bundler.ts";
import * as headwater from "../../src/index.ts";
import { planPipeline } from "../../src/pipeline/plan.ts";
import type { Bundle } from "../../src/ports/bundler.ts";
import { definitionOf } from "../../src/runtime/deployment.ts";
import { sameFunctions } from "../../src/runtime/same-functions.ts";

let folder = "";
beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), "reused-"));
});
afterAll(() => rm(folder, { recursive: true }));

/** Whether the function `scale` of a module is the same in every module that has it with this text. */
async function isSame(around: string, scale: string, elsewhere = ""): Promise<boolean> {
  const bundler = createBundler(headwater);
  const bundles: Bundle[] = [];
  for (const [at, more] of ["", elsewhere].entries()) {
    const file = join(folder, `m${at}.ts`);
    await writeFile(
      file,
      `import { pipeline } from "headwater";
${more}
${around}
const p = pipeline("p");
p.source("in").map("scale", ${scale}).sink("out");
export default p;
`,
    );
    bundles.push(await bundler.bundle(file));
  }
  const [
    bundle = (() => {
      throw new Error("nothing is bundled");
    })(),
  ] = bundles;
  const plan = planPipeline(definitionOf(bundler.load(bundle), "m0.ts"));
  return sameFunctions(bundler, async () => bundles)(plan, "scale");
}

describe("a stage's function", () => {
  it.each([
    ["by its text", "", "(r: any) => ({ ...r, v: r.v * 2 })"],
    ["with what it declares itself", "", "(r: any) => { const get = (v: any) => v * 2; return get(r.v); }"],
    [
      "with globals that nobody changes",
      "",
      "(r: any) => Number(r.v) + parseInt(JSON.stringify([...new Set([r.v])]))",
    ],
  ])("is the same in every module: %s", async (_, around, scale) => {
    expect(await isSame(around, scale)).toBe(true);
  });

  it.each([
    ["a helper", "const twice = (v: any) => v * 2;", "(r: any) => twice(r.v)"],
    [
      "a helper with a name that is a word in other places",
      "const get = (v: any) => v * 2;",
      "(r: any) => get(r.v)",
    ],
    ["a constant named of", "const of = 2;", "(r: any) => r.v * of"],
    ["a constant with another letter than ASCII", "const größe = 2;", "(r: any) => r.v * größe"],
    ["an object around it", "class S { k = 2; run = (r: any) => r.v * this.k; }", "new S().run"],
    [
      "arguments of what made it",
      "function made(..._: number[]) { return (r: any) => r.v * arguments[0]; }",
      "made(2)",
    ],
    [
      "its module's own function of a global's name",
      "function parseInt(v: any) { return v * 2; }",
      "(r: any) => parseInt(r.v)",
    ],
    [
      "a property of its own",
      "function scale(r: any) { return r.v * (scale as any).k; }\n(scale as any).k = 2;",
      "scale",
    ],
    [
      "what all numbers have",
      "(Number as any).prototype.twice = function () { return this * 2; };",
      "(r: any) => r.v.twice()",
    ],
    ["the place where it runs", "", "(r: any) => r.v.toLocaleString()"],
    ["the clock", "", "(r: any) => Date.now() + r.v"],
  ])("may be another in another module: %s", async (_, around, scale) => {
    expect(await isSame(around, scale)).toBe(false);
  });

  it("may be another where the other module changes what it uses", async () => {
    const scale = "(r: any) => Number(r.v)";
    expect(await isSame("", scale)).toBe(true);
    expect(await isSame("", scale, "(Number as any).prototype.valueOf = () => 1;")).toBe(false);
    expect(await isSame("", scale, "(globalThis as any).Number = () => 1;")).toBe(false);
  });
});
