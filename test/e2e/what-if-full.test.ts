/** Taking what was recorded gives what `--full` gives, to the byte, wherever in the log it then is. */
import { readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { afterEach, beforeEach, expect, it } from "vitest";
import { headwater, Workplace } from "./command.ts";
import { clearSound } from "./open-log.ts";

const place = new Workplace();
let cwd: string;

beforeEach(async () => {
  cwd = await place.folder();
});
afterEach(() => clearSound(place));

const COUNT = 90;

/** Each number is doubled, and is then made several of; `parts` says how many. */
function define(file: string, parts: string): void {
  const text = `import { pipeline } from "headwater";
const p = pipeline("numbers", { partitions: 2 });
const doubled = p.source("in", { key: (row) => (row as { n: number }).n % 4 })
  .map("double", (row) => ({ n: 2 * (row as { n: number }).n }), { capture: "all" });
doubled.sink("doubled");
const parts = doubled.flatMap("parts", ({ n }) => ${parts});
parts.sink("parts");
parts.keyBy("by", ({ n }) => n % 5).reduce("total", { init: () => 0, step: (sum, { at }) => sum + at, emit: (sum, key) => ({ key, sum }) }).sink("totals");
export default p;
`;
  writeFileSync(join(cwd, file), text);
}

it("the report and all differences, also of what is added, refused, and behind a segment that was cut", async () => {
  define("p.ts", "Array.from({ length: n % 3 }, (_, at) => ({ n, at }))");
  const rows = Array.from({ length: COUNT }, (_, n) => `${JSON.stringify({ n })}\n`);
  writeFileSync(join(cwd, "in.jsonl"), rows.join(""));
  const ran = await headwater(["run", "p.ts", "--input", "in=in.jsonl", "--batch", "7"], { cwd });
  expect(ran.code, ran.stderr).toBe(0);
  // 6, 26, … are refused; others become more, or fewer, or stay as they were.
  const other =
    "n % 20 === 6 ? [new Date() as never] : Array.from({ length: (n + 2) % 4 }, (_, at) => ({ n, at: at + (n === 8 ? 1 : 0) }))";
  define("q.ts", other);
  const whatIf = async (id: string, ...more: readonly string[]) => {
    const args = ["replay", "numbers", "--what-if", "q.ts", "--id", id, "--diff", `${id}.jsonl`, ...more];
    const ended = await headwater([...args, "--json"], { cwd });
    expect(ended.code, ended.stderr).toBe(0);
    const text = (all: string) => all.replaceAll(`~${id}/`, "~ID/");
    const { seconds: _, id: __, reexecuted, reused, ...report } = JSON.parse(text(ended.stdout));
    return { reexecuted, reused, report, lines: text(readFileSync(join(cwd, `${id}.jsonl`), "utf8")) };
  };
  const part = await whatIf("part");
  const full = await whatIf("whole", "--full");
  expect(part.reused).toBeGreaterThan(0);
  expect(part.reexecuted).toBeLessThan(full.reexecuted);
  expect(full.reused).toBe(0);
  expect(part.report).toEqual(full.report);
  expect(part.lines).toBe(full.lines);
  for (const kind of ["changed", "added", "gone"]) expect(part.report.diff[kind]).toBeGreaterThan(0);
  expect(part.report.newlyRefused).toMatchObject([
    { stage: "parts", records: 9, first: { address: "source_numbers.in@3" } },
  ]);

  // What was added is found by its name, though it is elsewhere.
  for (const id of ["part", "whole"]) {
    const added = readFileSync(join(cwd, `${id}.jsonl`), "utf8")
      .trim()
      .split("\n")
      .map((line) => JSON.parse(line))
      .filter(({ kind }) => kind === "added");
    for (const sink of ["parts", "totals"]) {
      const one = added.findLast((each) => each.sink === sink);
      const lineage = await headwater(["lineage", one.from, "--json"], { cwd });
      expect(lineage.code, lineage.stderr).toBe(0);
      const found = JSON.parse(lineage.stdout);
      expect(found.value).toEqual(one.after);
      expect(found.record).toContain(`steps_numbers~${id}.`);
    }
  }
});
