import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { counted } from "../../test/simulation/state-runs.ts";
import { emptyLog } from "../../test/small-log.ts";
import { encodeCanonical } from "../core/canonical.ts";
import { encodeDeltas } from "../core/columns.ts";
import type { EventLog, RecordedEvent } from "../ports/event-log.ts";
import { seekOrdinal, seekRecord, seekThrough } from "./seek.ts";
import { recordsBefore } from "./seek-time.ts";

const STREAM = "source_p.s";

interface Said {
  readonly first?: number;
  readonly count?: number;
  readonly through?: number;
}

const COMMON = { wall: 0, epoch: 1, node: "node-1", deployment: new Uint8Array(32) };
const CLAIMED = { ...COMMON, v: 1, process: "00000000-0000-4000-8000-000000000000", assignment: 1 };
const ACCEPTED = { ...COMMON, v: 2, scheme: 1 };

async function logOf(events: readonly Said[]): Promise<EventLog> {
  const log = emptyLog();
  for (const [at, said] of events.entries()) {
    // What says nothing of records is an event of another kind.
    const type = said.first === undefined ? "SinkClaimed" : "RecordsAccepted";
    const data = encodeCanonical({ ...(type === "SinkClaimed" ? CLAIMED : ACCEPTED), ...said });
    const id = `00000000-0000-4000-8000-${String(at).padStart(12, "0")}`;
    await log.append(STREAM, at === 0 ? "no-stream" : at - 1, [
      { id, type, data, metadata: new Uint8Array(0) },
    ]);
  }
  return log;
}

/** Events that begin where those before them end; the first ones may say nothing of where they are. */
const history = fc
  .record({
    silent: fc.constantFrom(0, 0, 0, 1, 5),
    steps: fc.array(fc.record({ count: fc.nat(5), rise: fc.constantFrom(0, 1, 1, 1, 2, 900) }), {
      minLength: 1,
      maxLength: 40,
    }),
  })
  .map(({ silent, steps }) => {
    const events: Said[] = Array.from({ length: silent }, () => ({}));
    let first = 0;
    let through = -1;
    for (const { count, rise } of steps) {
      through += rise;
      events.push({ first, count, through });
      first += count;
    }
    return events;
  });

/** The last event of a beginning in which all satisfy `holds`; the first one that is there if none does. */
function lastOf(events: readonly Said[], from: number, holds: (said: Said) => boolean): number {
  let last = from;
  for (let at = from; at < events.length && holds(events[at] as Said); at++) last = at;
  return last;
}

describe("what is sought in a stream", () => {
  test("is found wherever it is, however unevenly numbers rise, also where its beginning was let go of", async () => {
    await fc.assert(
      fc.asyncProperty(
        history,
        fc.integer({ min: -2, max: 1_500 }),
        fc.nat(39),
        async (events, wanted, gone) => {
          const log = await logOf(events);
          const from = gone % (events.length + 3);
          if (from < events.length) await log.setMetadata(STREAM, { truncateBefore: from });
          const begin = from < events.length ? from : 0;
          const through = ({ through: at }: Said) => at === undefined || at <= wanted;
          expect(await seekThrough(log, STREAM, wanted)).toBe(lastOf(events, begin, through));
          const record = ({ first: at }: Said) => at === undefined || at <= wanted;
          expect(await seekRecord(log, STREAM, wanted)).toBe(lastOf(events, begin, record));
        },
      ),
      { numRuns: 300 },
    );
  });

  test("takes a few reads of a long stream in which numbers rise evenly", async () => {
    const events = Array.from({ length: 5_000 }, (_, at) => ({
      first: 10 * at,
      count: 10,
      through: 100 * at,
    }));
    const whole = await logOf(events);
    for (let at = 7; at < 5_000; at += 331) {
      const { log, events: read } = counted(whole);
      expect(await seekThrough(log, STREAM, 100 * at + 50)).toBe(at);
      expect(await seekRecord(log, STREAM, 10 * at + 3)).toBe(at);
      expect(read()).toBeLessThanOrEqual(10);
    }
    expect(await seekOrdinal(whole, STREAM, 30_050)).toBe(3_010);
    expect(await seekThrough(whole, "source_p.none", 5)).toBeUndefined();
  });
});

test("records that come while it is looked for where a window begins are not taken for earlier ones", async () => {
  const log = emptyLog();
  const accepted = async (at: number, first: number, ordinals: readonly number[]) => {
    const through = ordinals.at(-1) as number;
    const data = encodeCanonical({
      ...{ ...ACCEPTED, first, count: ordinals.length, through },
      ordinals: encodeDeltas(ordinals),
    });
    const id = `00000000-0000-4000-8000-${String(at).padStart(12, "0")}`;
    const event = { id, type: "RecordsAccepted", data, metadata: new Uint8Array(0) };
    await log.append(STREAM, at === 0 ? "no-stream" : at - 1, [event]);
  };
  await accepted(0, 0, [5]);
  const arriving = [
    { first: 1, ordinals: [6] },
    { first: 2, ordinals: [12, 13, 14] },
  ];
  /** Something comes after each look at the stream. */
  const busy: EventLog = new Proxy(log, {
    get: (target, name) => {
      if (name !== "read") return Reflect.get(target, name).bind(target);
      return async function* (...args: Parameters<EventLog["read"]>) {
        const found: RecordedEvent[] = [];
        for await (const event of target.read(...args)) found.push(event);
        const next = arriving.shift();
        if (next !== undefined) await accepted(next.first, next.first, next.ordinals);
        yield* found;
      };
    },
  });
  expect(await recordsBefore(busy, STREAM, 10)).toBe(2);
});
