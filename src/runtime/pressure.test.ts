import { describe, expect, test } from "vitest";
import { Pressure } from "./pressure.ts";

describe("who holds back whom", () => {
  test("is who still has to do with what is in flight, and only while a door waits", () => {
    const behind = new Set(["sink:slow", "partition:parse.0"]);
    const pressure = new Pressure((unit) => behind.has(unit));
    pressure.enters("door:web", { kind: "working" }, 0);
    pressure.enters("partition:parse.0", { kind: "working" }, 0);
    pressure.enters("sink:slow", { kind: "waiting" }, 0);
    pressure.enters("sink:quick", { kind: "working" }, 0);
    expect(pressure.holdUps(100)).toEqual([]);
    pressure.enters("door:web", { kind: "held" }, 100);
    // The sink has nothing to do yet: the stage is to blame. What is not behind is not.
    pressure.enters("partition:parse.0", { kind: "waiting" }, 150);
    pressure.enters("sink:slow", { kind: "outside", reason: "HTTP 503" }, 160);
    pressure.enters("door:web", { kind: "working" }, 400);
    pressure.enters("sink:slow", { kind: "waiting" }, 900);
    expect(pressure.holdUps(1_000)).toEqual([
      { by: "sink slow", reason: "HTTP 503", ms: 240, computedMs: 0 },
      { by: "segment parse", reason: undefined, ms: 50, computedMs: 0 },
    ]);
  });

  test("is who keeps what is in flight from its end when all inputs are through", () => {
    const behind = new Set(["sink:slow"]);
    const pressure = new Pressure((unit) => behind.has(unit));
    pressure.enters("door:web", { kind: "working" }, 0);
    pressure.enters("door:app", { kind: "working" }, 0);
    pressure.enters("sink:slow", { kind: "outside" }, 0);
    pressure.enters("door:web", { kind: "ended" }, 100);
    expect(pressure.holdUps(200)).toEqual([]);
    pressure.enters("door:app", { kind: "ended" }, 200);
    expect(pressure.holdUps(500)).toEqual([{ by: "sink slow", reason: undefined, ms: 300, computedMs: 0 }]);
    behind.clear();
    expect(pressure.holdUps(900)).toEqual([{ by: "sink slow", reason: undefined, ms: 300, computedMs: 0 }]);
  });

  test("is not the log once it has answered, whoever has not heard of it yet", () => {
    const pressure = new Pressure(() => true);
    pressure.enters("door:web", { kind: "held" }, 0);
    pressure.enters("partition:a.0", { kind: "log" }, 0);
    pressure.answered("partition:a.0", 10);
    pressure.answered("partition:a.1", 10);
    pressure.enters("partition:a.1", { kind: "working" }, 10);
    pressure.answered("partition:a.1", 20);
    expect(pressure.holdUps(100)).toEqual([
      { by: "segment a", reason: undefined, ms: 90, computedMs: 0 },
      { by: "log", reason: undefined, ms: 10, computedMs: 0 },
    ]);
  });

  test("parts the time among those that are to blame together, and names the log where it is the log", () => {
    const pressure = new Pressure(() => true);
    pressure.enters("door:web", { kind: "held" }, 0);
    pressure.enters("partition:a.0", { kind: "log" }, 0);
    pressure.enters("partition:a.1", { kind: "log" }, 0);
    pressure.enters("partition:b.0", { kind: "working" }, 0);
    expect(pressure.holdUps(100)).toEqual([
      { by: "log", reason: undefined, ms: 50, computedMs: 0 },
      { by: "segment b", reason: undefined, ms: 50, computedMs: 0 },
    ]);
    pressure.leaves("partition:b.0", 100);
    expect(pressure.holdUps(200).find(({ by }) => by === "log")?.ms).toBe(150);
  });

  test("is who computes in the thread of all, and nobody else in that time", () => {
    const pressure = new Pressure(() => true);
    pressure.enters("door:web", { kind: "working" }, 0);
    pressure.enters("partition:a.0", { kind: "log" }, 0);
    pressure.enters("partition:a.1", { kind: "working" }, 0);
    pressure.computed("partition:a.1", 0, 80);
    pressure.enters("partition:a.1", { kind: "log" }, 80);
    pressure.enters("door:web", { kind: "held" }, 100);
    pressure.computed("partition:a.1", 100, 150);
    expect(pressure.holdUps(160)).toEqual([
      { by: "segment a", reason: undefined, ms: 50, computedMs: 80 },
      { by: "log", reason: undefined, ms: 10, computedMs: 0 },
    ]);
  });
});
