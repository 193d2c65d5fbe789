import { type ChildProcess, spawn } from "node:child_process";
import { randomUUID } from "node:crypto";
import { once } from "node:events";
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { createInterface } from "node:readline";
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from "vitest";
import { collect, Follower } from "../../../test/contract/event-log/harness.ts";
import { TestClock } from "../../../test/contract/event-log.ts";
import { type Bundle, bundleFixture } from "../../../test/fixtures/bundle.ts";
import { comparePositions, START } from "../../core/position.ts";
import type { EventLog, RecordedEvent } from "../../ports/event-log.ts";
import { openLmdbLog } from "./log.ts";

let bundle: Bundle;
let dir: string;
let children: Child[] = [];

beforeAll(() => {
  bundle = bundleFixture("log-writer");
});
afterAll(() => bundle.remove());
beforeEach(async () => {
  dir = await mkdtemp(join(tmpdir(), "headwater-log-"));
});
afterEach(async () => {
  await Promise.all(children.map((child) => child.kill()));
  children = [];
  await rm(dir, { recursive: true, force: true });
});

function openLog(): Promise<EventLog> {
  return openLmdbLog({ dir, clock: new TestClock(), ids: { uuid: randomUUID } });
}

/** Another process that has the log open; what it writes are the lines of log-writer.ts. */
class Child {
  readonly lines: unknown[] = [];
  readonly #process: ChildProcess;
  readonly #exited: Promise<unknown>;
  #changed: () => void = () => {};

