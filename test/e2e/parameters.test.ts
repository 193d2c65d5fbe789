import { readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { type Ended, headwater, jsonError, projectFile, Workplace } from "./command.ts";
import { clearSound, countEvents, deployments } from "./open-log.ts";

const place = new Workplace();
let cwd: string;

beforeEach(async () => {
  cwd = await place.folder();
});
afterEach(() => clearSound(place));

const ZOD = projectFile("node_modules/zod/index.js");

/** A stage with parameters, one without, and a total that goes on through every deployment. */
function define(mark = "default"): void {
  const text = `import { parameter, pipeline } from "headwater";
import { z } from ${JSON.stringify(ZOD)};
const p = pipeline("marked");
p.source("in", { key: () => "all" })
  .map("mark", (row, ctx) => ({ i: (row as { i: number }).i, by: ctx.parameters.by }), {
    parameters: { by: parameter(z.string(), ${JSON.stringify(mark)}), unused: parameter(z.array(z.number()), []) },
  })
  .map("plain", (row) => row)
  .reduce("total", {
    parameters: { weight: parameter(z.number().int(), 1) },
    init: () => 0,
    step: (sum, _, ctx) => sum + ctx.parameters.weight,
    emit: (sum, _, row) => ({ ...row, sum }),
  })
  .sink("out");
export default p;
`;
  writeFileSync(join(cwd, "p.ts"), text);
}

function give(count: number): void {
  const rows = Array.from({ length: count }, (_, i) => `${JSON.stringify({ i })}\n`);
  writeFileSync(join(cwd, "in.jsonl"), rows.join(""));
}

const FILES = ["--input", "in=in.jsonl", "--output", "out=out.jsonl", "--batch", "20"];

function run(set: readonly string[], pipeline = "p.ts", env: Record<string, string> = {}): Promise<Ended> {
  const settings = set.flatMap((text) => ["--set", text]);
  return headwater(["run", pipeline, ...FILES, ...settings, "--json"], { cwd, env });
}

async function runWell(set: readonly string[], pipeline?: string) {
  const ended = await run(set, pipeline);
  expect(ended.code, ended.stderr).toBe(0);
  const { deployment } = JSON.parse(ended.stdout) as { deployment: string };
  return { deployment, deployed: /^headwater: deployed (.*)$/m.exec(ended.stderr)?.[1] };
}

interface Out {
  readonly i: number;
  readonly by: string;
  readonly sum: number;
}

const out = () =>
  readFileSync(join(cwd, "out.jsonl"), "utf8")
    .trim()
    .split("\n")
    .map((line) => JSON.parse(line) as Out);

/** How many in a row have each mark. */
function runsOf(rows: readonly Out[]): [string, number][] {
  const runs: [string, number][] = [];
  for (const { by } of rows) {
    const last = runs.at(-1);
    if (last?.[0] === by) last[1]++;
    else runs.push([by, 1]);
  }
  return runs;
}

const recorded = async () =>
  (await deployments(join(cwd, ".headwater"), "marked")).map(({ parameters }) => parameters);

const DEFAULTS = { mark: { by: "default", unused: [] }, total: { weight: 1 } };

describe("parameters on the command line", () => {
  it("are kept with the deployment, and make another one by their values alone", async () => {
    define();
    give(3);
    const first = await runWell([]);
    expect(first.deployed).toMatch(/^marked version 1 \([0-9a-f]{12}\)$/);
    const events = await countEvents(join(cwd, ".headwater"));
    // The same values, however they are given, are the same deployment, which has nothing left to do.
    expect(await runWell(["mark.by=default", "total.weight=1.0"])).toEqual({ deployment: first.deployment });
    expect(await runWell(["total.weight=1"])).toEqual({ deployment: first.deployment });
    expect(await countEvents(join(cwd, ".headwater"))).toBe(events);

    const second = await runWell(["total.weight=2", "mark.by=x"]);
    expect(second.deployment).not.toBe(first.deployment);
    expect(second.deployed).toMatch(/version 2 \([0-9a-f]{12}\), mark\.by="x", total\.weight=2$/);
    expect(await runWell(["mark.by=x", "total.weight=2"])).toEqual({ deployment: second.deployment });

    const third = await runWell(["total.weight=2"]);
    expect(third.deployed).toMatch(/version 3 .*, mark\.by="default" \(its default\), total\.weight=2$/);
    expect(await recorded()).toEqual([
      DEFAULTS,
      { ...DEFAULTS, mark: { by: "x", unused: [] }, total: { weight: 2 } },
      { ...DEFAULTS, total: { weight: 2 } },
    ]);
  });

  it("are values of what the schema wants: JSON, or the text itself", async () => {
    define();
    give(1);
    await runWell(["mark.by=5", "mark.unused=[1, 2]"]);
    await runWell(['mark.by="5 = five"']);
    await runWell(["mark.by="]);
    expect((await recorded()).map(({ mark }) => mark)).toEqual([
      { by: "5", unused: [1, 2] },
      { by: "5 = five", unused: [] },
      { by: "", unused: [] },
    ]);
  });

  it("stay what they are when the pipeline is run by its name, and are the module's when it is run by path", async () => {
    define();
    give(2);
    const first = await runWell(["mark.by=x", "total.weight=2"]);
    give(4);
    expect(await runWell([], "marked")).toEqual({ deployment: first.deployment });
    give(6);
    const second = await runWell(["mark.by=y"], "marked");
    expect(second.deployed).toMatch(/version 2 .*, mark\.by="y", total\.weight=2$/);
    give(8);
    await runWell([]);
    expect(out().map(({ by, sum }) => [by, sum])).toEqual([
      ["x", 2],
      ["x", 4],
      ["x", 6],
      ["x", 8],
      ["y", 10],
      ["y", 12],
      ["default", 13],
      ["default", 14],
    ]);
  });

  it.each([
    ["mark.bye=x", 'the stage has no parameter "bye"', "stage mark", "It has: by, unused."],
    ["mark.constructor=x", 'the stage has no parameter "constructor"', "stage mark", "It has: by, unused."],
    ["mark.__proto__=x", 'the stage has no parameter "__proto__"', "stage mark", "It has: by, unused."],
    ["plain.by=x", 'the stage "plain" has no parameters', "pipeline marked", /: mark \(by, unused\), total/],
    ["__proto__.by=x", 'there is no stage "__proto__"', "pipeline marked", /: mark \(by, unused\), total/],
    ["constructor.name=x", 'there is no stage "constructor"', "pipeline marked", /: mark \(by, unused\)/],
    ["in.by=x", 'there is no stage "in"', "pipeline marked", /: mark \(by, unused\), total \(weight\)\./],
    ["total.weight=x", "expected number, received string", "stage total, parameter weight", /which is 1\.$/],
    ["total.weight=1.5", "expected int, received number", "stage total, parameter weight", /which is 1\.$/],
    ["total.weight=9007199254740993", "is beyond 2^53", "stage total, parameter weight", /which is 1\.$/],
    ["mark.unused=[1,null]", "received null at $[1]", "stage mark, parameter unused", /which is \[\]\.$/],
  ])("are refused before anything is done: %s", async (text, message, where, hint) => {
    define();
    give(1);
    const ended = await run([text]);
    expect(ended.code).toBe(2);
    expect(ended.stdout).toBe("");
    const error = jsonError(ended);
    expect(error).toMatchObject({ code: "BadParameter", message: expect.stringContaining(message), where });
    expect(error.hint).toMatch(hint);
    await expect(deployments(join(cwd, ".headwater"), "marked")).rejects.toThrow();
  });

  it("are refused when the stage is defined, if the default does not fit", async () => {
    define();
    const text = readFileSync(join(cwd, "p.ts"), "utf8");
    writeFileSync(join(cwd, "p.ts"), text.replace("z.number().int(), 1", 'z.number().int(), "1"'));
    give(1);
    const ended = await run([]);
    expect(ended.code).toBe(2);
    expect(jsonError(ended)).toMatchObject({
      code: "BadParameter",
      message: expect.stringContaining("expected number, received string"),
      where: "stage total, parameter weight",
    });
  });
});

describe("a pipeline that gets other parameters in the middle of its input", () => {
  /** A run that accepts some of 200 rows, has delivered nothing that counts, and is killed. */
  async function begin() {
    define();
    give(200);
    const set = ["mark.by=old", "total.weight=10"];
    const killed = await run(set, "p.ts", { HEADWATER_FAIL_AT: "flush:before:1" });
    expect(killed.signal).toBe("SIGKILL");
    give(260);
  }

  /** Every row came out once and in order, and the total went on from where the parameters before left it. */
  function expectTwoParts(marks: readonly [string, string]) {
    const rows = out();
    expect(rows.map(({ i }) => i)).toEqual(Array.from({ length: 260 }, (_, i) => i));
    const runs = runsOf(rows);
    expect(runs.map(([by]) => by)).toEqual(marks);
    const old = runs[0]?.[1] ?? 0;
    const expected = rows.map(({ i }) => (i < old ? 10 * (i + 1) : 10 * old + (i + 1 - old)));
    expect(rows.map(({ sum }) => sum)).toEqual(expected);
  }

  it("brings what it had accepted to its end with those it was accepted for, once each", async () => {
    await begin();
    await runWell(["mark.by=new"]);
    expectTwoParts(["old", "new"]);
  });

  it("does so by the deployment's own code, whatever the module declares by then", async () => {
    await begin();
    // There is no parameter of that name any more.
    const text = readFileSync(join(cwd, "p.ts"), "utf8");
    const renamed = text
      .replace("ctx.parameters.by", '"label " + ctx.parameters.label')
      .replace("{ by: p", "{ label: p");
    writeFileSync(join(cwd, "p.ts"), renamed);
    await runWell([]);
    expectTwoParts(["old", "label default"]);
  });
});
