import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { auditLog } from "../../src/app/audit.ts";
import { decodeEventAs } from "../../src/core/event-codec.ts";
import type { RetentionPolicy, StreamAdvance } from "../../src/core/events.ts";
import { pipeline } from "../../src/pipeline/pipeline.ts";
import type { EventLog } from "../../src/ports/event-log.ts";
import { readRefused, refusedOrigin } from "../../src/runtime/quarantine.ts";
import { delivered, expectedOf, expectOutputs, ORDINARY, STAGE_RECORDS_MOST } from "./expectations.ts";
import { simulate } from "./harness.ts";
import { assertMet, runs, timeLimit, withoutWarnings } from "./property-runs.ts";
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

const TIMEOUT_MS = timeLimit(600_000);

withoutWarnings();

const rule = fc.constantFrom(
  { events: 1 },
  { events: 4 },
  { ageMs: 1 },
  { ageMs: 200 },
  { bytes: 500 },
  undefined,
);

const policies: fc.Arbitrary<RetentionPolicy> = fc
  .record({ payload: rule, steps: rule, effects: rule, state: rule })
  .map((policy) => Object.fromEntries(Object.entries(policy).filter(([, bounds]) => bounds !== undefined)));

const paces = fc.record({
  retentionTickMs: fc.constantFrom(1, 7, 40),
  snapshotEveryMs: fc.constantFrom(1, 20, 100),
});

/** What was let go of in a log, by its own word. */
async function letGo(log: EventLog): Promise<StreamAdvance[]> {
  const streams: StreamAdvance[] = [];
  for await (const recorded of log.read("pipeline_p")) {
    if (recorded.type !== "RetentionAdvanced") continue;
    streams.push(...decodeEventAs(recorded, "RetentionAdvanced").streams);
  }
  return streams;
}

/** Addresses of what was refused, with the place in quarantine of each, as those find them who put it back. */
async function refusedIn(log: EventLog): Promise<string[]> {
  const refused: string[] = [];
  for await (const one of readRefused(log, "p")) {
    const origin = await refusedOrigin(log, one);
    refused.push(`${one.address} ${one.firing} of ${origin?.parent} at ${origin?.time}`);
  }
  return refused.sort();
}

describe("what is let go of", () => {
  test(
    "is nothing that anybody needs, whatever befalls those who read",
    async () => {
      let advances = 0;
      await assertMet(
        fc.asyncProperty(
          pipelineWords,
          inputWords,
          circumstances,
          interruptions,
          mishaps,
          policies,
          paces,
          fc.boolean(),
          async (words, input, how, befalls, wrong, retention, pace, asks) => {
            const definition = { ...definitionOf(words), retention };
            const inputs = inputsOf(definition, input, true);
            const expected = await expectedOf(definition, inputs, { most: STAGE_RECORDS_MOST });
            const outcome = await simulate(definition, inputs, {
              ...how,
              ...wrong,
              keepOpen: false,
              ...(asks && { retries: [20, 60] }),
              interruptions: befalls,
              pace,
            });
            if (!asks)
              expectOutputs(
                outcome,
                expected,
                befalls.some(({ kind }) => kind === "crash"),
              );
            const gone = await letGo(outcome.log);
            advances += gone.length;
            if (input.length % 2 === 0) await outcome.log.scavenge();
            const report = await auditLog(outcome.log, { checkpoints: [] });
            expect(report.checks.filter(({ failed }) => failed > 0)).toEqual([]);
            for (const { stream, before } of gone) {
              const info = await outcome.log.streamInfo(stream);
              expect(info?.lastRevision).toBeGreaterThanOrEqual(before);
            }
          },
        ),
        runs(40),
        () => ({ advances: advances > 40 }),
      );
    },
    TIMEOUT_MS,
  );

  test(
    "takes nothing from what is refused: it is found, and put back, without the steps that it came from",
    async () => {
      const p = pipeline("p", { partitions: 2, retention: { steps: { events: 1 }, payload: { events: 1 } } });
      p.source<undefined, number>("in", {
        key: (record) => (record as Item).k,
        eventTime: (record) => (record as Item).v,
      })
        .map("odd", (record, ctx) => {
          if ((record as Item).v % 5 === 0 && !ctx.root.startsWith("retry_")) throw new Error("five");
          return record as Item;
        })
        .keyBy("by", ({ v }) => v % 3)
        .reduce("sum", {
          init: () => 0,
          step: (sum, { v }) => sum + v,
          emit: (sum, _key, { v }) => {
            if (v % 7 === 0) throw new Error("seven");
            return { sum };
          },
        })
        .sink("out");
      const given = Array.from({ length: 400 }, (_, v) => ({ value: { k: v % 4, v }, ordinal: v + 1 }));
      const inputs = new Map([["in", given]]);
      const pace = { retentionTickMs: 1, snapshotEveryMs: 5 };
      const how = { ...ORDINARY, batchRecords: 8, delayMs: 1, pace };
      const outcome = await simulate(p.definition, inputs, how);
      const { retention: _, ...forever } = p.definition;
      const plain = await simulate(forever, inputs, how);
      const gone = await letGo(outcome.log);
      expect(gone.some(({ stream, refused }) => stream.startsWith("steps_") && refused !== undefined)).toBe(
        true,
      );
      const refused = await refusedIn(outcome.log);
      expect(refused.length).toBeGreaterThan(100);
      expect(refused).toEqual(await refusedIn(plain.log));

      const interruptions = [{ kind: "crash", at: 60, made: true }] as const;
      const retried = { ...how, retries: [300], interruptions };
      const back = await simulate(p.definition, inputs, retried);
      const backForever = await simulate(forever, inputs, retried);
      // Which of them is the I-th depends on when it was asked for.
      const kinds = ({ log: _, ...of }: typeof back) => {
        const keys = new Set(delivered("out", { ...of, log: back.log }, true).map(({ key }) => key));
        return [keys.size, [...keys].filter((key) => key.startsWith("retry_")).length];
      };
      expect(kinds(back)).toEqual(kinds(backForever));
      expect((await auditLog(back.log, { checkpoints: [] })).ok).toBe(true);
    },
    TIMEOUT_MS,
  );
});
