import { randomUUID } from "node:crypto";
import { MessageChannel } from "node:worker_threads";
import { afterEach, describe, expect, it, vi } from "vitest";
import { collect, event, readTexts, textOf } from "../../../test/contract/event-log/harness.ts";
import { describeEventLog, TestClock } from "../../../test/contract/event-log.ts";
import type { EventLog } from "../../ports/event-log.ts";
import { MemoryLog } from "../memory/log.ts";
import { LogServer } from "./log-server.ts";
import { PortLog } from "./port-log.ts";

/** Both sides in one thread: what goes over a port does not depend on where its ends are. */
describeEventLog("a log over a message port", async () => {
  const clock = new TestClock();
  const keeper = MemoryLog.create({ id: randomUUID(), clock });
  const handles: { readonly log: EventLog; readonly server: LogServer }[] = [];
  const open = async () => {
    const { port1, port2 } = new MessageChannel();
    const server = new LogServer(keeper.openHandle(), port1);
    const log = new PortLog(keeper.id, port2);
    handles.push({ log, server });
    return log;
  };
  const close = async () => {
    for (const { log, server } of handles.splice(0)) {
      await log.close();
      server.close();
    }
  };
  return {
    log: await open(),
    openHandle: open,
    reopen: async () => {
      await close();
      return open();
    },
    advance: async (ms) => clock.advance(ms),
    dispose: close,
  };
});

describe("events that others refer to", () => {
  afterEach(() => vi.restoreAllMocks());

  it("go over the port once for all who want them, and are not asked for again", async () => {
    const keeper = MemoryLog.create({ id: randomUUID(), clock: new TestClock() });
    const read = vi.spyOn(keeper, "read");
    const { port1, port2 } = new MessageChannel();
    const server = new LogServer(keeper, port1);
    const log = new PortLog(keeper.id, port2);
    await log.append("payload_s", "any", [event("a"), event("b"), event("c"), event("d")]);
    const range = () => collect(log.read("payload_s", { from: 1, limit: 2, referred: true }));
    const [one, other] = await Promise.all([range(), range()]);
    expect(one.map(textOf)).toEqual(["b", "c"]);
    expect(other).toEqual(one);
    expect(await range()).toEqual(one);
    expect(read).toHaveBeenCalledTimes(1);
    // Whoever does not say so is told what the log holds now.
    expect(await readTexts(log.read("payload_s", { from: 1, limit: 2 }))).toEqual(["b", "c"]);
    expect(read).toHaveBeenCalledTimes(2);
    await log.close();
    server.close();
  });
});
