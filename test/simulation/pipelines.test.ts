import { isDeepStrictEqual } from "node:util";
import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { pipeline } from "../../src/pipeline/pipeline.ts";
import {
  check,
  delivered,
  expectedOf,
  expectLog,
  expectOutputs,
  marksOf,
  ORDINARY,
  STAGE_RECORDS_MOST,
  withinReason,
} from "./expectations.ts";
import { type Given, simulate } from "./harness.ts";
import { readLogContent } from "./log-content.ts";
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

describe("a running pipeline", () => {
  test(
    "gives the reference's outputs in the reference's order, however it is run",
    async () => {
      await fc.assert(
        fc.asyncProperty(pipelineWords, inputWords, circumstances, async (words, input, how) => {
          const definition = definitionOf(words);
          const inputs = inputsOf(definition, input, true);
          const outcome = await check(definition, inputs, how, STAGE_RECORDS_MOST);
          expect(outcome.restarts).toEqual([]);
        }),
        runs(50),
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
            const inputs = inputsOf(definition, input, true);
            await check(definition, inputs, { ...how, ...wrong, interruptions: befalls }, STAGE_RECORDS_MOST);
          },
        ),
        runs(50),
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
      for (let seed = 0; seed < 15; seed++) {
        await check(p.definition, new Map([["m", given]]), {
          ...ORDINARY,
          seed,
          batchRecords: 2,
          delayMs: 5,
          interruptions: [45, 25, 20].map((at) => ({ kind: "stop", at })),
        });
      }
    },
    TIMEOUT_MS,
  );

  test(
    "assigns again what fails while an assignment is being recorded",
    async () => {
      const p = pipeline("p", { partitions: 8 });
      p.source<undefined>("m")
        .map("first", (record) => record)
        .keyBy("by-k", (record) => (record as Item).k)
        .map("second", (record) => record)
        .sink("out");
      const given = Array.from({ length: 200 }, (_, v) => ({ value: { k: v % 9, v }, ordinal: v + 1 }));
      for (let seed = 0; seed < 12; seed++) {
        const outcome = await check(p.definition, new Map([["m", given]]), {
          ...ORDINARY,
          seed,
          nodes: 4,
          batchRecords: 8,
          delayMs: 40,
          losses: [60, 64, 68].map((at) => at + seed),
          failures: [20, 26, 32, 38, 44, 50].map((at) => ({ at: at + seed, made: at % 4 === 0 })),
        });
        expect(outcome.restarts.length).toBeGreaterThan(2);
      }
    },
    TIMEOUT_MS,
  );

  test(
    "gives a lost node's partitions away while its claims are on their way",
    async () => {
      const p = pipeline("p", { partitions: 8 });
      p.source<undefined>("m")
        .map("first", (record) => record)
        .sink("out");
      const given = Array.from({ length: 20 }, (_, v) => ({ value: { k: v % 9, v }, ordinal: v + 1 }));
      for (let at = 3; at <= 30; at++) {
        const outcome = await check(p.definition, new Map([["m", given]]), {
          ...ORDINARY,
          seed: at,
          nodes: 3,
          delayMs: 400,
          losses: [at],
        });
        expect(outcome.restarts).toEqual([]);
      }
    },
    TIMEOUT_MS,
  );

  test(
    "comes to its end whenever a process dies and another brings the state back",
    async () => {
      const p = pipeline("p", { partitions: 4 });
      p.source<undefined, number>("m", { key: (record) => (record as Item).k })
        .reduce("sums", {
          init: () => 0,
          step: (sum, record) => sum + (record as Item).v,
          emit: (sum) => ({ sum }),
        })
        .sink("out");
      // The first keys have no records later on: their partitions have only promises to pass on.
      const given = Array.from({ length: 12 }, (_, v) => ({
        value: { k: v < 6 ? v % 3 : 3, v },
        ordinal: 3 * v,
      }));
      for (let at = 15; at <= 45; at++) {
        for (const made of [false, true]) {
          const interruptions = [{ kind: "crash", at, made }] as const;
          await check(p.definition, new Map([["m", given]]), {
            ...ORDINARY,
            seed: at,
            batchRecords: 3,
            interruptions,
          });
        }
      }
    },
    TIMEOUT_MS,
  );

  test(
    "comes to its end when doors hear of each other's promises late",
    async () => {
      const p = pipeline("p", { partitions: 1 });
      p.source("a");
      p.source("b").sink("out");
      p.source("c");
      const given = [2, 3, 4].map((ordinal) => ({ value: { k: 0, v: ordinal }, ordinal }));
      for (let seed = 0; seed < 60; seed++) {
        await check(p.definition, new Map([["a", given]]), { ...ORDINARY, seed, tickMs: 1, delayMs: 30 });
      }
    },
    TIMEOUT_MS,
  );

  test(
    "takes smaller batches where the steps of one are more than an append may hold",
    async () => {
      const p = pipeline("p", { partitions: 1 });
      p.source<undefined>("m")
        .flatMap("many", (record) =>
          Array.from({ length: 1_000 }, (_, index) => (record as Item).v * 1_000 + index),
        )
        .filter("few", (value) => value % 200 === 0)
        .sink("out");
      const given = Array.from({ length: 40 }, (_, v) => ({ value: { k: 0, v }, ordinal: v + 1 }));
      const outcome = await check(p.definition, new Map([["m", given]]), { ...ORDINARY, batchRecords: 64 });
      expect(outcome.restarts).toHaveLength(1);
      expect(outcome.restarts[0]).toContain("partition:many.0");
    },
    TIMEOUT_MS,
  );

  test(
    "merges more records than its queues hold",
    async () => {
      const p = pipeline("p", { partitions: 1 });
      const [a, b] = [p.source("a"), p.source("b")];
      p.union("both", a, b)
        .filter("some", (record) => (record as Item).v % 50 === 0)
        .sink("out");
      const given = (rest: number) =>
        Array.from({ length: 6_000 }, (_, v) => ({ value: { k: rest, v }, ordinal: 2 * v + rest }));
      // The second source is far behind the first one for a while: all of that one's first records come before.
      const late = given(1).map(({ value, ordinal }) => ({ value, ordinal: ordinal + 9_000 }));
      await check(
        p.definition,
        new Map([
          ["a", given(0)],
          ["b", late],
        ]),
        { ...ORDINARY, batchRecords: 512, delayMs: 3 },
      );
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
          async (words, input, one, another, befalls, wrong) => {
            const definition = definitionOf(words);
            const inputs = inputsOf(definition, input, true);
            await withinReason(definition, inputs);
            const { keepOpen } = one;
            const first = await simulate(definition, inputs, one);
            const second = await simulate(definition, inputs, {
              ...another,
              ...wrong,
              keepOpen: keepOpen ?? false,
              interruptions: befalls,
            });
            const [content, other] = [await readLogContent(first.log), await readLogContent(second.log)];
            if (befalls.some(({ kind }) => kind === "stop"))
              fc.pre(isDeepStrictEqual(marksOf(other), marksOf(content)));
            expect(other).toEqual(content);
            const mayRepeat = befalls.some(({ kind }) => kind === "crash");
            for (const { name } of definition.sinks) {
              expect(delivered(name, second, mayRepeat)).toEqual(delivered(name, first, false));
            }
          },
        ),
        runs(40),
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
          fc.array(fc.record({ kind: fc.constant("stop" as const), at: fc.integer({ min: 1, max: 60 }) }), {
            maxLength: 2,
          }),
          async (words, input, how, befalls) => {
            // Nothing is refused, so that the sender can tell by N where to go on.
            const sources = words.sources.map((source) => ({
              ...source,
              keyed: false,
              identified: false,
              // A source that is silent for a while holds nobody up.
              ...(source.timed && { idleAfterMs: 7 }),
            }));
            const definition = definitionOf({ ...words, sources });
            const inputs = inputsOf(
              definition,
              input.map((record) => ({ ...record, v: record.v % 59 })),
              false,
            );
            const outcome = await simulate(definition, inputs, {
              ...how,
              stepBackMs: 500,
              interruptions: befalls,
            });
            const content = await readLogContent(outcome.log);
            const given = new Map<string, readonly Given[]>();
            for (const [source, records] of inputs) {
              const rows = content.sources[`source_p.${source}`] ?? [];
              expect(rows).toHaveLength(records.length);
              given.set(
                source,
                records.map((record, at) => ({ ...record, ordinal: rows[at]?.ordinal ?? 0 })),
              );
            }
            // Who stops in good order leaves nothing behind that could fence off the next owner.
            expect(outcome.restarts).toEqual([]);
            // In each source's order, and merged in the order of the ordinals that the log has.
            const expected = await expectedOf(definition, given, {
              marks: marksOf(content),
              keepOpen: how.keepOpen ?? false,
              most: STAGE_RECORDS_MOST,
            });
            expectOutputs(outcome, expected);
            await expectLog(outcome, expected);
          },
        ),
        runs(40),
      );
    },
    TIMEOUT_MS,
  );
});
