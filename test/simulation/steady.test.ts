import { describe, expect, test } from "vitest";
import type { MemoryLog } from "../../src/adapters/memory/log.ts";

import { type Pipeline, pipeline } from "../../src/pipeline/pipeline.ts";
import type { RetentionOptions } from "../../src/pipeline/retention.ts";
import { delivered, ORDINARY } from "./expectations.ts";
import { simulate } from "./harness.ts";
import { timeLimit, withoutWarnings } from "./property-runs.ts";
import type { Item } from "./random-words.ts";

const TIMEOUT_MS = timeLimit(600_000);
const SECOND_MS = 1_000;
/** One record in so many is refused. */
const REFUSED_EVERY = 500;

withoutWarnings();

/** Segments with and without state, effects, something in transit, and records that are refused. */
function chain(retention: RetentionOptions): Pipeline {
  const p = pipeline("p", { partitions: 2, retention });
  p.source<undefined, number>("in", {
    key: (record) => (record as Item).k,
    eventTime: (record) => (record as Item).v * 100,
  })
    .map(
      "called",
      async (record, ctx) => {
        const { v, k } = record as Item;
        if (v % REFUSED_EVERY === 7) throw new Error("seven");
        return { v: await ctx.effect("same", () => v), k };
      },
      { sample: 0.5 },
    )
    .keyBy("by", ({ v }) => v % 3)
    .reduce("sum", { init: () => 0, step: (sum, { v }) => sum + v, emit: (sum) => ({ sum }) })
    .sink("out");
  return p;
}

interface Size {
  readonly events: number;
  readonly bytes: number;
}

/** What is left of each stream after so many seconds of a steady load, and how many records went through. */
async function sizesAfter(retention: RetentionOptions, rounds: number, everyMs: number) {
  const { definition } = chain(retention);
  const given = Array.from({ length: rounds * 8 }, (_, v) => ({ value: { k: v % 4, v } }));
  const outcome = await simulate(definition, new Map([["in", given]]), { ...ORDINARY, everyMs });
  const refused = Math.ceil((given.length - 7) / REFUSED_EVERY);
  expect(delivered("out", outcome, false).length).toBe(given.length - refused);
  return { sizes: await sizesOf(outcome.log), refused };
}

async function sizesOf(log: MemoryLog): Promise<ReadonlyMap<string, Size>> {
  await log.scavenge();
  const sizes = new Map<string, Size>();
  for await (const { stream } of log.streams()) {
    let events = 0;
    let bytes = 0;
    for await (const { data, metadata } of log.read(stream)) {
      events++;
      bytes += data.length + metadata.length;
    }
    sizes.set(stream, { events, bytes });
  }
  return sizes;
}

const bytesOf = (sizes: ReadonlyMap<string, Size>, kind: RegExp) =>
  [...sizes].reduce((sum, [stream, { bytes }]) => sum + (kind.test(stream) ? bytes : 0), 0);

describe("the log of a pipeline with a steady load", () => {
  test(
    "does not grow where all tiers are kept for a while, but for what waits in quarantine and what says what is gone",
    async () => {
      const AGE_S = 30;
      const bound = { age: `${AGE_S}s` } as const;
      const retention: RetentionOptions = { payload: bound, steps: bound, effects: bound, state: bound };
      const rounds = 300;
      const once = await sizesAfter(retention, rounds, SECOND_MS);
      const thrice = await sizesAfter(retention, 3 * rounds, SECOND_MS);
      const trimmed = [...once.sizes].filter(([stream]) => !/^(pipeline|quarantine)_/.test(stream));
      expect(trimmed.length).toBeGreaterThan(14);
      for (const [stream, { events, bytes }] of trimmed) {
        const after = thrice.sizes.get(stream) ?? { events: 0, bytes: 0 };
        expect(after.events, stream).toBeLessThan(events * 1.3 + 5);
        expect(after.bytes, stream).toBeLessThan(bytes * 1.3 + 2_000);
      }
      // What is gone is said some eight times while so much comes in as is kept; what is on its way, more often.
      const windows = (2 * rounds) / AGE_S;
      const said = bytesOf(thrice.sizes, /^pipeline_/) - bytesOf(once.sizes, /^pipeline_/);
      expect(said / windows).toBeLessThan(10 * (400 + 100 * trimmed.length));
      const waiting = bytesOf(thrice.sizes, /^quarantine_/) / thrice.refused;
      expect(waiting).toBeGreaterThan(0);
      expect(waiting).toBeLessThan(1_500);
    },
    TIMEOUT_MS,
  );

  test(
    "keeps of its supervisors' words those of an hour, where steps are kept for ever",
    async () => {
      const retention: RetentionOptions = { payload: { age: "10m" } };
      const hours = async (count: number) => {
        const { sizes } = await sizesAfter(retention, 360 * count, 10 * SECOND_MS);
        return sizes.get("supervisor_p")?.events ?? 0;
      };
      const [two, five] = [await hours(2), await hours(5)];
      expect(two).toBeGreaterThan(3_500);
      expect(five).toBeGreaterThan(3_500);
      expect(five).toBeLessThan(4_500);
    },
    TIMEOUT_MS,
  );
});
