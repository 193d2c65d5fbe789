/** Several processes that follow one input on one log, killed and stopped one after the other. */
import { appendFileSync, existsSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { afterEach, beforeAll, beforeEach, describe, expect, it } from "vitest";
import { lockHolder } from "../../src/adapters/lmdb/lock-holder.ts";
import { type Command, projectFile, Workplace } from "./command.ts";
import { until } from "./kill-history.ts";
import { logsUnderTest } from "./logs-under-test.ts";
import { inspectLog } from "./open-log.ts";
import { orderLines } from "./workload.ts";

const WAITS = "waiting to take over";
const GOES_ON = "were taken in before; going on after them";
const MINUTES = 60_000;

const LINES = orderLines(4_000, 51)
  .trimEnd()
  .split("\n")
  .map((line) => `${line}\n`);
const PART = 700;

const place = new Workplace();
const beside = new Workplace();
let expected: { readonly stock: string; readonly rows: readonly string[] };
let cwd: string;
let written: number;

function args(log: string, ...more: readonly string[]): string[] {
  const pipeline = projectFile("test/e2e/fixtures/busy.ts");
  const outputs = ["--output", "stock=stock.jsonl", "--output", "spent=spent.jsonl"];
  return [
    "run",
    pipeline,
    "--log",
    log,
    "--input",
    "orders=orders.jsonl",
    ...outputs,
    "--batch",
    "16",
    ...more,
  ];
}

beforeAll(async () => {
  const folder = await beside.folder();
  writeFileSync(join(folder, "orders.jsonl"), LINES.join(""));
  const log = `lmdb:${join(folder, ".headwater")}`;
  const { code, stderr } = await beside.start(args(log), { cwd: folder }).ended;
  expect(code, stderr).toBe(0);
  const { rows } = await inspectLog(log.replace(/^lmdb:/, ""), "busy");
  expected = { stock: readFileSync(join(folder, "stock.jsonl"), "utf8"), rows };
  await beside.clear();
});
beforeEach(async () => {
  cwd = await place.folder();
  written = 0;
  addLines(PART);
});
afterEach(() => place.clear());

function addLines(count: number): void {
  appendFileSync(join(cwd, "orders.jsonl"), LINES.slice(written, written + count).join(""));
  written += count;
}

const output = () =>
  existsSync(join(cwd, "stock.jsonl")) ? readFileSync(join(cwd, "stock.jsonl"), "utf8") : "";

/** Resolves when what was written to the input has begun to come out. */
async function untilMore(before: number, ...commands: readonly Command[]): Promise<void> {
  await until(() => output().length > before || commands.every((command) => command.exited));
  for (const command of commands) expect(command.exited, command.said).toBe(false);
}

function follow(log: string): Command {
  return place.start(args(log, "--follow"), { cwd });
}

/** The one of `commands` that says `text` first, and the others. */
async function firstToSay(
  text: string,
  commands: readonly Command[],
): Promise<readonly [Command, Command[]]> {
  const at = await Promise.race(commands.map((command, index) => command.says(text).then(() => index)));
  return [commands[at] as Command, commands.filter((_, index) => index !== at)];
}

/** Gives the rest of the input, and checks that all that comes out is what an undisturbed run makes. */
async function mustComeToTheEnd(log: string, commands: readonly Command[]): Promise<void> {
  addLines(LINES.length - written);
  await until(() => output().length >= expected.stock.length || commands.every((command) => command.exited));
  for (const command of commands) command.kill("SIGINT");
  for (const command of commands) {
    const { code, stderr } = await command.ended;
    expect([0, 130], stderr).toContain(code);
  }
  expect(output() === expected.stock).toBe(true);
  // For those that followed it the input never ended.
  const last = await place.start(args(log), { cwd }).ended;
  expect(last.code, last.stderr).toBe(0);
  expect(output() === expected.stock).toBe(true);
  expect((await inspectLog(log.replace(/^lmdb:/, ""), "busy")).rows).toEqual(expected.rows);
}

describe.each(logsUnderTest)("processes that follow an input, on $name", ({ name, spec }) => {
  /** Stops a process where that keeps no one else from going on: LMDB's lock is not to be held. */
  async function freezeWithoutLock(command: Command): Promise<void> {
    for (;;) {
      await command.freeze();
      if (name !== "lmdb" || lockHolder(join(cwd, ".headwater"), false)?.pid !== command.pid) return;
      command.kill("SIGCONT");
    }
  }

  it(
    "take over from each other when the one at work is killed, or stalls, and stand by again",
    async () => {
      const log = spec(cwd);
      const first = follow(log);
      await untilMore(0, first);
      const others = [follow(log), follow(log)];
      await Promise.all(others.map((other) => other.says(WAITS)));

      // What the first takes after the others opened the input is not to be taken again.
      let before = output().length;
      addLines(PART);
      await untilMore(before, first);
      first.kill("SIGKILL");
      const [second, [third]] = await firstToSay(GOES_ON, others);
      if (third === undefined) throw new Error("there were two");
      before = output().length;
      addLines(PART);
      await untilMore(before, second);

      await freezeWithoutLock(second);
      // It looks alive: only its silence tells.
      await third.says(GOES_ON);
      before = output().length;
      addLines(PART);
      await untilMore(before, third);
      second.kill("SIGCONT");
      await second.says("another process has taken over");
      await until(() => second.said.split(WAITS).length >= 3 || second.exited);

      third.kill("SIGKILL");
      await until(() => second.said.split(GOES_ON).length >= 3 || second.exited);
      await mustComeToTheEnd(log, [second]);
    },
    3 * MINUTES,
  );
});

describe("processes that follow an input, while one of them is stopped that holds LMDB's lock", () => {
  const spec = () => `lmdb:${join(cwd, ".headwater")}`;

  /** Stops it again and again until it stands still in the middle of a commit. */
  async function freezeWithLock(command: Command): Promise<void> {
    for (;;) {
      await command.freeze();
      if (lockHolder(join(cwd, ".headwater"), false)?.pid === command.pid) return;
      command.kill("SIGCONT");
      if (output().length > 0 && written < 5 * PART) addLines(10);
    }
  }

  async function stuck(): Promise<readonly [Command, Command, Command]> {
    const log = spec();
    const first = follow(log);
    await untilMore(0, first);
    const second = follow(log);
    await second.says(WAITS);
    await freezeWithLock(first);
    // One of them has the log open and wants to claim, the other one wants to open it.
    const third = follow(log);
    const message = `the log waits for process ${first.pid}, which was stopped while it held the lock`;
    await Promise.all([second.says(message), third.says(message)]);
    expect(third.said).toContain(`kill -CONT ${first.pid}`);
    return [first, second, third];
  }

  it.each(["SIGCONT", "SIGKILL"] as const)(
    "say so, and go on after %s",
    async (signal) => {
      const [first, second, third] = await stuck();
      first.kill(signal);
      await Promise.all([second.says("the log goes on"), third.says("the log goes on")]);
      await mustComeToTheEnd(spec(), signal === "SIGKILL" ? [second, third] : [first, second, third]);
    },
    3 * MINUTES,
  );

  it(
    "end at the second Ctrl-C",
    async () => {
      const [first, second] = await stuck();
      second.kill("SIGINT");
      await second.says("Ctrl-C again stops at once");
      second.kill("SIGINT");
      expect((await second.ended).signal).toBe("SIGINT");
      first.kill("SIGKILL");
    },
    3 * MINUTES,
  );
});
