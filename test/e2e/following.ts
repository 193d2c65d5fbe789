import { appendFileSync, existsSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { afterEach, beforeAll, beforeEach, describe, expect, it } from "vitest";
import { type Command, projectFile, Workplace } from "./command.ts";
import { freezeWithLock, freezeWithoutLock } from "./freeze.ts";
import { until } from "./kill-history.ts";
import { inspectLog } from "./open-log.ts";
import { orderLines } from "./workload.ts";

/** What a process says that stands by, and one that goes on with an input. */
export const WAITS = "waiting to take over";
export const GOES_ON = "were taken in before; going on after them";
export const MINUTES = 60_000;

/** Lines that are added to the input at a time. */
const PART = 700;
const LINES = orderLines(4_000, 51)
  .trimEnd()
  .split("\n")
  .map((line) => `${line}\n`);

/** A folder with an input that grows, and processes that follow it; registers what makes one for each test. */
export class Following {
  readonly #place = new Workplace();
  #expected: { readonly stock: string; readonly rows: readonly string[] } = { stock: "", rows: [] };
  #folder = "";
  #written = 0;

  constructor() {
    beforeAll(async () => {
      const folder = await this.#place.folder();
      writeFileSync(join(folder, "orders.jsonl"), LINES.join(""));
      const { code, stderr } = await this.#place.start(args("lmdb:.headwater"), { cwd: folder }).ended;
      expect(code, stderr).toBe(0);
      const { rows } = await inspectLog(join(folder, ".headwater"), "busy");
      this.#expected = { stock: readFileSync(join(folder, "stock.jsonl"), "utf8"), rows };
      await this.#place.clear();
    });
    beforeEach(async () => {
      this.#folder = await this.#place.folder();
      this.#written = 0;
      this.addPart();
    });
    afterEach(() => this.#place.clear());
  }

  /** A log that no other test uses. */
  get embeddedLog(): string {
    return `lmdb:${this.#embedded}`;
  }

  get #embedded(): string {
    return join(this.#folder, ".headwater");
  }

  start(log: string): Command {
    return this.#place.start(args(log, "--follow"), { cwd: this.#folder });
  }

  addPart(): void {
    this.#add(PART);
  }

  /** What has come out at one sink. */
  output(): string {
    const path = join(this.#folder, "stock.jsonl");
    return existsSync(path) ? readFileSync(path, "utf8") : "";
  }

  /** Adds to the input, and resolves when more than there was has come out; all of `commands` are still at work. */
  async bringMore(...commands: readonly Command[]): Promise<void> {
    const before = this.output().length;
    this.addPart();
    await until(() => this.output().length > before || commands.some((command) => command.exited));
    for (const command of commands) expect(command.exited, command.said).toBe(false);
  }

  /** Stops a process where that keeps no other one from going on. */
  freezeWithoutLock(command: Command): Promise<void> {
    return freezeWithoutLock(command, this.#embedded);
  }

  /** Stops a process in the middle of a commit to the embedded log. */
  freezeWithLock(command: Command): Promise<void> {
    return freezeWithLock(command, this.#embedded, () => {
      // Never all there is.
      if (this.#written < LINES.length - PART) this.#add(10);
    });
  }

  /** Gives the rest of the input, and checks that all that comes out is what an undisturbed run makes. */
  async mustComeToTheEnd(log: string, commands: readonly Command[]): Promise<void> {
    const { stock, rows } = this.#expected;
    this.#add(LINES.length - this.#written);
    await until(() => this.output().length >= stock.length || commands.every((command) => command.exited));
    for (const command of commands) command.kill("SIGINT");
    for (const command of commands) {
      const { code, stderr } = await command.ended;
      // One that stands by has nothing to finish.
      expect([0, 130], stderr).toContain(code);
    }
    expect(this.output() === stock).toBe(true);
    // For those that followed it the input never ended.
    const last = await this.#place.start(args(log), { cwd: this.#folder }).ended;
    expect(last.code, last.stderr).toBe(0);
    expect(this.output() === stock).toBe(true);
    expect((await inspectLog(log.replace(/^lmdb:/, ""), "busy")).rows).toEqual(rows);
  }

  #add(count: number): void {
    const lines = LINES.slice(this.#written, this.#written + count);
    appendFileSync(join(this.#folder, "orders.jsonl"), lines.join(""));
    this.#written += lines.length;
  }
}

function args(log: string, ...more: readonly string[]): string[] {
  const pipeline = projectFile("test/e2e/fixtures/busy.ts");
  const files = [
    "--input",
    "orders=orders.jsonl",
    "--output",
    "stock=stock.jsonl",
    "--output",
    "spent=spent.jsonl",
  ];
  return ["run", pipeline, "--log", log, ...files, "--batch", "16", ...more];
}

/** Registers the tests that several processes which follow one input on one log take over from each other. */
export function followTests(name: string, newLog: (following: Following) => string): void {
  describe(`processes that follow an input, on ${name}`, () => {
    const following = new Following();

    it(
      "take over from each other when the one at work is killed, or stalls, and stand by again",
      async () => {
        const log = newLog(following);
        const first = following.start(log);
        await until(() => following.output() !== "" || first.exited);
        const others = [following.start(log), following.start(log)];
        await Promise.all(others.map((other) => other.says(WAITS)));

        // What the first takes after the others opened the input is not to be taken again.
        await following.bringMore(first);
        first.kill("SIGKILL");
        const at = await Promise.race(others.map((other, index) => other.says(GOES_ON).then(() => index)));
        const [second, third] = (at === 0 ? others : others.toReversed()) as [Command, Command];
        await following.bringMore(second, third);

        await following.freezeWithoutLock(second);
        // It looks alive: only its silence tells.
        await third.says(GOES_ON);
        await following.bringMore(third);
        second.kill("SIGCONT");
        await second.says("another process has taken over");
        await until(() => second.said.split(WAITS).length >= 3 || second.exited);

        third.kill("SIGKILL");
        await until(() => second.said.split(GOES_ON).length >= 3 || second.exited);
        await following.mustComeToTheEnd(log, [second]);
      },
      3 * MINUTES,
    );
  });
}
