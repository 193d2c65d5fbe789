import { randomUUID } from "node:crypto";
import { MessageChannel } from "node:worker_threads";
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
