import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { emptyTally } from "../../projections/audit.ts";
import { createSystemClock } from "../../src/adapters/system/clock.ts";
import { auditLog } from "../../src/app/audit.ts";
import type { PipelineDeployed } from "../../src/core/events.ts";
import { planPipeline } from "../../src/pipeline/plan.ts";
import { DeploymentHistory } from "../../src/runtime/deployment-history.ts";
import { checkPartition } from "../../src/runtime/history-check.ts";
import { reexecuteSample } from "../../src/runtime/sampled-reexecution.ts";
import { withinReason } from "./expectations.ts";
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
import { TrimmedLog } from "./trimmed-log.ts";

const TIMEOUT_MS = timeLimit(600_000);

withoutWarnings();

const never = () => {
  throw new Error("the code is given");
};

const signal = new AbortController().signal;

describe("a log of which history is let go of while it is read", () => {
  test(
    "is not called wrong by an audit, and what is gone is not called good",
    async () => {
      let advances = 0;
      let gone = 0;
      await assertMet(
        fc.asyncProperty(
          pipelineWords,
          inputWords,
          circumstances,
          interruptions,
          mishaps,
          fc.boolean(),
          async (words, input, how, befalls, wrong, asks) => {
            const definition = definitionOf(words);
            const inputs = inputsOf(definition, input, true);
            await withinReason(definition, inputs);
            const pace = { retentionTickMs: 1_000_000, snapshotEveryMs: 5 };
            const retries = asks ? { retries: [20, 60] } : {};
            const all = { ...how, ...wrong, ...retries, interruptions: befalls, pace, keepOpen: false };
            const { log } = await simulate(definition, inputs, all);
            const trimmed = await TrimmedLog.of(log, definition, how.seed);
            const { checks } = await auditLog(trimmed.log, { checkpoints: [] });
            expect(checks.flatMap(({ name, failures }) => failures.map((one) => ({ name, ...one })))).toEqual(
              [],
            );
            advances += trimmed.advances;
            if (checks.some(({ name, unverifiable }) => name !== "checkpoint" && unverifiable > 0)) gone++;
          },
        ),
        { ...runs(50), endOnFailure: true },
        () => ({ advances: advances > 50, gone: gone > 10 }),
      );
    },
    TIMEOUT_MS,
  );

  test(
    "is run again as far as it is there, and the rest is told as gone",
    async () => {
      let advances = 0;
      let inputsGone = 0;
      let steps = 0;
      let sampled = 0;
      let sampledGone = 0;
      await assertMet(
        fc.asyncProperty(
          pipelineWords,
          inputWords,
          circumstances,
          interruptions,
          mishaps,
          async (words, input, how, befalls, wrong) => {
            const definition = definitionOf(words);
            const inputs = inputsOf(definition, input, true);
            await withinReason(definition, inputs);
            const pace = { retentionTickMs: 1_000_000, snapshotEveryMs: 5 };
            const all = { ...how, ...wrong, interruptions: befalls, pace, keepOpen: false };
            const { log } = await simulate(definition, inputs, all);
            const trimmed = await TrimmedLog.of(log, definition, how.seed);
            const known = await DeploymentHistory.read(trimmed.log, { bundle: never, load: never }, "p");
            if (known === undefined) throw new Error("nothing was deployed");
            const plan = planPipeline(definition);
            const history = {
              pipeline: "p",
              withIdentity: (identity: Uint8Array, through: number) => known.withIdentity(identity, through),
              after: (deployed: PipelineDeployed) => known.after(deployed),
              planOf: async () => plan,
            };
            if (input.length % 3 === 0) {
              const tally = emptyTally();
              const sample = { clock: createSystemClock(), rate: 0.7, seed: "s", signal };
              const all = { ...history, all: known.all } as unknown as DeploymentHistory;
              await reexecuteSample({ log: trimmed.log, history: all, ...sample }, tally);
              expect(tally.failures).toEqual([]);
              sampled += tally.checked;
              sampledGone += tally.unverifiable;
            }
            for (const { name: segment } of plan.segments) {
              for (let partition = 0; partition < definition.partitions; partition++) {
                const query = {
                  log: trimmed.log,
                  clock: createSystemClock(),
                  history,
                  segment,
                  partition,
                  signal,
                };
                const pieces = checkPartition({
                  ...query,
                  from: 0,
                  to: Number.MAX_SAFE_INTEGER,
                  onGone: ({ inputs: count }) => {
                    inputsGone += count;
                  },
                });
                for await (const piece of pieces) {
                  expect(piece.first).toBeUndefined();
                  steps += piece.steps;
                }
              }
            }
            advances += trimmed.advances;
          },
        ),
        { ...runs(60), endOnFailure: true },
        () => ({
          advances: advances > 60,
          inputsGone: inputsGone > 100,
          steps: steps > 100,
          sampled: sampled > 20,
          sampledGone: sampledGone > 20,
        }),
      );
    },
    TIMEOUT_MS,
  );
});
