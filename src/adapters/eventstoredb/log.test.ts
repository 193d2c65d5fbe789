import { randomUUID } from "node:crypto";
import { describeEventLog, TestClock } from "../../../test/contract/event-log.ts";
import { TestServer } from "../../../test/esdb-server/server.ts";
import type { EventLog } from "../../ports/event-log.ts";
import { createIds } from "../system/ids.ts";
import { openEventStoreDbLog } from "./log.ts";
import { parseTarget } from "./target.ts";

describeEventLog(
  "EventStoreDB",
  async () => {
    const clock = new TestClock();
    const server = await TestServer.start({ clock });
    const target = parseTarget(`${server.url}&prefix=test-${randomUUID().slice(0, 8)}`);
    const handles: EventLog[] = [];
    const open = async () => {
      const handle = await openEventStoreDbLog({
        target,
        clock,
        ids: createIds(),
        readOnly: false,
        create: true,
      });
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
        await server.stop();
      },
    };
  },
  {
    scavenge:
      "EventStoreDB scavenges full parts of its file, in its own time, and keeps each stream's last event",
  },
);
