import { randomUUID } from "node:crypto";
import { describeEventLog, TestClock } from "../../../test/contract/event-log.ts";
import type { EventLog } from "../../ports/event-log.ts";
import { MemoryLog } from "./log.ts";

describeEventLog("memory", async () => {
  const clock = new TestClock();
  // Never closed by a test: what was closed is opened again through it.
  const keeper = MemoryLog.create({ id: randomUUID(), clock });
  const handles: EventLog[] = [];
  const open = async () => {
    const handle = keeper.openHandle();
    handles.push(handle);
    return handle;
  };
  const close = () => Promise.all(handles.splice(0).map((handle) => handle.close()));
  return {
    log: await open(),
    openHandle: open,
    reopen: async () => {
      await close();
      return open();
    },
    advance: async (ms) => clock.advance(ms),
    dispose: async () => {
      await close();
    },
  };
});
