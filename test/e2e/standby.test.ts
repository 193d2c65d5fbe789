import { writeFileSync } from "node:fs";
import { join } from "node:path";
import { afterEach, beforeEach, expect, it } from "vitest";
import { type Command, type Ended, Workplace } from "./command.ts";
import { freezeWithoutLock } from "./freeze.ts";
import { History, type Subject } from "./kill-history.ts";
import type { LogContent } from "./log-content.ts";
import { inspectLog } from "./open-log.ts";
import { orderLines } from "./workload.ts";

const place = new Workplace();
let subject: Subject;
let reference: { readonly content: LogContent; readonly stock: Buffer };
let history: History;

beforeEach(async () => {
  const inputs = await place.folder();
  writeFileSync(join(inputs, "orders.jsonl"), orderLines(2_000, 31));
  subject = {
    pipeline: "busy",
    inputs: { orders: join(inputs, "orders.jsonl") },
    outputs: ["stock", "spent"],
    batch: 16,
  };
  const undisturbed = await History.begin(place, subject, 1);
  expect((await undisturbed.run()).code).toBe(0);
  reference = { content: await inspectLog(undisturbed.log, "busy"), stock: undisturbed.output("stock") };
  history = await History.begin(place, subject, 2);
});
afterEach(() => place.clear());

const WAITS = "waiting to take over";
const GOES_ON = "were taken in before; going on after them";

/** Starts a run, and stops its process, without ending it, when it has added `events` events. */
async function frozenAfter(events: number): Promise<Command> {
  const command = start();
  await history.untilEvents(events, command);
  await freezeWithoutLock(command, history.log);
  return command;
}

function start(): Command {
  return place.start(history.args, { cwd: history.folder });
}

async function mustHaveEnded(ended: Ended): Promise<void> {
  expect(ended.code, ended.stderr).toBe(0);
  const content = await inspectLog(history.log, "busy");
  expect(content.rows).toEqual(reference.content.rows);
  expect(history.output("stock").equals(reference.stock)).toBe(true);
}

it("one that stands by takes over when the one at work is killed, and the next one when that is killed", async () => {
  const first = await frozenAfter(400);
  const others = [start(), start()];
  await Promise.all(others.map((other) => other.says(WAITS)));
  first.kill("SIGKILL");
  expect((await first.ended).signal).toBe("SIGKILL");

  const at = await Promise.race(others.map((other, index) => other.says(GOES_ON).then(() => index)));
  const [second, third] = at === 0 ? others : others.toReversed();
  expect(third?.exited).toBe(false);
  second?.kill("SIGKILL");
  expect((await second?.ended)?.signal).toBe("SIGKILL");
  const ended = await (third as Command).ended;
  expect(ended.stderr).toContain(GOES_ON);
  await mustHaveEnded(ended);
});

it("one that was silent for too long is fenced off, and spoils nothing when it wakes up", async () => {
  const first = await frozenAfter(400);
  const second = start();
  await second.says(WAITS);
  // It cannot be seen that the first one is stuck, only that it says nothing any more.
  await second.says(GOES_ON);
  first.kill("SIGCONT");
  const stale = await first.ended;
  expect(stale.code, stale.stderr).toBe(3);
  expect(stale.stderr).toMatch(/"code":"OwnershipLost"/);
  await mustHaveEnded(await second.ended);
});

it("one that wakes up when everything is done spoils nothing either", async () => {
  const first = await frozenAfter(700);
  const second = start();
  await mustHaveEnded(await second.ended);
  first.kill("SIGCONT");
  expect((await first.ended).code).toBe(3);
  await mustHaveEnded(await start().ended);
});
