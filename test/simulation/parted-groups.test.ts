import { test } from "vitest";
import { count } from "../../src/pipeline/aggregates.ts";
import { pipeline } from "../../src/pipeline/pipeline.ts";
import { tumbling } from "../../src/pipeline/windows.ts";
import { check, ORDINARY } from "./expectations.ts";
import { withoutWarnings } from "./property-runs.ts";

withoutWarnings();

interface Reading {
  readonly k: number;
  readonly t: number;
}

/** Beyond this a run is at its end before its process dies. */
const APPENDS_MOST = 60;

test("a record that a batch ended between its two sides is taken once by each, wherever a process dies", async () => {
  const p = pipeline("p", { partitions: 1 });
  const readings = p.source<undefined, number>("m", {
    key: (record) => (record as Reading).k,
    eventTime: (record) => (record as Reading).t,
    // What is not kept is no way back to the state: so there are snapshots often.
    sample: 0.5,
  });
  readings
    .joinLeft("pairs", readings, (left, right) => ({ left, right }), {
      within: { before: 7_000, after: 1 },
      lateness: 20_000,
    })
    .sink("out");
  const given = Array.from({ length: 8 }, (_, n) => ({
    value: { k: n % 2, t: 1_700_000_000_000 + n * 1_000 },
    ordinal: 10 * n + 1,
  }));
  for (let at = 1; at < APPENDS_MOST; at++) {
    await check(
      p.definition,
      new Map([["m", given]]),
      {
        ...ORDINARY,
        seed: at,
        batchRecords: 1,
        tickMs: 1,
        delayMs: 30,
        // Whoever begins leaves a snapshot before it has read anything.
        pace: { retentionTickMs: 1_000_000, snapshotEveryMs: 1 },
        interruptions: [{ kind: "crash", at, made: true }],
      },
      1_000,
    );
  }
});

test("a step of event time comes before both of the records that a batch parts, through segments ahead of a window", async () => {
  const p = pipeline("p", { partitions: 1 });
  const readings = p.source<undefined>("m", { eventTime: (record) => (record as unknown as Reading).t });
  const keyed = readings.keyBy("by-key", (record) => (record as unknown as Reading).k);
  p.union("twice", readings, keyed)
    .keyBy("once-more", (record) => (record as unknown as Reading).k)
    .keyBy("and-again", (record) => (record as unknown as Reading).k)
    .window("counts", tumbling(1_000), { aggregate: count(), emit: (n, { start }) => ({ n, start }) })
    .sink("out");
  // Each record moves the watermark, or is too late for it.
  const times = [0, 0, 2_000, -3_000, 4_000, 3_000, 6_000, -1_000];
  const given = times.map((t, n) => ({ value: { k: 0, t: 1_700_000_000_000 + t }, ordinal: n + 1 }));
  for (const batchRecords of [1, 2, 3]) {
    for (let seed = 0; seed < 10; seed++) {
      const how = { ...ORDINARY, seed, batchRecords, tickMs: 1, delayMs: seed % 3 };
      await check(p.definition, new Map([["m", given]]), how, 1_000);
    }
  }
});
