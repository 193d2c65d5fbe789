import { describe, expect, it } from "vitest";
import { LIMITS } from "../core/limits.ts";
import { mergeWatermarks, type Watermark } from "../core/watermark.ts";
import { EventTime } from "./event-time.ts";

const DAY = 24 * 3_600_000;
const NOTHING = { maxTime: undefined, ahead: undefined, watermark: undefined };

function follow(outOfOrdernessMs = 0, place: EventTime["place"] = NOTHING): EventTime {
  return new EventTime({ outOfOrdernessMs, idleAfterMs: undefined, aheadMs: DAY }, place);
}

describe("the event time of a source", () => {
  it("believes times far ahead when so many in a row have been, and goes on from the least of them", () => {
    const time = follow();
    time.accept(0, 1);
    time.accept(10, 2);
    const far = Array.from({ length: LIMITS.timeAheadRecords }, (_, at) => 10 * DAY - at);
    const disbelief = far.map((ahead, at) => time.accept(ahead, 10 + at));
    expect(disbelief).toEqual(far.map((_, at) => (at < far.length - 1 ? "this" : undefined)));
    expect(time.place).toMatchObject({ maxTime: far.at(-1), ahead: undefined });
  });

  it("begins to count again after a time that is not far ahead", () => {
    const time = follow();
    time.accept(0, 1);
    time.accept(10, 2);
    const most = LIMITS.timeAheadRecords - 1;
    for (let at = 0; at < most; at++) expect(time.accept(10 * DAY, 10 + at)).toBe("this");
    expect(time.accept(DAY + 10, 50)).toBeUndefined();
    expect(time.place).toMatchObject({ maxTime: DAY + 10, ahead: undefined });
    expect(time.accept(10 * DAY, 51)).toBe("this");
  });

  it("counts the second record among those that are ahead, if the first two are far apart", () => {
    const time = follow();
    expect(time.accept(0, 1)).toBeUndefined();
    expect(time.accept(10 * DAY, 2)).toBe("this");
    expect(time.place).toMatchObject({ maxTime: 0, ahead: { records: 1, least: 10 * DAY } });
    const other = follow();
    expect(other.accept(10 * DAY, 1)).toBeUndefined();
    expect(other.accept(0, 2)).toBe("before");
    expect(other.place).toMatchObject({ maxTime: 0, ahead: undefined });
  });

  it("is active again with the next record after it was idle or ended, and is idle once", () => {
    const time = follow(1_000);
    time.accept(0, 1);
    time.accept(5_000, 2);
    time.becomeIdle(3);
    time.becomeIdle(4);
    time.accept(5_001, 5);
    time.end(6);
    time.becomeIdle(7);
    time.accept(5_002, 8);
    const steps = time.steps.map(({ ordinal, watermark }) => [ordinal, watermark.status, watermark.time]);
    expect(steps).toEqual([
      [2, "active", 4_000],
      [3, "idle", 4_000],
      [5, "active", 4_001],
      [6, "ended", 4_001],
      [8, "active", 4_002],
    ]);
  });

  it("does not fall when its bound becomes longer", () => {
    const before = { ordinal: 9, watermark: { status: "ended", time: 9_000 } } as const;
    const time = follow(5_000, { maxTime: 10_000, ahead: undefined, watermark: before });
    time.accept(10_001, 10);
    expect(time.steps.at(-1)).toEqual({ ordinal: 10, watermark: { status: "active", time: 9_000 } });
  });
});

describe("the watermark of several streams", () => {
  const at = (status: Watermark["status"], time: number): Watermark => ({ status, time });

  it("is the least of those that are active, and waits for the others only while nothing is known of them", () => {
    expect(mergeWatermarks([at("active", 7), undefined], undefined)).toBeUndefined();
    expect(mergeWatermarks([at("ended", 7), undefined], undefined)).toBeUndefined();
    expect(mergeWatermarks([at("active", 7), at("active", 5)], undefined)).toEqual(at("active", 5));
    expect(mergeWatermarks([at("active", 7), at("idle", 5)], undefined)).toEqual(at("active", 7));
    expect(mergeWatermarks([at("active", 7), at("ended", 5)], undefined)).toEqual(at("active", 7));
  });

  it("never falls, and stands still where none is active", () => {
    expect(mergeWatermarks([at("active", 7), at("active", 5)], at("active", 6))).toEqual(at("active", 6));
    expect(mergeWatermarks([at("idle", 7), at("ended", 9)], at("active", 6))).toEqual(at("idle", 6));
    expect(mergeWatermarks([at("ended", 7), at("ended", 9)], at("active", 6))).toEqual(at("ended", 6));
  });
});
