import { describe, expect, test } from "vitest";
import { MemoryLog } from "../adapters/memory/log.ts";
import { createSystemClock } from "../adapters/system/clock.ts";
import { createIds } from "../adapters/system/ids.ts";
import { isHeadwaterError } from "../core/errors.ts";
import { decodeEventAs } from "../core/event-codec.ts";
import type { EventLog } from "../ports/event-log.ts";
import { StreamTail } from "./stream-tail.ts";
import { type UnitAppend, UnitLog } from "./unit-log.ts";

const STREAM = "source_p.s";
const clock = createSystemClock();

function stored(text: string) {
  const event = { v: 1, wall: 0, blocks: new TextEncoder().encode(text) };
  return { type: "RecordsStored", event } as never;
}

/** An event that says where what it refers to is, as `payload`. */
function accepted(first: number, payload?: string): UnitAppend {
  return {
    type: "RecordsAccepted",
    make: (places) => ({ v: 2, wall: 0, epoch: 1, first, count: 1, ...places }) as never,
    besides: { payload: payload === undefined ? [] : [stored(payload)] },
  };
}

async function mains(log: EventLog): Promise<{ first: number; payload?: { revision: number } }[]> {
  const found: { first: number; payload?: { revision: number } }[] = [];
  for await (const event of log.read(STREAM)) {
    const { first, payload } = decodeEventAs(event, "RecordsAccepted");
    found.push({ first, ...(payload !== undefined && { payload: { revision: payload.revision } }) });
  }
  return found;
}

describe("several events that are appended together", () => {
  test("are in the log one after the other, each with what it refers to before it", async () => {
    const log = MemoryLog.create({ id: createIds().uuid(), clock });
    const unit = await UnitLog.open(log, STREAM);
    await unit.appendAll([accepted(0, "a"), accepted(1), accepted(2, "c")]);
    await unit.appendAll([accepted(3, "d")]);
    expect(await mains(log)).toEqual([
      { first: 0, payload: { revision: 0 } },
      { first: 1 },
      { first: 2, payload: { revision: 1 } },
      { first: 3, payload: { revision: 2 } },
    ]);
  });

  test("are gone on with after those that came into the log before a conflict beside them", async () => {
    const log = MemoryLog.create({ id: createIds().uuid(), clock });
    const unit = await UnitLog.open(log, STREAM);
    await unit.appendAll([accepted(0, "a")]);
    let stale = 0;
    // A stale owner leaves something beside the third event, when the second is in the log.
    const appendInOrder = log.appendInOrder.bind(log);
    log.appendInOrder = async (appends) => {
      if (stale++ > 0) return appendInOrder(appends);
      await appendInOrder(appends.slice(0, 3));
      await (await StreamTail.open(log, "payload_p.s")).append([stored("stale")]);
      return appendInOrder(appends.slice(3));
    };
    await unit.appendAll([accepted(1, "b"), accepted(2), accepted(3, "d"), accepted(4)]);
    expect(await mains(log)).toEqual([
      { first: 0, payload: { revision: 0 } },
      { first: 1, payload: { revision: 1 } },
      { first: 2 },
      { first: 3, payload: { revision: 3 } },
      { first: 4 },
    ]);
  });

  test("are given up when another owner has appended", async () => {
    const log = MemoryLog.create({ id: createIds().uuid(), clock });
    const unit = await UnitLog.open(log, STREAM);
    const other = await UnitLog.open(log, STREAM);
    await other.appendAll([accepted(0, "theirs")]);
    const error = await unit.appendAll([accepted(0, "a"), accepted(1)]).catch((thrown: unknown) => thrown);
    expect(isHeadwaterError(error, "OwnershipLost")).toBe(true);
    expect(await mains(log)).toHaveLength(1);
  });
});
