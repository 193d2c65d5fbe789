import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { Command, type Ended, projectFile } from "./command.ts";

const PIPELINE = projectFile("test/e2e/fixtures/ending.ts");
const RECORDS = 400;
/** Far more than an ending takes: one that hangs is ended. */
const HANGS_AFTER_MS = 20_000;

let cwd: string;
beforeEach(() => {
  cwd = mkdtempSync(join(tmpdir(), "headwater-e2e-"));
});
afterEach(() => rmSync(cwd, { recursive: true, force: true }));

async function run(input: string, ...more: readonly string[]): Promise<Ended> {
  const files = ["--input", `deeds=${input}`, "--output", "done=done.jsonl"];
  const command = new Command(["run", PIPELINE, ...files, ...more], { cwd });
  const timer = setTimeout(() => command.kill("SIGKILL"), HANGS_AFTER_MS);
  const begun = Date.now();
  const ended = await command.ended;
  clearTimeout(timer);
  if (Date.now() - begun >= HANGS_AFTER_MS) throw new Error(`the command hung:\n${ended.stderr}`);
  return ended;
}

/** A file in which record `at` does something. */
function deeds(at: number, does: string): string {
  const lines = Array.from({ length: RECORDS }, (_, n) => JSON.stringify({ n, ...(n === at && { does }) }));
  writeFileSync(join(cwd, "deeds.jsonl"), `${lines.join("\n")}\n`);
  return "deeds.jsonl";
}

const EXIT = "the pipeline's code has ended this process: process.exit";

/**
 * The writer of the log waits for the process's own thread at some moments: an ending at such a moment was one for
 * ever, with the log locked.
 */
describe("a process that is ended by the pipeline's code", () => {
  it.each([
    ["exit 7", `${EXIT}(7)`],
    ["exit 0", `${EXIT}(0)`],
    ["throw later", "nobody catches this"],
  ])("ends, and says why, wherever the log is at the time: %s", async (does, says) => {
    for (const at of [5, 90, 170, 333]) {
      rmSync(join(cwd, ".headwater"), { recursive: true, force: true });
      rmSync(join(cwd, "done.jsonl"), { force: true });
      const ended = await run(deeds(at, does));
      expect(ended.stderr).toContain(says);
      expect(ended.code).not.toBe(0);
    }
    // The log is not locked, and threads outlast such code: what was accepted comes to its end.
    expect(await run("deeds.jsonl", "--executor", "threads")).toMatchObject({ code: 0 });
  });

  it("is not said to be one after the run", async () => {
    const ended = await run(deeds(-1, ""));
    expect(ended).toMatchObject({ code: 0, signal: null });
    expect(ended.stderr).not.toContain(EXIT);
    expect(readFileSync(join(cwd, "done.jsonl"), "utf8").trim().split("\n")).toHaveLength(RECORDS);
  });
});
