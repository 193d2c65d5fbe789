import { appendFileSync, existsSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { afterEach, beforeEach, expect, it } from "vitest";
import { type Ended, headwater, projectFile, Workplace } from "./command.ts";
import { clearSound } from "./open-log.ts";

const MINUTES = 60_000;

const place = new Workplace();
let cwd: string;

beforeEach(async () => {
  cwd = await place.folder();
});
afterEach(() => clearSound(place));

function lines(count: number, from: number, step: number): string {
  return Array.from(
    { length: count },
    (_, index) => `${JSON.stringify({ key: "k", time: from + index * step })}\n`,
  ).join("");
}

function run(version: "lonely" | "lonely-again", env: Record<string, string> = {}): Promise<Ended> {
  const sinks = version === "lonely" ? ["alone"] : ["alone", "again", "late"];
  const args = [
    ...["run", projectFile(`test/e2e/fixtures/${version}.ts`), "--quiet", "--batch", "50"],
    ...["--input", "left=left.jsonl", "--input", "right=right.jsonl"],
    ...sinks.flatMap((sink) => ["--output", `${sink}=${sink}.jsonl`]),
  ];
  return headwater(args, { cwd, env });
}

const output = (sink: string) => readFileSync(join(cwd, `${sink}.jsonl`), "utf8");

it(
  "a join that a new version brings finds its watermark again after a crash",
  async () => {
    // The left source ends first: the watermark of both goes on with the right one alone, far beyond.
    writeFileSync(join(cwd, "left.jsonl"), lines(5, 0, MINUTES));
    writeFileSync(join(cwd, "right.jsonl"), lines(8_000, 0, 10_000));
    const first = await run("lonely");
    expect(first.code, first.stderr).toBe(0);
    // The new join begins here, where both sources have ended, and knows nothing of how they came there.
    const later = lines(600, 10 * MINUTES, 1_000);
    appendFileSync(join(cwd, "left.jsonl"), later);
    let kills = 0;
    for (const times of [8, 6]) {
      const { signal } = await run("lonely-again", { HEADWATER_FAIL_AT: `steps:after:${times}` });
      if (signal === "SIGKILL") kills++;
    }
    expect(kills).toBe(2);
    const last = await run("lonely-again");
    expect(last.code, last.stderr).toBe(0);
    expect(existsSync(join(cwd, "late.jsonl")) ? output("late") : "").toBe("");
    expect(output("again")).toBe(later);
  },
  4 * MINUTES,
);
