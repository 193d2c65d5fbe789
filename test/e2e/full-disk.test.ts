/** Disks that are full: of the log, and of an output. A small file system is mounted, where that may be done. */
import { spawnSync } from "node:child_process";
import { closeSync, mkdirSync, mkdtempSync, openSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from "vitest";
import { headwater, jsonError, projectFile, Workplace } from "./command.ts";
import { inspectLog } from "./open-log.ts";
import { orderLines } from "./workload.ts";

const mount = (...args: readonly string[]) => spawnSync("mount", args).status === 0;
const trial = mkdtempSync(join(tmpdir(), "headwater-disk-"));
const possible = mount("-t", "tmpfs", "-o", "size=1m", "tmpfs", trial);
if (possible) spawnSync("umount", [trial]);
rmSync(trial, { recursive: true });
const missing = possible ? "" : " [skipped: no file system can be mounted here]";

describe.skipIf(!possible)(`a disk that is full${missing}`, () => {
  const place = new Workplace();
  let cwd: string;
  let disk: string;
  let whole: Buffer;

  const run = (log: string, stock: string) => {
    const outputs = ["--output", `stock=${stock}`, "--output", "spent=spent.jsonl"];
    const pipeline = projectFile("test/e2e/fixtures/busy.ts");
    const args = ["run", pipeline, "--log", `lmdb:${log}`, "--input", "orders=orders.jsonl", ...outputs];
    return headwater([...args, "--json"], { cwd });
  };
  const begin = async () => {
    cwd = await place.folder();
    disk = join(cwd, "disk");
    mkdirSync(disk);
    writeFileSync(join(cwd, "orders.jsonl"), orderLines(3_000, 81));
  };

  beforeAll(async () => {
    await begin();
    expect((await run("log", "stock.jsonl")).code).toBe(0);
    whole = readFileSync(join(cwd, "stock.jsonl"));
  });
  beforeEach(begin);
  afterEach(async () => {
    spawnSync("umount", [disk]);
    await place.clear();
  });
  afterAll(() => place.clear());

  it("under standard output is told, and what found no room is not taken for written", async () => {
    expect(mount("-t", "tmpfs", "-o", "size=40k", "tmpfs", disk)).toBe(true);
    const to = openSync(join(disk, "stock.jsonl"), "w");
    const pipeline = projectFile("test/e2e/fixtures/busy.ts");
    const args = ["run", pipeline, "--input", "orders=orders.jsonl", "--output", "stock=-", "--json"];
    const { status, stderr } = spawnSync(
      process.execPath,
      [projectFile("bin/headwater.js"), ...args, "--log", "lmdb:log"],
      { cwd, stdio: ["ignore", to, "pipe"], encoding: "utf8" },
    );
    closeSync(to);
    expect([status, jsonError({ code: status, signal: null, stdout: "", stderr })], stderr).toMatchObject([
      3,
      { code: "OutputFailed", message: expect.stringContaining("no space left"), where: "standard output" },
    ]);
    const told = readFileSync(join(disk, "stock.jsonl"));
    expect(told.equals(whole.subarray(0, told.length))).toBe(true);
    // All of it is still to be had: nothing was noted as delivered that is not there.
    const rest = await headwater([...args, "--log", "lmdb:log"], { cwd });
    expect(rest.code, rest.stderr).toBe(0);
    const lines = whole.toString().split("\n").length;
    const had = told.subarray(0, told.lastIndexOf("\n")).toString().split("\n").length;
    expect(had + rest.stdout.split("\n").length).toBeGreaterThanOrEqual(lines);
  });

  it.each([
    ["an output", "log", "disk/stock.jsonl", "OutputFailed", 150_000],
    ["the log", "disk/log", "stock.jsonl", "LogFull", 700_000],
  ] as const)("under %s stops the run, and nothing is lost", async (_, log, stock, code, bytes) => {
    expect(mount("-t", "tmpfs", "-o", `size=${bytes}`, "tmpfs", disk)).toBe(true);
    for (let attempt = 0; attempt < 2; attempt++) {
      const full = await run(log, stock);
      expect(full.code, full.stderr).toBe(3);
      expect(jsonError(full), full.stderr).toMatchObject({ code });
      expect(jsonError(full).hint).toMatch(/space|room/);
    }
    expect(mount("-o", "remount,size=200m", disk)).toBe(true);
    const ended = await run(log, stock);
    expect(ended.code, ended.stderr).toBe(0);
    expect(readFileSync(join(cwd, stock)).equals(whole)).toBe(true);
    await inspectLog(join(cwd, log), "busy");
  });
});
