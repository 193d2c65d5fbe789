/** A log that holds appends back for half a minute of virtual time. */
import { describe, expect, it, vi } from "vitest";
import { withAppends } from "../../test/fixtures/held-appends.ts";
import { seededIds, seededRandom, VirtualWorld } from "../../test/simulation/virtual-world.ts";
import { MemoryLog } from "../adapters/memory/log.ts";
import { decodeEvent } from "../core/event-codec.ts";
import { LIMITS } from "../core/limits.ts";
import { pipeline } from "../pipeline/pipeline.ts";
import { planPipeline } from "../pipeline/plan.ts";
import type { EventLog, SubscribeOptions, SubscriptionMessage } from "../ports/event-log.ts";
import { ProgramIntake } from "./intake.ts";
import type { IntakeRecord } from "./intake-record.ts";
import { runPipeline } from "./pipeline-run.ts";
import { ProgressBoard } from "./progress-board.ts";
import { CallbackTarget } from "./sink-targets.ts";

const HELD_MS = 30_000;
const BATCH = 512;
const GROUP = 100;
const PARTITIONS = 2;
/** More than may be in flight, twice over. */
const RECORDS = 3 * LIMITS.inFlightRecords;
/** As many are taken in before the log becomes slow. */
const BEFORE = 2_000;
/**
 * What one of two partitions has been handed at most while its appends are held back: what came before, then its
 * queue, the batch that it appends and the event that it stopped at, of which every second record or so is its own;
 * and the events that it reads ahead.
 */
const HANDED_OUT_MOST =
  BEFORE + BATCH + PARTITIONS * (LIMITS.queuedRecords + 2 * BATCH) + LIMITS.payloadReadsAhead * BATCH;

/** Counts the records of the events that `log` hands to whoever follows a stream. */
function counting(log: EventLog, handedOut: Map<string, number>): EventLog {
  return new Proxy(log, {
    get: (target, name) => {
      const value: unknown = Reflect.get(target, name, target);
      if (name !== "subscribe") return typeof value === "function" ? value.bind(target) : value;
      return async function* (
        stream: string,
        from: number,
        options?: SubscribeOptions,
      ): AsyncGenerator<SubscriptionMessage> {
        for await (const message of target.subscribe(stream, from, options)) {
          for (const event of message.kind === "events" ? message.events : []) {
            // One by one, as a reader that is full stops between two events.
            const { data } = decodeEvent(event);
            const count = "count" in data ? data.count : 0;
            handedOut.set(stream, (handedOut.get(stream) ?? 0) + count);
            yield { kind: "events", events: [event] };
          }
          if (message.kind !== "events") yield message;
        }
      };
    },
  });
}

async function flood(held: (stream: string) => boolean) {
  vi.spyOn(console, "warn").mockImplementation(() => {});
  const random = seededRandom(3);
  const world = new VirtualWorld(random);
  const memory = MemoryLog.create({ id: seededIds(random).uuid(), clock: world });
  let slow = false;
  const handedOut = new Map<string, number>();
  const log = counting(
    withAppends(memory, async ({ stream }, make) => {
      if (slow && held(stream)) await world.sleep(HELD_MS);
      return make();
    }),
    handedOut,
  );
  const p = pipeline("slow", { partitions: PARTITIONS });
  p.source("s", { key: (record) => (record as { n: number }).n })
    .map("m", (record) => record as { n: number })
    .sink("out");
  let read = 0;
  async function* records(): AsyncGenerator<readonly IntakeRecord[]> {
    while (read < RECORDS) {
      const group = Array.from({ length: Math.min(GROUP, RECORDS - read) }, (_, at) => ({
        value: { n: read + at },
        line: read + at + 1,
      }));
      read += group.length;
      yield group;
      if (read >= BEFORE) slow = true;
    }
  }
  const delivered: number[] = [];
  const board = new ProgressBoard();
  const nothing = () => {};
  const done = runPipeline(
    {
      log,
      clock: world,
      ids: seededIds(random),
      processes: { host: "h", pid: 1, instance: "i", isAlive: () => true },
      bundler: { bundle: () => Promise.reject(new Error("no")), load: () => undefined },
      runtime: { headwater: "0", node: "0", v8: "0", icu: "0", timeZone: "UTC" },
    },
    {
      plan: planPipeline(p.definition),
      bundle: undefined,
      intakes: new Map([["s", new ProgramIntake(records())]]),
      targets: new Map([
        ["out", new CallbackTarget("out", ({ value }) => void delivered.push((value as { n: number }).n))],
      ]),
      nodes: 1,
      batchRecords: BATCH,
      tickMs: 10,
      provenance: "full",
      follow: false,
      keepOpen: false,
      signal: new AbortController().signal,
      board,
      onDeployed: nothing,
      onRejected: nothing,
      onQuarantined: nothing,
      onResumed: nothing,
      onTimeAhead: () => {},
      onStandBy: nothing,
      onBegunAgain: nothing,
      onRestarted: (unit, error) => {
        throw new Error(`${unit} was restarted`, { cause: error });
      },
    },
  );
  const stuck = () => `${read} read, ${board.totals.accepted} accepted, ${delivered.length} delivered`;
  // Just before the first append that was held back is made.
  await world.run(world.sleep(HELD_MS - 1_000), HELD_MS, stuck);
  const then = {
    read,
    accepted: board.totals.accepted,
    pending: board.pending,
    handedOut: new Map(handedOut),
  };
  slow = false;
  held = () => false;
  await world.run(done, 60 * 60_000, stuck);
  vi.restoreAllMocks();
  return { then, delivered };
}

const everything = Array.from({ length: RECORDS }, (_, n) => n);

describe("a log that holds back for half a minute", () => {
  it.each([
    ["every append", () => true],
    ["what partitions append", (stream: string) => stream.startsWith("steps_")],
    ["what sinks append", (stream: string) => stream.startsWith("sink_")],
  ] as const)("makes the door wait, keeps queues short, and drops nothing: %s", async (what, held) => {
    const { then, delivered } = await flood(held);
    expect(then.accepted).toBeLessThan(RECORDS);
    expect(then.pending).toBeLessThanOrEqual(LIMITS.inFlightRecords + BATCH);
    // What the door has not accepted is the batch that it appends, its open one, and one group that it reads ahead.
    expect(then.read - then.accepted).toBeLessThanOrEqual(2 * BATCH + 2 * GROUP);
    // It goes on while it appends.
    if (what === "every append") expect(then.read - then.accepted).toBeGreaterThan(BATCH + GROUP);
    if (what === "what partitions append") {
      expect(then.handedOut.get("source_slow.s")).toBeLessThanOrEqual(PARTITIONS * HANDED_OUT_MOST);
    }
    expect(delivered).toEqual(everything);
  });

  it("keeps the queue of a partition short that stands still while the other goes on", async () => {
    const { then, delivered } = await flood((stream) => stream === "steps_slow.m.0000");
    expect(then.pending).toBeLessThanOrEqual(LIMITS.inFlightRecords + BATCH);
    expect(then.handedOut.get("source_slow.s")).toBeLessThanOrEqual(then.accepted + HANDED_OUT_MOST);
    expect(delivered).toEqual(everything);
  });
});
