import { beforeEach, describe, expect, it } from "vitest";
import { arrayLog, copyEvents } from "../../test/array-log.ts";
import { emptyLog, fill } from "../../test/small-log.ts";
import type { EventLog, RecordedEvent } from "../ports/event-log.ts";
import { checkedLog } from "./checked-log.ts";

const STREAM = "supervisor_a";

describe("a log that is held to its digests", () => {
  let events: RecordedEvent[] = [];
  let reads = 0;
  let log: EventLog;
  beforeEach(async () => {
    const filled = emptyLog();
    await fill(filled, 20, { streams: [STREAM] });
    events = await copyEvents(filled);
    reads = 0;
    const found = arrayLog(filled.id, events);
    const read: EventLog["read"] = (...of) => {
      reads++;
      return found.read(...of);
    };
    log = checkedLog({ ...found, read });
  });

  const one = async (revision: number) => {
    for await (const event of log.read(STREAM, { from: revision, limit: 1 })) return event;
    return undefined;
  };

  it("does not read an event again that it has checked", async () => {
    const first = await one(7);
    expect(first?.revision).toBe(7);
    expect(await one(7)).toEqual(first);
    expect(reads).toBe(1);
    expect((await one(8))?.revision).toBe(8);
    expect(reads).toBe(2);
  });

  it("names an event that was changed, each time that it is read, alone and among others", async () => {
    const changed = events[7] as RecordedEvent;
    changed.data[changed.data.length - 1] = (changed.data.at(-1) as number) ^ 1;
    const damaged = { code: "LogDamaged", where: `${STREAM}@7` };
    await expect(one(7)).rejects.toMatchObject(damaged);
    await expect(one(7)).rejects.toMatchObject(damaged);
    const all = async () => {
      for await (const event of log.read(STREAM)) expect(event.revision).toBeLessThan(7);
    };
    await expect(all()).rejects.toMatchObject(damaged);
  });
});
