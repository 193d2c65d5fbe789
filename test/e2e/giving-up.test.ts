/** Records that were asked to be put back, and are given up before their partition has taken them. */
import { readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { headwater, jsonError, Workplace } from "./command.ts";
import { clearSound } from "./open-log.ts";

const place = new Workplace();
let cwd: string;

beforeEach(async () => {
  cwd = await place.folder();
});
afterEach(() => clearSound(place));

/** Odd numbers fail at a stage whose policy is `policy`; totals of all that come through. */
function writePipeline(policy: "skip" | "fail", fails = "n % 2 === 1"): void {
  writeFileSync(
    join(cwd, "p.ts"),
    `import { pipeline } from "headwater";
const p = pipeline("p", { partitions: 1 });
p.source("in", { key: () => "all" })
  .map("even", ({ n }) => {
    if (${fails}) throw new Error("odd: " + n);
    return { n };
  }, { onError: "${policy}" })
  .reduce("sums", { init: () => 0, step: (sum, { n }) => sum + n, emit: (sum) => ({ sum }) })
  .sink("out");
export default p;
`,
  );
}

const odd = (n: number) => `steps_p.even.0000@${n}.0/even`;
const run = (...args: readonly string[]) =>
  headwater(["run", "p.ts", "--input", "in=in.jsonl", "--output", "out=out.jsonl", "--json", ...args], {
    cwd,
  });
const quarantine = (...args: readonly string[]) => headwater(["quarantine", ...args, "--json"], { cwd });
const discard = (...records: readonly string[]) =>
  quarantine("discard", "p", ...records, "--reason", "the sender was wrong");

function sums(): number[] {
  const lines = readFileSync(join(cwd, "out.jsonl"), "utf8").trim().split("\n");
  return lines.map((line) => (JSON.parse(line) as { sum: number }).sum);
}

async function states(): Promise<Record<string, string>> {
  const listed = await quarantine("list", "p");
  expect(listed.code, listed.stderr).toBe(0);
  const { records } = JSON.parse(listed.stdout) as { records: { address: string; state: string }[] };
  return Object.fromEntries(records.map(({ address, state }) => [address, state]));
}

async function begin(): Promise<void> {
  writePipeline("skip");
  writeFileSync(join(cwd, "in.jsonl"), [1, 2, 3, 4, 5].map((n) => `${JSON.stringify({ n })}\n`).join(""));
  const ended = await run();
  expect(ended.code, ended.stderr).toBe(0);
  expect(JSON.parse(ended.stdout).records).toMatchObject({ accepted: 5, quarantined: 3 });
}

describe.each(["inline", "threads"])("a record that was asked for (%s)", (executor) => {
  it("is given up where it would stop the pipeline again and again, and the rest is put back", async () => {
    await begin();
    // Of the three only the middle one fails in the version in which a failure stops everything.
    writePipeline("fail", "n === 3");
    const asked = await quarantine("retry", "p.ts", "--all", "--later");
    expect(asked.code, asked.stderr).toBe(0);
    for (let again = 0; again < 2; again++) {
      const stopped = await run("--executor", executor);
      expect(stopped.code).toBe(3);
      expect(jsonError(stopped)).toMatchObject({ code: "StageFailed", message: "odd: 3" });
    }

    const given = await discard(odd(2));
    expect(given.code, given.stderr).toBe(0);
    expect(JSON.parse(given.stdout)).toEqual({ pipeline: "p", discarded: 1 });
    expect((await states())[odd(2)]).toBe("discarded");
    const once = await discard(odd(2));
    expect(once.code).toBe(2);
    expect(jsonError(once).message).toBe("it was discarded: the sender was wrong");

    const ended = await run("--executor", executor);
    expect(ended.code, ended.stderr).toBe(0);
    expect(await states()).toEqual({ [odd(0)]: "retried", [odd(2)]: "discarded", [odd(4)]: "retried" });
    expect(sums()).toEqual([2, 6, 7, 12]);
    // Once it is told so, it stays so: there is nothing left to do.
    const idle = await run("--executor", executor);
    expect(idle.code, idle.stderr).toBe(0);
    expect(sums()).toEqual([2, 6, 7, 12]);

    const shown = await quarantine("show", odd(2));
    expect(JSON.parse(shown.stdout)).toMatchObject({ state: "discarded", reason: "the sender was wrong" });
    const replayed = await headwater(["replay", "p"], { cwd });
    expect(replayed.code, `${replayed.stdout}${replayed.stderr}`).toBe(0);
    const audited = await headwater(["audit"], { cwd });
    expect(audited.code, audited.stdout).toBe(0);
  });

  it("is not given up once it was taken", async () => {
    await begin();
    writePipeline("skip", "n === 5");
    const retried = await quarantine("retry", "p.ts", "--all", "--output", "out=out.jsonl");
    expect(retried.code, retried.stderr).toBe(0);
    for (const record of [odd(0), odd(4)]) {
      const late = await discard(record);
      expect(late.code).toBe(2);
      expect(jsonError(late)).toMatchObject({ code: "NotQuarantined" });
      expect(jsonError(late).message).toMatch(/it was asked to be put back before, as retry_p@\d/);
    }
    expect(sums()).toEqual([2, 6, 7, 10]);
  });
});

describe("a record that was asked for, while it is given up", () => {
  it.each(["steps:before", "steps:after"])("has one end, also where the run dies at %s", async (point) => {
    await begin();
    writePipeline("skip", "false");
    expect((await quarantine("retry", "p.ts", "--all", "--later")).code).toBe(0);
    expect((await discard(odd(0), odd(4))).code).toBe(0);
    for (let times = 1; times <= 3; times++) {
      const args = ["run", "p.ts", "--input", "in=in.jsonl", "--output", "out=out.jsonl"];
      await headwater(args, { cwd, env: { HEADWATER_FAIL_AT: `${point}:${times}` } });
    }
    const ended = await run();
    expect(ended.code, ended.stderr).toBe(0);
    expect(await states()).toEqual({ [odd(0)]: "discarded", [odd(2)]: "retried", [odd(4)]: "discarded" });
    expect(sums()).toEqual([2, 6, 9]);
    expect((await headwater(["audit"], { cwd })).code).toBe(0);
  });
});
