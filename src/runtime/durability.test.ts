import { describe, expect, test } from "vitest";
import { MemoryLog } from "../adapters/memory/log.ts";
import { createSystemClock } from "../adapters/system/clock.ts";
import { createIds } from "../adapters/system/ids.ts";
import { pipeline } from "../pipeline/pipeline.ts";
import { planPipeline } from "../pipeline/plan.ts";
import type { EventLog } from "../ports/event-log.ts";
import { ProgramIntake } from "./intake.ts";
import { OfferQueue } from "./offer-queue.ts";
import { runPipeline } from "./pipeline-run.ts";
import { ProgressBoard } from "./progress-board.ts";
import type { SinkTarget } from "./sink-target.ts";

const clock = createSystemClock();

/** A log that says of each event that it is appended, before it is, and waits for leave. */
function watched(log: EventLog, before: (type: string) => Promise<void>): EventLog {
  return new Proxy(log, {
    get: (target, name) => {
      if (name !== "appendInOrder") {
        const value: unknown = Reflect.get(target, name);
        return typeof value === "function" ? value.bind(target) : value;
      }
      return async (appends: Parameters<EventLog["appendInOrder"]>[0]) => {
        for (const { events } of appends) for (const { type } of events) await before(type);
        return target.appendInOrder(appends);
      };
    },
  });
}

function run(log: EventLog, queue: OfferQueue, target: SinkTarget) {
  const p = pipeline("p", { partitions: 1 });
  p.source("s")
    .map("m", (record) => record)
    .sink("out");
  const nothing = () => {};
  return runPipeline(
    {
      log,
      clock,
      ids: createIds(),
      processes: { host: "h", pid: 1, instance: "i", isAlive: () => true },
      bundler: { bundle: () => Promise.reject(new Error("no")), load: () => undefined },
      runtime: { headwater: "0", node: "0", v8: "0", icu: "0", timeZone: "UTC" },
    },
    {
      plan: planPipeline(p.definition),
      bundle: undefined,
      intakes: new Map([["s", new ProgramIntake(queue)]]),
      targets: new Map([["out", target]]),
      nodes: 1,
      batchRecords: 8,
      tickMs: 1,
      provenance: "full",
      follow: false,
      keepOpen: false,
      signal: new AbortController().signal,
      board: new ProgressBoard(),
      onDeployed: nothing,
      onRejected: nothing,
      onQuarantined: nothing,
      onResumed: nothing,
      onTimeAhead: nothing,
      onStandBy: nothing,
      onBegunAgain: nothing,
      onRestarted: nothing,
    },
  );
}

function target(steps: string[]): SinkTarget {
  return {
    id: "file:/out",
    wantsRecords: true,
    fills: true,
    refills: true,
    hasContent: async () => false,
    mustHold: async () => {},
    open: async () => {},
    write: async ({ records }) => {
      steps.push(`write ${records.length}`);
      return true;
    },
    flush: async () => {
      steps.push("flush");
      return { bytes: 1 };
    },
    close: async () => {},
  };
}

describe("what is said to be durable", () => {
  test("an offer is answered only when its record's event is appended", async () => {
    let appended = false;
    let answeredBefore = false;
    const queue = new OfferQueue();
    const log = watched(MemoryLog.create({ id: createIds().uuid(), clock }), async (type) => {
      if (type !== "RecordsAccepted" || appended) return;
      // Long enough for an answer that does not wait.
      for (let turn = 0; turn < 50; turn++) await new Promise((resolve) => setImmediate(resolve));
      answeredBefore = answered;
      appended = true;
    });
    let answered = false;
    const running = run(log, queue, target([]));
    const offer = queue.offer({ a: 1 }).then((address) => {
      answered = true;
      return address;
    });
    expect(await offer).toBe("source_p.s@0");
    expect(appended).toBe(true);
    expect(answeredBefore).toBe(false);
    queue.end();
    await running;
  });

  test("a sink flushes its target before it says what it has delivered", async () => {
    const steps: string[] = [];
    const queue = new OfferQueue();
    const log = watched(MemoryLog.create({ id: createIds().uuid(), clock }), async (type) => {
      if (type === "OutputsDelivered" || type === "SinkOpened") steps.push(type);
    });
    const running = run(log, queue, target(steps));
    await queue.offer({ a: 1 });
    queue.end();
    await running;
    expect(steps[0]).toBe("SinkOpened");
    const delivered = steps.indexOf("OutputsDelivered");
    expect(steps.indexOf("write 1")).toBeGreaterThan(0);
    expect(steps.lastIndexOf("flush", delivered)).toBeGreaterThan(steps.indexOf("write 1"));
    expect(steps[delivered - 1]).toBe("flush");
  });
});
