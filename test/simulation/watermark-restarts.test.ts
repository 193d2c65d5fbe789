import { expect, test } from "vitest";
import { sum } from "../../src/pipeline/aggregates.ts";
import type { PipelineDefinition } from "../../src/pipeline/definition.ts";
import { pipeline } from "../../src/pipeline/pipeline.ts";
import { tumbling } from "../../src/pipeline/windows.ts";
import { type Circumstances, type Delivery, type Given, simulate } from "./harness.ts";
import { withoutWarnings } from "./property-runs.ts";

interface Reading {
  readonly from: string;
  readonly to: string;
  readonly time: number;
}

const HOW: Circumstances = {
  seed: 3,
  nodes: 1,
  batchRecords: 3,
  tickMs: 5,
  delayMs: 30,
  interruptions: [],
  losses: [],
  failures: [],
};

/** All records come in on one partition: the others only say how far event time has come. */
function readings(): PipelineDefinition {
  const p = pipeline("p", { partitions: 3 });
  p.source<undefined, string>("readings", {
    key: (record) => (record as Reading).from,
    eventTime: (record) => (record as Reading).time,
  })
    .reduce("seen", {
      init: () => 0,
      step: (seen: number) => seen + 1,
      emit: (seen, _from, record) => ({ ...(record as Reading), seen }),
    })
    .keyBy("by-target", (record) => record.to)
    .window("sums", tumbling(4_000), {
      aggregate: sum((record) => record.seen),
      emit: (seen, { key, start }) => ({ key, start, seen }),
    })
    .sink("out");
  return p.definition;
}

const GIVEN: ReadonlyMap<string, readonly Given[]> = new Map([
  [
    "readings",
    Array.from({ length: 40 }, (_, index) => ({
      value: { from: "one", to: `t${index % 5}`, time: 1_000 * index },
      ordinal: 10 * (index + 1),
    })),
  ],
]);

withoutWarnings();

test("windows fire at the same place among the records wherever a process dies", async () => {
  const whole = (await simulate(readings(), GIVEN, HOW)).runs[0]?.get("out") ?? [];
  expect(whole.length).toBeGreaterThan(30);
  for (let at = 5; at < 120; at += 3) {
    const interruptions = [{ kind: "crash", at, made: at % 2 === 0 } as const];
    const outcome = await simulate(readings(), GIVEN, { ...HOW, interruptions });
    const delivered = new Map<string, Delivery>();
    for (const run of outcome.runs)
      for (const record of run.get("out") ?? []) delivered.set(record.key, record);
    expect([...delivered.values()], `died at append ${at}`).toEqual(whole);
  }
});
