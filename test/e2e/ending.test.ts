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
const UNCAUGHT = "headwater: the pipeline's code has ended this process: nobody caught: ";

/**
 * The writer of the log waits for the process's own thread at some moments: an ending at such a moment was one for
 * ever, with the log locked.
 */
describe("a process that is ended by the pipeline's code", () => {
  it.each([
    ["exit 7", `${EXIT}(7)`],
    ["exit 0", `${EXIT}(0)`],
    ["throw later", `${UNCAUGHT}Error: nobody catches this`],
    ["reject later", `${UNCAUGHT}TypeError: nobody awaits this`],
  ])("ends, and says why, wherever the log is at the time: %s", async (does, says) => {
    for (const at of [5, 90, 170, 333]) {
      rmSync(join(cwd, ".headwater"), { recursive: true, force: true });
      rmSync(join(cwd, "done.jsonl"), { force: true });
      const ended = await run(deeds(at, does));
      expect(ended.stderr).toContain(says);
      // In the middle of writing the log a signal ends it.
      expect([does === "exit 7" ? 7 : 3, null]).toContain(ended.code);
      expect(ended.stderr.split(says), "it is said once").toHaveLength(2);
    }
    // The log is not locked, and threads outlast such code: what was accepted comes to its end.
    expect(await run("deeds.jsonl", "--executor", "threads")).toMatchObject({ code: 0 });
  });

  it.each(["throw later", "reject later", "exit 0"])(
    "says it as JSON, if that is asked for: %s",
    async (does) => {
      const ended = await run(deeds(170, does), "--json");
      const said = ended.stderr.split("\n").find((line) => line.startsWith("{")) ?? "";
      expect(JSON.parse(said)).toEqual({
        error: {
          code: "StageFailed",
          message: expect.stringMatching(
            does === "exit 0" ? /process\.exit\(0\)$/ : /nobody caught: \w*Error: nobody \w+ this\n +at /,
          ),
          hint: expect.stringContaining("--executor threads"),
          where: null,
        },
      });
      expect(ended.stdout).toBe("");
    },
  );

  it("is not said to be one after the run", async () => {
    const ended = await run(deeds(-1, ""));
    expect(ended).toMatchObject({ code: 0, signal: null });
    expect(ended.stderr).not.toContain(EXIT);
    expect(readFileSync(join(cwd, "done.jsonl"), "utf8").trim().split("\n")).toHaveLength(RECORDS);
  });
});