  constructor(...args: readonly string[]) {
    this.#process = spawn(process.execPath, [bundle.path, dir, ...args], {
      stdio: ["ignore", "pipe", "inherit"],
    });
    this.#exited = once(this.#process, "close").then(() => this.#changed());
    const { stdout } = this.#process;
    if (stdout === null) throw new Error("a child without output");
    createInterface(stdout).on("line", (line) => {
      // The last line of a process that was killed may be cut short.
      if (line.endsWith("}") || line.endsWith('"')) this.lines.push(JSON.parse(line));
      this.#changed();
    });
    children.push(this);
  }

  async untilLines(count: number): Promise<void> {
    while (this.lines.length < count) {
      if (this.#process.exitCode !== null) throw new Error(`the child ended with ${this.#process.exitCode}`);
      await new Promise<void>((resolve) => {
        this.#changed = resolve;
      });
    }
  }

  async kill(): Promise<void> {
    if (this.#process.exitCode === null && this.#process.signalCode === null) this.#process.kill("SIGKILL");
    await this.#exited;
  }

  async finish(): Promise<void> {
    await this.#exited;
    expect(this.#process.exitCode).toBe(0);
  }

  /** What it was told to be durable. */
  acknowledged(): readonly { readonly revision: number; readonly id: string }[] {
    return this.lines.filter(isAcknowledgement);
  }
}

function isAcknowledgement(line: unknown): line is { revision: number; id: string } {
  return typeof line === "object" && line !== null && "revision" in line;
}

function identity({ stream, revision, id }: RecordedEvent): string {
  return `${stream}@${revision} ${id}`;
}

describe("several processes on one lmdb log", () => {
  it("write concurrently, and every subscriber sees every event once and in order", async () => {
    const log = await openLog();
    const followers = [0, 1].map(
      () => new Follower((signal) => log.subscribeAll({ everything: true }, START, { signal })),
    );
    const writers = [new Child("append", "w.1", "300", "4"), new Child("append", "w.2", "300", "1")];
    for (let i = 0; i < 300; i++)
      await log.append("w.0", "any", [{ ...newEvent(), data: Buffer.alloc(i * 10) }]);
    await Promise.all(writers.map((writer) => writer.finish()));
    const expected = await collect(log.readAll());
    expect(expected).toHaveLength(900);
    for (const [i, { position }] of expected.entries()) {
      const before = expected[i - 1];
      if (before !== undefined) expect(comparePositions(before.position, position)).toBeLessThan(0);
    }
    for (const follower of followers) {
      await follower.untilEvents(900);
      expect(follower.events.map(identity)).toEqual(expected.map(identity));
      await follower.stop();
    }
    for (const writer of writers) expect(writer.acknowledged()).toHaveLength(300);
    await log.close();
  });

  it("fence each other by exact revisions", async () => {
    const racers = [0, 1, 2].map(() => new Child("race", "contested", "200"));
    await Promise.all(racers.map((racer) => racer.finish()));
    const won = racers.map(({ lines }) => (lines.at(-1) as { won: number }).won);
    const log = await openLog();
    const info = await log.streamInfo("contested");
    expect(info?.lastRevision).toBe(won.reduce((sum, one) => sum + one, 0) - 1);
    await log.close();
  });

  it("keep all that a killed writer was acknowledged, and can write on", { timeout: 120_000 }, async () => {
    const log = await openLog();
    const follower = new Follower((signal) => log.subscribe("killed", 0, { signal }));
    const acknowledged: { readonly revision: number; readonly id: string }[] = [];
    for (let round = 0; round < 20; round++) {
      const child = new Child("append", "killed", "0", String(1 + (round % 4) * 5));
      await child.untilLines(2 + round * 7);
      // While it is being killed, this process needs the lock that the other may hold.
      const [, own] = await Promise.all([child.kill(), log.append("own", "any", [newEvent()])]);
      expect(own.revision).toBe(round);
      acknowledged.push(...child.acknowledged());
    }
    const events = await collect(log.read("killed"));
    for (const { revision, id } of acknowledged) expect(events[revision]?.id).toBe(id);
    expect(acknowledged.length).toBeGreaterThan(20);
    await follower.untilEvents(events.length);
    expect(follower.events.map(identity)).toEqual(events.map(identity));
    await follower.stop();
    await log.close();
    const again = await openLog();
    expect((await collect(again.read("killed"))).map(identity)).toEqual(events.map(identity));
    await again.close();
  });

  it("lose nothing when the only one of them is killed", { timeout: 120_000 }, async () => {
    for (let round = 0; round < 5; round++) {
      const child = new Child("append", "alone", "0", "8");
      await child.untilLines(20 + round * 10);
      await child.kill();
      const log = await openLog();
      const events = await collect(log.read("alone"));
      for (const { revision, id } of child.acknowledged()) expect(events[revision]?.id).toBe(id);
      await log.close();
    }
  });

  it("use space again that a reader held which was killed", async () => {
    let minutes = 0;
    const clock = new TestClock();
    const monotonic = () => performance.now() + minutes * 60_000;
    const log = await openLmdbLog({
      dir,
      clock: { now: () => clock.now(), monotonic, setTimeout: clock.setTimeout.bind(clock) },
      ids: { uuid: randomUUID },
    });
    const megabyte = () => ({ ...newEvent(), data: new Uint8Array(1_000_000) });
    // Ten times a megabyte is let go and another one written.
    const grownBy = async () => {
      const before = (await log.size()).bytes;
      for (let i = 0; i < 10; i++) {
        const { revision } = await log.append("a", "any", [megabyte()]);
        await log.setMetadata("a", { truncateBefore: revision + 1 });
        expect((await log.scavenge()).events).toBe(1);
      }
      return (await log.size()).bytes - before;
    };
    await grownBy();
    const reader = new Child("pin");
    await reader.untilLines(1);
    expect(await grownBy()).toBeGreaterThan(8_000_000);
    await reader.kill();
    minutes += 2;
    await log.append("b", "any", [newEvent()]);
    expect(await grownBy()).toBeLessThan(3_000_000);
    await log.close();
  });
});

function newEvent() {
  return { id: randomUUID(), type: "Tested", data: Buffer.from("own"), metadata: new Uint8Array(0) };
}
