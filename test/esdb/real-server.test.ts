import { describe, it } from "vitest";
import { openEventStoreDbLog } from "../../src/adapters/eventstoredb/log.ts";
import { parseTarget } from "../../src/adapters/eventstoredb/target.ts";
import { createIds } from "../../src/adapters/system/ids.ts";
import type { EventLog } from "../../src/ports/event-log.ts";
import { describeEventLog, TestClock } from "../contract/event-log.ts";
import { followTests } from "../e2e/following.ts";
import { programTests, withNewPrefix } from "./program.ts";

const url = process.env["HEADWATER_TEST_ESDB"] ?? "";

if (url === "") {
  describe("a real EventStoreDB", () => {
    it.skip("[skipped: HEADWATER_TEST_ESDB names no server, such as esdb://localhost:2113?tls=false]", () => {});
  });
} else {
  describeEventLog(
    "a real EventStoreDB",
    async () => {
      const target = parseTarget(withNewPrefix(url), process.env);
      const handles: EventLog[] = [];
      const open = async () => {
        const clock = new TestClock();
        const options = { target, clock, ids: createIds(), readOnly: false, create: true };
        const handle = await openEventStoreDbLog(options);
        handles.push(handle);
        return handle;
      };
      const close = async () => {
        for (const handle of handles.splice(0)) await handle.close();
      };
      return {
        log: await open(),
        openHandle: open,
        reopen: async () => {
          await close();
          return open();
        },
        advance: () => Promise.reject(new Error("a server has a clock of its own")),
        dispose: close,
      };
    },
    {
      clock: "a server has a clock of its own",
      scavenge:
        "EventStoreDB scavenges full parts of its file, in its own time, and keeps each stream's last event",
    },
  );
  programTests("a real EventStoreDB", { newLog: () => withNewPrefix(url), blows: 40 });
  followTests("a real EventStoreDB", () => withNewPrefix(url));
}
