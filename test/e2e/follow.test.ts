/** Several processes that follow one input on one LMDB log, killed and stopped one after the other. */
import { describe, expect, it } from "vitest";
import type { Command } from "./command.ts";
import { Following, followTests, MINUTES, WAITS } from "./following.ts";
import { until } from "./kill-history.ts";

followTests("lmdb", (following) => following.embeddedLog);

describe("processes that follow an input, while one of them is stopped that holds LMDB's lock", () => {
  const following = new Following();

  /** The one that is stopped; one that had the log open and wants to claim; one that wants to open it. */
  async function stuck(): Promise<readonly [Command, Command, Command]> {
    const log = following.embeddedLog;
    const first = following.start(log);
    await until(() => following.output() !== "" || first.exited);
    const second = following.start(log);
    await second.says(WAITS);
    await following.freezeWithLock(first);
    const third = following.start(log);
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
      const left = signal === "SIGKILL" ? [second, third] : [first, second, third];
      await following.mustComeToTheEnd(following.embeddedLog, left);
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
