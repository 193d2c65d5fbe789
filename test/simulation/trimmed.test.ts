import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { emptyTally } from "../../projections/audit.ts";
import { createSystemClock } from "../../src/adapters/system/clock.ts";
import { auditLog } from "../../src/app/audit.ts";
import { decodeDeltas } from "../../src/core/columns.ts";
import { decodeEvent } from "../../src/core/event-codec.ts";
import type { PipelineDeployed } from "../../src/core/events.ts";
import { type Plan, planPipeline } from "../../src/pipeline/plan.ts";
import type { EventLog } from "../../src/ports/event-log.ts";
import { DeploymentHistory } from "../../src/runtime/deployment-history.ts";
import { checkPartition } from "../../src/runtime/history-check.ts";
import { reexecuteSample } from "../../src/runtime/sampled-reexecution.ts";
import { type WindowInputs, windowInputs } from "../../src/runtime/window-inputs.ts";
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

/** What of a partition is verified, and what is in it. */
interface PartOfLog {
  readonly stream: string;
  /** Of all its inputs. */
  readonly ordinals: readonly number[];
  readonly from: number;
  readonly to: number;
  readonly known: WindowInputs | undefined;
}

/** Everything, or the middle of each partition, found while all of it is there. */
async function partsOf(
  log: EventLog,
  of: Pick<DeploymentHistory, "pipeline" | "all">,
  plan: Plan,
  isMiddle: boolean,
): Promise<PartOfLog[]> {
  const all = new Map<string, number[]>();
  for await (const recorded of log.readAll()) {
    const { type, data } = decodeEvent(recorded);
    if (type !== "StepsRecorded" || data.ordinals === undefined) continue;
    const known = all.get(recorded.stream) ?? [];
    all.set(recorded.stream, known);
    known.push(...decodeDeltas(data.ordinals, data.count));
  }
  const parts: PartOfLog[] = [];
  for (const { name: segment } of plan.segments) {
    for (let partition = 0; partition < plan.definition.partitions; partition++) {
      const stream = `steps_p.${segment}.${String(partition).padStart(4, "0")}`;
      const ordinals = all.get(stream) ?? [];
      const whole = { stream, ordinals, from: 0, to: Number.MAX_SAFE_INTEGER };
      const from = ordinals[Math.floor(ordinals.length / 4)] ?? whole.from;
      const to = ordinals[Math.floor((ordinals.length * 3) / 4)] ?? whole.to;
      const known = await windowInputs(log, of, { segment, partition }, { from, to });
      parts.push(isMiddle ? { ...whole, from, to, known } : { ...whole, known: undefined });
    }
  }
  return parts;
}

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
            const known = await DeploymentHistory.read(log, { bundle: never, load: never }, "p");
            if (known === undefined) throw new Error("nothing was deployed");
            const plan = planPipeline(definition);
            const of = { pipeline: "p", all: known.all };
            const parts = (await partsOf(log, of, plan, how.seed % 2 === 0)).values();
            const trimmed = await TrimmedLog.of(log, definition, how.seed);
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
                const { stream, ordinals, from, to, known } = parts.next().value as PartOfLog;
                const window = { from, to };
                // All of it, or a part of which it was known beforehand what is in it.
                const unit = { segment, partition };
                const inputs = known ?? (await windowInputs(trimmed.log, of, unit, window));
                const isIn = (ordinal: number) => from <= ordinal && ordinal <= to;
                let left = ordinals.filter(isIn).length;
                const pieces = checkPartition({
                  ...{ ...query, ...window, inputs },
                  onGone: ({ address, inputs: count }) => {
                    const n = Number(address.split("@")[1]);
                    expect(ordinals.slice(n, n + 1).every(isIn), address).toBe(true);
                    inputsGone += count;
                    left -= count;
                  },
                  onPiece: ({ rows }) => {
                    left -= rows.ordinals.filter(isIn).length;
                  },
                });
                for await (const piece of pieces) {
                  expect(piece.first).toBeUndefined();
                  steps += piece.steps;
                }
                // Each was compared, or is gone.
                expect(left, stream).toBe(0);
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
