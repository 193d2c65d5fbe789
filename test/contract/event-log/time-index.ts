import { randomUUID } from "node:crypto";
import { describe, expect, test } from "vitest";
import { encodeDeltas } from "../../../src/core/columns.ts";
import { timeToOrdinal } from "../../../src/core/ordinal.ts";
import type { EventLog } from "../../../src/ports/event-log.ts";
import { firstFromTime, type SourcePlace } from "../../../src/runtime/seek-time.ts";
import { StreamTail } from "../../../src/runtime/stream-tail.ts";
import { seededRandom, upTo } from "../../simulation/virtual-world.ts";
import type { Make } from "./harness.ts";

const BEGIN = Date.UTC(2026, 0, 1);
const EVENTS = 300;

interface Accepted extends SourcePlace {
  readonly logTime: number;
  readonly eventTime: number;
}

/** A source's stream of many events, some of which hold nothing, with event times that go up and down on their way up. */
async function fillSource(log: EventLog, stream: string): Promise<Accepted[]> {
  const random = seededRandom(7);
  const tail = await StreamTail.open(log, stream);
  const accepted: Accepted[] = [];
  let clock = BEGIN;
  let maxTime = Number.NEGATIVE_INFINITY;
  for (let event = 0; event < EVENTS; event++) {
    const first = accepted.length;
    const rows: Accepted[] = [];
    // Nearly as many as usual: a batch, or a tick.
    for (let row = upTo(random, 3) === 0 ? 0 : 1 + upTo(random, 5); row > 0; row--) {
      clock += upTo(random, 4_000);
      const ordinal = Math.max(timeToOrdinal(clock), (accepted.at(-1)?.ordinal ?? -1) + 1 + rows.length);
      const eventTime = clock - 3_600_000 - upTo(random, 30_000);
      rows.push({ n: first + rows.length, ordinal, logTime: clock, eventTime });
      maxTime = Math.max(maxTime, eventTime);
    }
    accepted.push(...rows);
    await tail.append([
      {
        type: "RecordsAccepted",
        event: {
          v: 2,
          wall: clock,
          epoch: 1,
          node: "n",
          deployment: new Uint8Array(32),
          scheme: 1,
          first,
          count: rows.length,
          through: accepted.at(-1)?.ordinal ?? -1,
          ...(rows.length > 0 && {
            ordinals: encodeDeltas(rows.map(({ ordinal }) => ordinal)),
            times: encodeDeltas(rows.map((row) => row.eventTime)),
          }),
          ...(accepted.length > 1 && { maxTime }),
        },
      },
    ]);
  }
  return accepted;
}

/** A log that counts the events which are read from it. */
function counted(log: EventLog): { readonly log: EventLog; events: number } {
  const counting = { events: 0, log };
  counting.log = new Proxy(log, {
    get(target, name) {
      const value: unknown = Reflect.get(target, name, target);
      if (name === "read") {
        return async function* (...args: Parameters<EventLog["read"]>) {
          for await (const event of target.read(...args)) {
            counting.events++;
            yield event;
          }
        };
      }
      return typeof value === "function" ? value.bind(target) : value;
    },
  });
  return counting;
}

/** From a time to a record, by few reads: what ranges of history and replays begin with. */
export function timeIndexTests(make: Make): void {
  describe("a source's stream in time", () => {
    test("is entered at any time with reads in the order of the logarithm of its length", async () => {
      const harness = await make();
      try {
        const stream = `source_time-${randomUUID().slice(0, 8)}.s`;
        const accepted = await fillSource(harness.log, stream);
        const counting = counted(harness.log);
        const most = 3 * Math.ceil(Math.log2(EVENTS)) + 16;
        const last = accepted.at(-1) as Accepted;
        const random = seededRandom(11);
        for (let tries = 0; tries < 60; tries++) {
          const logTime = BEGIN - 5_000 + upTo(random, last.logTime - BEGIN + 10_000);
          counting.events = 0;
          const byLog = await firstFromTime(counting.log, stream, { logTime });
          expect(byLog?.n).toBe(accepted.find((each) => each.ordinal >= timeToOrdinal(logTime))?.n);
          const eventTime = logTime - 3_600_000;
          const byEvent = await firstFromTime(counting.log, stream, { eventTime });
          expect(byEvent?.n).toBe(accepted.find((each) => each.eventTime >= eventTime)?.n);
          expect(counting.events).toBeLessThan(2 * most);
        }
        expect(await firstFromTime(harness.log, `${stream}-not`, { logTime: BEGIN })).toBeUndefined();
      } finally {
        await harness.dispose();
      }
    });
  });
}
