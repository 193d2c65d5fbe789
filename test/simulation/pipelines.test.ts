import fc from "fast-check";
import { afterAll, beforeAll, describe, expect, test, vi } from "vitest";
import type { PipelineDefinition } from "../../src/pipeline/definition.ts";
import { pipeline } from "../../src/pipeline/pipeline.ts";
import { type Circumstances, type Delivery, type Given, type Outcome, simulate } from "./harness.ts";
import { readLogContent } from "./log-content.ts";
import { circumstances, definitionOf, type Item, inputsOf, inputWords, interruptions, mishaps, pipelineWords } from "./random-pipelines.ts";
import { type Expected, reference } from "./reference.ts";

/** How many runs each property gets: `HEADWATER_SIM_RUNS=5000 npx vitest run test/simulation` for a long search. */
const RUNS = Number(process.env["HEADWATER_SIM_RUNS"] ?? 0);
const runs = (short: number) => ({ numRuns: RUNS > 0 ? RUNS : short, endOnFailure: process.env["SIM_QUICK"] !== undefined, ...(process.env["SIM_SEED"] && { seed: Number(process.env["SIM_SEED"]), path: process.env["SIM_PATH"] ?? "" }) });
const TIMEOUT_MS = RUNS > 0 ? 24 * 3_600_000 : 120_000;

const ORDINARY: Circumstances = {
  seed: 1,
  nodes: 2,
  batchRecords: 16,
  tickMs: 10,
  delayMs: 0,
  interruptions: [],
  losses: [],
  failures: [],
};

// XState's development build tells of messages to actors that have stopped.
beforeAll(() => {
  vi.spyOn(console, "warn").mockImplementation(() => {});
});
afterAll(() => {
  vi.restoreAllMocks();
});

/** What the reference cannot know is only compared between runs. */
function comparable({ key, ordinal, value }: Delivery): Delivery {
  if (typeof value !== "object" || value === null) return { key, ordinal, value };
  const { random: _random, uuid: _uuid, ...rest } = value as Record<string, unknown>;
  return { key, ordinal, value: rest };
}

/**
 * What a sink has handed out over all runs: each begins where an earlier one was, and goes on in the order of the
 * whole. Nothing is handed out twice unless a process died.
 */
function delivered(sink: string, outcome: Outcome, mayRepeat: boolean): readonly Delivery[] {
  const all: Delivery[] = [];
  for (const run of outcome.runs) {
    const records = run.get(sink) ?? [];
    const [first] = records;
    if (first === undefined) continue;
    const at = all.findIndex((record) => record.key === first.key);
    if (at >= 0) {
      if (!mayRepeat) throw new Error(`sink ${sink} hands ${first.key} out again`);
      for (const [index, record] of records.entries()) {
        if (all[at + index] === undefined) all.push(record);
        else expect(record).toEqual(all[at + index]);
      }
    } else {
      all.push(...records);
    }
  }
  return all;
}

function expectOutputs(outcome: Outcome, expected: Expected, mayRepeat = false): void {
  for (const [sink, records] of expected.sinks) {
    expect(delivered(sink, outcome, mayRepeat).map(comparable)).toEqual(records.map(comparable));
    expect(new Set(records.map(({ key }) => key)).size).toBe(records.length);
  }
}

async function expectQuarantined(outcome: Outcome, expected: Expected): Promise<void> {
  const counts = new Map([...expected.quarantined.keys()].map((stage) => [stage, 0]));
  const { partitions } = await readLogContent(outcome.log);
  for (const { quarantined } of Object.values(partitions).flat()) {
    for (const { stage } of quarantined) counts.set(stage, (counts.get(stage) ?? 0) + 1);
  }
  expect(counts).toEqual(expected.quarantined);
}

/** Runs it, and checks all that is known of what comes out. */
async function check(
  definition: PipelineDefinition,
  inputs: ReadonlyMap<string, readonly Given[]>,
  how: Circumstances,
): Promise<Outcome> {
  const expected = await reference(definition, inputs);
  const outcome = await simulate(definition, inputs, how);
  const mayRepeat = how.interruptions.some(({ kind }) => kind === "crash");
  expectOutputs(outcome, expected, mayRepeat);
  expect(outcome.refused).toEqual(expected.refused);
  await expectQuarantined(outcome, expected);
  return outcome;
}

