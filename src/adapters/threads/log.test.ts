import { randomUUID } from "node:crypto";
import { MessageChannel } from "node:worker_threads";
import { afterEach, describe, expect, it, vi } from "vitest";
import { collect, event, readTexts, textOf } from "../../../test/contract/event-log/harness.ts";
import { describeEventLog, TestClock } from "../../../test/contract/event-log.ts";
import type { EventLog, RecordedEvent } from "../../ports/event-log.ts";
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

  it("come along with those that refer to them, for who wants it", async () => {
    const keeper = MemoryLog.create({ id: randomUUID(), clock: new TestClock() });
    const read = vi.spyOn(keeper, "read");
    const { port1, port2 } = new MessageChannel();
    const referredBy = ({ stream, revision }: RecordedEvent) =>
      stream === "s" ? [{ stream: "payload_s", from: 2 * revision, count: 2 }] : [];
    const server = new LogServer(keeper, port1, { referredBy });
    const log = new PortLog(keeper.id, port2);
    await log.append("payload_s", "any", [event("a"), event("b"), event("c"), event("d")]);
    await log.append("s", "any", [event("one"), event("two")]);
    const stop = new AbortController();
    const first = async (along: boolean) => {
      for await (const message of log.subscribe("s", 0, { along, signal: stop.signal })) {
        if (message.kind === "events") return message.events.map(textOf);
      }
      return undefined;
    };
    const second = () => readTexts(log.read("payload_s", { from: 2, limit: 2, referred: true }));
    expect(await first(false)).toEqual(["one", "two"]);
    expect(read).toHaveBeenCalledTimes(0);
    expect(await first(true)).toEqual(["one", "two"]);
    expect(read).toHaveBeenCalledTimes(2);
    // Both ranges are here by now: nobody is asked.
    expect(await second()).toEqual(["c", "d"]);
    expect(read).toHaveBeenCalledTimes(2);
    stop.abort();
    await log.close();
    server.close();
  });

  it("are read, and refused, as ever where they cannot come along", async () => {
    const keeper = MemoryLog.create({ id: randomUUID(), clock: new TestClock() });
    const { port1, port2 } = new MessageChannel();
    const referredBy = () => [{ stream: "payload_none", from: 0, count: 1 }];
    const server = new LogServer(keeper, port1, { referredBy });
    const log = new PortLog(keeper.id, port2);
    await log.append("s", "any", [event("one")]);
    for await (const message of log.subscribe("s", 0, { along: true })) {
      if (message.kind !== "events") continue;
      expect(message.events.map(textOf)).toEqual(["one"]);
      break;
    }
    await expect(
      readTexts(log.read("payload_none", { from: 0, limit: 1, referred: true })),
    ).rejects.toMatchObject({ code: "StreamNotFound" });
    await log.close();
    server.close();
  });
});
