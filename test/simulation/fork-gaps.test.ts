import fc from "fast-check";
import { describe, expect, test } from "vitest";
import type { MemoryLog } from "../../src/adapters/memory/log.ts";
import { auditLog } from "../../src/app/audit.ts";
import { isHeadwaterError } from "../../src/core/errors.ts";
import type { RetentionPolicy } from "../../src/core/events.ts";
import type { PipelineDefinition } from "../../src/pipeline/definition.ts";
import { planPipeline } from "../../src/pipeline/plan.ts";
import { isBroken } from "../../src/runtime/fork-gaps.ts";
import { keptWindow, servedWindow } from "../../src/runtime/fork-window.ts";
import { Retention } from "../../src/runtime/retention.ts";
import { setPolicy } from "../../src/runtime/retention-policy.ts";
import { CountTarget } from "../../src/runtime/sink-targets.ts";
import { ORDINARY, withinReason } from "./expectations.ts";
import { diffIn, historyOf, lostIn, simulateFork, throughOf } from "./fork-runs.ts";
import { simulate } from "./harness.ts";
import { runs, timeLimit, withoutWarnings } from "./property-runs.ts";
import {
  circumstances,
  definitionOf,
  inputsOf,
  inputWords,
  interruptions,
  pipelineWords,
  withoutSamples,
} from "./random-pipelines.ts";

const TIMEOUT_MS = timeLimit(600_000);

withoutWarnings();

const BOUND = fc.integer({ min: 1, max: 60 }).map((events) => ({ events }));
const NEVER = new AbortController().signal;
const NO_CLOCK = { now: () => 0, monotonic: () => 0, setTimeout: () => () => {} };

describe("a fork of a history of which samples are kept", () => {
  test(
    "finds no difference where nothing was changed, but in what it says that it cannot compare",
    async () => {
      let broken = 0;
      let same = 0;
      let unverifiable = 0;
      await fc.assert(
        fc.asyncProperty(
          pipelineWords,
          inputWords,
          circumstances,
          interruptions,
          fc.constantFrom(0, 0, 20, 40),
          async (words, input, how, befalls, share) => {
            const definition = definitionOf(words);
            const given = inputsOf(definition, input, true);
            await withinReason(definition, given);
            const { log } = await simulate(definition, given, ORDINARY);
            const to = await throughOf(log, definition);
            const ordinals = [...given.values()].flat().map(({ ordinal = 0 }) => ordinal);
            const asked = share === 0 ? 0 : (ordinals[Math.floor((ordinals.length * share) / 60)] ?? 0);
            fc.pre(asked <= to);
            const lost = await lostIn({ log, ran: definition, definition, from: asked, to });
            const from = lost.begin;
            const gaps = isBroken(lost);
            // Where nothing is missing, there is nothing to look at here; nor where nothing is left.
            fc.pre(gaps && from <= to);
            broken++;
            const fork = {
              ...{ log, ran: definition, definition, from, to, gaps, id: "f" },
              circumstances: { ...how, interruptions: befalls },
            };
            await simulateFork(fork);
            for (const { name } of definition.sinks) {
              const { counts, differences } = await diffIn(fork, name);
              expect(differences).toEqual([]);
              same += counts.same;
              unverifiable += counts.unverifiable ?? 0;
            }
            const audited = await auditLog(log, { checkpoints: [] });
            expect(audited.checks.flatMap(({ failures }) => failures)).toEqual([]);
          },
        ),
        runs(40),
      );
      expect(broken).toBeGreaterThan(0);
      expect(same).toBeGreaterThan(0);
      expect(unverifiable).toBeGreaterThan(0);
    },
    TIMEOUT_MS,
  );
});

describe("a fork of a history whose beginning was let go of", () => {
  test(
    "begins where all that it needs is kept, and finds no difference from there on",
    async () => {
      let later = 0;
      let nothing = 0;
      let same = 0;
      await fc.assert(
        fc.asyncProperty(
          pipelineWords,
          inputWords,
          circumstances,
          interruptions,
          fc.record({ payload: BOUND, steps: BOUND, effects: BOUND, state: BOUND }, { requiredKeys: [] }),
          fc.constantFrom(0, 0, 10),
          async (words, input, how, befalls, policy, share) => {
            const definition = definitionOf(withoutSamples(words));
            const given = inputsOf(definition, input, true);
            await withinReason(definition, given);
            const { log } = await simulate(definition, given, { ...ORDINARY, batchRecords: 4 });
            const to = await throughOf(log, definition);
            await letGo(log, definition, policy);
            const ordinals = [...given.values()].flat().map(({ ordinal = 0 }) => ordinal);
            const asked = share === 0 ? 0 : (ordinals[Math.floor((ordinals.length * share) / 60)] ?? 0);
            fc.pre(asked <= to);
            const history = await historyOf(log, "p", definition);
            const of = { log, clock: NO_CLOCK, history, plan: planPipeline(definition), signal: NEVER };
            let kept: Awaited<ReturnType<typeof keptWindow>>;
            let served: Awaited<ReturnType<typeof servedWindow>>;
            try {
              kept = await keptWindow(of, { from: asked, to });
              served = await servedWindow(of, kept, []);
            } catch (error) {
              if (!isHeadwaterError(error, "RecordGone")) throw error;
              nothing++;
              return;
            }
            const { from } = served.window;
            if (from > asked) later++;
            const fork = {
              ...{ log, ran: definition, definition, from, to, id: "f", newEffects: "refused" as const },
              ...(kept.gaps && { gaps: true }),
              circumstances: { ...how, interruptions: befalls },
            };
            await simulateFork(fork);
            for (const { name } of definition.sinks) {
              const { counts, differences } = await diffIn(fork, name);
              expect(differences).toEqual([]);
              if (from > asked) same += counts.same;
            }
          },
        ),
        runs(30),
      );
      expect(later).toBeGreaterThan(0);
      expect(nothing).toBeGreaterThan(0);
      expect(same).toBeGreaterThan(0);
    },
    TIMEOUT_MS,
  );
});

/** Lets go of the beginnings of a pipeline's streams, as far as that may be. */
async function letGo(log: MemoryLog, definition: PipelineDefinition, policy: RetentionPolicy): Promise<void> {
  await setPolicy({ log, clock: NO_CLOCK }, definition.name, policy);
  const retention = new Retention({
    ...{ log, clock: NO_CLOCK, plan: planPipeline(definition), deployedFrom: 0, targets: new Map() },
    processes: { host: "lets-go", pid: 1, instance: "lets-go", isAlive: () => false },
    otherTarget: new CountTarget(),
    confirm: async () => {},
  });
  while ((await retention.advance()).length > 0);
}