describe("a running pipeline", () => {
  test(
    "gives the reference's outputs in the reference's order, however it is run",
    async () => {
      await fc.assert(
        fc.asyncProperty(pipelineWords, inputWords, circumstances, async (words, input, how) => {
          const definition = definitionOf(words);
          const outcome = await check(definition, inputsOf(definition, input, true), how);
          expect(outcome.restarts).toEqual([]);
        }),
        runs(150),
      );
    },
    TIMEOUT_MS,
  );

  test(
    "loses nothing when it is stopped, dies, loses nodes or cannot append at any moment",
    async () => {
      await fc.assert(
        fc.asyncProperty(
          pipelineWords,
          inputWords,
          circumstances,
          interruptions,
          mishaps,
          async (words, input, how, befalls, wrong) => {
            const definition = definitionOf(words);
            await check(definition, inputsOf(definition, input, true), { ...how, ...wrong, interruptions: befalls });
          },
        ),
        runs(150),
      );
    },
    TIMEOUT_MS,
  );

  test(
    "goes on exactly where it was when two branches of one segment meet again",
    async () => {
      const p = pipeline("p", { partitions: 1 });
      const doubled = p.source<undefined>("m").map("double", (record) => record);
      const some = doubled.filter("some", (record) => (record as Item).v % 5 === 0);
      const rare = doubled.filter("rare", (record) => (record as Item).v % 7 === 0);
      p.union("both", some, rare).sink("out");
      p.union("both-again", rare, some).sink("out-again");
      const given = Array.from({ length: 40 }, (_, v) => ({ value: { k: 0, v }, ordinal: v + 1 }));
      for (let at = 10; at < 80; at += 3) {
        await check(p.definition, new Map([["m", given]]), {
          ...ORDINARY,
          seed: at,
          batchRecords: 2,
          delayMs: 5,
          interruptions: [{ kind: "stop", at }],
        });
      }
    },
    TIMEOUT_MS,
  );

  test(
    "writes the same rows, whatever batches, nodes, delays and interruptions there are",
    async () => {
      await fc.assert(
        fc.asyncProperty(
          pipelineWords,
          inputWords,
          circumstances,
          circumstances,
          interruptions,
          mishaps,
          async (words, input, one, other, befalls, wrong) => {
            const definition = definitionOf(words);
            const inputs = inputsOf(definition, input, true);
            const first = await simulate(definition, inputs, one);
            const second = await simulate(definition, inputs, { ...other, ...wrong, interruptions: befalls });
            expect(await readLogContent(second.log)).toEqual(await readLogContent(first.log));
            const mayRepeat = befalls.some(({ kind }) => kind === "crash");
            for (const { name } of definition.sinks) {
              expect(delivered(name, second, mayRepeat)).toEqual(delivered(name, first, false));
            }
          },
        ),
        runs(100),
      );
    },
    TIMEOUT_MS,
  );

  test(
    "keeps every record, and each source's order, when clocks step back",
    async () => {
      await fc.assert(
        fc.asyncProperty(
          pipelineWords,
          inputWords,
          circumstances,
          fc.array(fc.record({ kind: fc.constant("stop" as const), at: fc.integer({ min: 1, max: 60 }) }), { maxLength: 2 }),
          async (words, input, how, befalls) => {
            // Nothing is refused, so that the sender can tell by N where to go on.
            const sources = words.sources.map((source) => ({ ...source, keyed: false, identified: false }));
            const definition = definitionOf({ ...words, sources });
            const inputs = inputsOf(definition, input.map((record) => ({ ...record, v: record.v % 59 })), false);
            const outcome = await simulate(definition, inputs, { ...how, stepBackMs: 500, interruptions: befalls });
            const content = await readLogContent(outcome.log);
            const given = new Map<string, readonly Given[]>();
            for (const [source, records] of inputs) {
              const rows = content.sources[`source_p.${source}`] ?? [];
              expect(rows).toHaveLength(records.length);
              given.set(source, records.map((record, at) => ({ ...record, ordinal: rows[at]?.ordinal ?? 0 })));
            }
            // In each source's order, and merged in the order of the ordinals that the log has.
            expectOutputs(outcome, await reference(definition, given));
          },
        ),
        runs(100),
      );
    },
    TIMEOUT_MS,
  );
});
