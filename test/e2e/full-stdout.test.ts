import { spawnSync } from "node:child_process";
import { closeSync, openSync, readFileSync, writeFileSync } from "node:fs";
import { join, resolve } from "node:path";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { headwater, jsonError, projectFile, Workplace } from "./command.ts";

/** Standard output that takes no more, or not all: told as it is of a file. */

const place = new Workplace();
let cwd: string;

beforeAll(async () => {
  cwd = await place.folder();
  for (const times of [1, 2]) {
    const text = `import { pipeline } from "headwater";
const p = pipeline("numbers");
p.source("in").map("times", (row) => ({ n: ${times} * (row as { n: number }).n })).sink("out");
export default p;
`;
    writeFileSync(join(cwd, `p${times}.ts`), text);
  }
  const rows = Array.from({ length: 500 }, (_, n) => `${JSON.stringify({ n: n + 1 })}\n`);
  writeFileSync(join(cwd, "in.jsonl"), rows.join(""));
  const ran = await headwater(["run", "p1.ts", "--input", "in=in.jsonl", "--quiet"], { cwd });
  expect(ran.code, ran.stderr).toBe(0);
});
afterAll(() => place.clear());

const COMMAND = projectFile("bin/headwater.js");

/** Runs the command with its standard output in a file that may be so many KiB long, or is full from the beginning. */
function printed(file: string, kib: number | undefined, ...args: readonly string[]) {
  const to = openSync(resolve(cwd, file), "w");
  try {
    const limit = kib === undefined ? "" : `ulimit -f ${kib}; `;
    const { status, stderr } = spawnSync(
      "bash",
      ["-c", `${limit}exec "$@"`, "bash", process.execPath, COMMAND, ...args],
      { cwd, stdio: ["ignore", to, "pipe"], encoding: "utf8", env: { ...process.env, NO_COLOR: "1" } },
    );
    return { code: status, signal: null, stdout: "", stderr };
  } finally {
    closeSync(to);
  }
}

describe("a full standard output", () => {
  it.each([
    [["replay", "numbers"]],
    [["replay", "numbers", "--what-if", "p2.ts"]],
    [["replay", "numbers", "--what-if", "p2.ts", "--diff", "-"]],
    [["replay", "list"]],
    [["log", "export"]],
    [["log", "streams"]],
    [["audit"]],
    [["state", "--help"]],
  ])("is said to be one: %j", (given) => {
    const ended = printed("/dev/full", undefined, ...given, "--json");
    expect([ended.code, jsonError(ended)], ended.stderr).toMatchObject([
      3,
      {
        code: "OutputFailed",
        message: expect.stringMatching(/^cannot write.*: no space left$/),
        where: "standard output",
        hint: expect.stringContaining("Free some space"),
      },
    ]);
  });

  it("is told where only a part of a text found room", async () => {
    const whole = await headwater(["log", "export"], { cwd });
    const kib = Math.floor(whole.stdout.length / 1024) - 1;
    const ended = printed("export.jsonl", kib, "log", "export", "--json");
    expect([ended.code, jsonError(ended)], ended.stderr).toMatchObject([
      3,
      { code: "OutputFailed", where: "standard output", hint: expect.stringContaining("ulimit -f") },
    ]);
    const cut = readFileSync(join(cwd, "export.jsonl"), "utf8");
    expect(cut).toBe(whole.stdout.slice(0, kib * 1024));
    // What has room for all of it is as long.
    expect(printed("export.jsonl", kib + 2, "log", "export").code).toBe(0);
    expect(readFileSync(join(cwd, "export.jsonl"), "utf8")).toBe(whole.stdout);
  });

  it("is told while checkpoints are signed again and again", async () => {
    expect((await headwater(["keygen", "k"], { cwd })).code).toBe(0);
    const script = `"$@" >/dev/full & sleep 2; kill -INT $!; wait $!`;
    const args = [
      "-c",
      script,
      "bash",
      process.execPath,
      COMMAND,
      "checkpoint",
      "--key",
      "k.key",
      "--every",
      "100ms",
    ];
    const { stderr } = spawnSync("bash", args, { cwd, encoding: "utf8" });
    expect(stderr).toContain(
      "the checkpoint was signed, and not printed: cannot write: no space left: standard output",
    );
  });
});
