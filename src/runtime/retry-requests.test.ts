import fc from "fast-check";
import { expect, test } from "vitest";
import { MemoryLog } from "../adapters/memory/log.ts";
import { decodeEvent } from "../core/event-codec.ts";
import { LIMITS } from "../core/limits.ts";
import { retryStream } from "../core/streams.ts";
import type { EventLog } from "../ports/event-log.ts";
import { refusedKey } from "./quarantine.ts";
import { type Chosen, type Decisions, decide, readDecisions } from "./retry-requests.ts";

const pipeline = "p";
const clock = { now: () => 0, monotonic: () => 0, setTimeout: () => () => {} };
const processes = { host: "h", pid: 1, instance: "i", isAlive: () => true };
/** More than one append takes. */
const MANY = 2 * LIMITS.retryItems * LIMITS.retryEvents + 100;

const refused: readonly Chosen[] = Array.from({ length: MANY }, (_, n) => ({
  unit: `steps_p.a.000${n % 3}`,
  place: { n, k: 0, stage: "a", revision: n, index: 0 },
}));
const undecided = async ({ of }: Decisions) =>
  refused.filter(({ unit, place }) => !of.has(refusedKey(unit, place)));

/** A log whose process dies at its append `at`, after that was made or before. */
function dyingAt(log: EventLog, at: number, made: boolean): EventLog {
  let appends = 0;
  return new Proxy(log, {
    get: (target, name) => {
      if (name !== "append") {
        const value: unknown = Reflect.get(target, name);
        return typeof value === "function" ? value.bind(target) : value;
      }
      return async (...given: Parameters<EventLog["append"]>) => {
        const dies = ++appends === at;
        if (dies && !made) throw new Error("killed");
        const answer = await target.append(...given);
        if (dies) throw new Error("killed");
        return answer;
      };
    },
  });
}

test("a decision about more than one append takes is completed when it is repeated after a kill, each record once", async () => {
  const kills = fc.array(fc.record({ at: fc.integer({ min: 1, max: 3 }), made: fc.boolean() }), {
    maxLength: 3,
  });
  await fc.assert(
    fc.asyncProperty(kills, fc.constantFrom(undefined, "sent twice"), async (deaths, reason) => {
      const log = MemoryLog.create({ id: "0".repeat(32), clock });
      for (const { at, made } of deaths) {
        const context = { log: dyingAt(log, at, made), clock, processes, pipeline };
        await decide(context, undecided, reason).catch((error: Error) =>
          expect(error.message).toBe("killed"),
        );
      }
      await decide({ log, clock, processes, pipeline }, undecided, reason);

      const seen: string[] = [];
      let next = 0;
      for await (const recorded of log.read(retryStream(pipeline))) {
        const { type, data } = decodeEvent(recorded);
        if (type !== "RetryAsked" && type !== "RecordsDiscarded") throw new Error(`unexpected: ${type}`);
        expect(data.first).toBe(next);
        next += data.count;
        for (const item of data.items) seen.push(refusedKey(data.unit, item));
      }
      expect(seen.length).toBe(MANY);
      expect(new Set(seen).size).toBe(MANY);
      expect(next).toBe(reason === undefined ? MANY : 0);
      expect((await readDecisions(log, pipeline)).of.size).toBe(MANY);
      expect(await decide({ log, clock, processes, pipeline }, undecided, reason)).toBe(0);
    }),
    { numRuns: 12 },
  );
}, 60_000);
