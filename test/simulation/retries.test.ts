import fc from "fast-check";
import { describe, expect, test } from "vitest";
import type { PipelineDefinition } from "../../src/pipeline/definition.ts";
import { pipeline } from "../../src/pipeline/pipeline.ts";
import {
  expectedOf,
  expectLog,
  expectOutputs,
  marksOf,
  ORDINARY,
  retriesOf,
  STAGE_RECORDS_MOST,
  withinReason,
} from "./expectations.ts";
import { type Circumstances, type Given, simulate } from "./harness.ts";
import { type LogContent, readLogContent } from "./log-content.ts";
import { runs, timeLimit, withoutWarnings } from "./property-runs.ts";
import {
  circumstances,
  definitionOf,
  inputsOf,
  inputWords,
  interruptions,
  mishaps,
  pipelineWords,
} from "./random-pipelines.ts";
import type { Item } from "./random-words.ts";

const TIMEOUT_MS = timeLimit(1_200_000);

withoutWarnings();

/** Runs it with what is put back on the way, and checks all that is known of what comes out. */
async function check(
  definition: PipelineDefinition,
  inputs: ReadonlyMap<string, readonly Given[]>,
  how: Circumstances,
): Promise<LogContent> {
  await withinReason(definition, inputs);
  const outcome = await simulate(definition, inputs, how);
  const content = await readLogContent(outcome.log);
  const retries = retriesOf(content);
  // Everything that was asked for came back, once.
  expect(retries.map(({ item }) => item).sort((a, b) => a - b)).toEqual([...content.retries.keys()]);
  const expected = await expectedOf(definition, inputs, {
    marks: marksOf(content),
    retries,
    keepOpen: how.keepOpen ?? false,
    most: STAGE_RECORDS_MOST,
  });
  const mayRepeat = how.interruptions.some(({ kind }) => kind === "crash");
  expectOutputs(outcome, expected, mayRepeat);
  await expectLog(outcome, expected);
  return content;
}

describe("what is put back from quarantine", () => {
  test(
    "comes in where it failed, once, whatever happens meanwhile",
    async () => {
      await fc.assert(
        fc.asyncProperty(
          pipelineWords,
          inputWords,
          circumstances,
          interruptions,
          mishaps,
          fc.array(fc.integer({ min: 1, max: 150 }), { maxLength: 3 }),
          fc.boolean(),
          async (words, input, how, befalls, wrong, retries, discards) => {
            const definition = definitionOf(words);
            const inputs = inputsOf(definition, input, true);
            await check(definition, inputs, { ...how, ...wrong, interruptions: befalls, retries, discards });
          },
        ),
        runs(40),
      );
    },
    TIMEOUT_MS,
  );

  test(
    "keeps its order among what segments ahead put back, and reduces and windows take it",
    async () => {
      const fails =
        (by: number) =>
        (record: unknown, { root }: { readonly root: string }) => {
          const item = record as Item;
          if (item.v % by === 0 && !root.startsWith("retry_")) throw new Error("not yet");
          return item;
        };
      const p = pipeline("p", { partitions: 2 });
      p.source<undefined>("m", { eventTime: (record) => (record as unknown as Item).t ?? 0 })
        .map("first", fails(3) as never)
        .keyBy("by-k", (record) => (record as Item).k)
        .map("second", fails(4) as never)
        .reduce("sums", {
          init: () => 0,
          step: (sum, record) => (sum as number) + (record as Item).v,
          emit: (sum, k) => ({ k, v: sum }),
        })
        .sink("out");
      const given = Array.from({ length: 60 }, (_, v) => ({
        value: { k: v % 3, v, t: v * 1_000 },
        ordinal: 2 * v + 1,
      }));
      for (let seed = 0; seed < 12; seed++) {
        const content = await check(p.definition, new Map([["m", given]]), {
          ...ORDINARY,
          seed,
          batchRecords: 4,
          delayMs: 5,
          retries: [20 + seed, 45 + seed],
          interruptions: [{ kind: "crash", at: 50 + 3 * seed, made: seed % 2 === 0 }],
        });
        // 20 of the first stage and 15 of the second, of which 5 had failed at the first before.
        expect(content.retries).toHaveLength(30);
      }
    },
    TIMEOUT_MS,
  );
});
