import { randomUUID } from "node:crypto";
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { describeEventLog, TestClock } from "../../../test/contract/event-log.ts";
import type { EventLog } from "../../ports/event-log.ts";
import { openLmdbLog } from "./log.ts";

describeEventLog("lmdb", async () => {
  const clock = new TestClock();
  const dir = await mkdtemp(join(tmpdir(), "headwater-log-"));
  const handles: EventLog[] = [];
  const open = async () => {
    const handle = await openLmdbLog({ dir, clock, ids: { uuid: randomUUID } });
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
      await rm(dir, { recursive: true, force: true });
    },
  };
});
