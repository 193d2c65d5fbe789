import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { planPipeline } from "../../src/pipeline/plan.ts";
import { reusableSegments } from "../../src/runtime/fork-reuse.ts";
import type { SelectionQuery } from "../../src/runtime/selection.ts";
import { ORDINARY, withinReason } from "./expectations.ts";
import {
  diffIn,
  failuresIn,
  historyOf,
  naiveDiff,
  outputsIn,
  refusedNow,
  simulateFork,
  throughOf,
} from "./fork-runs.ts";
import { type Given, simulate } from "./harness.ts";
import { acceptedOrdinals } from "./log-content.ts";
import { assertMet, runs, timeLimit, withoutWarnings } from "./property-runs.ts";
import {
  beginningAt,
  circumstances,
  definitionOf,
  inputsOf,
  inputWords,
  interruptions,
  mishaps,
  pipelineWords,
  withoutSamples,
} from "./random-pipelines.ts";
import type { PipelineWords, StageWords } from "./random-words.ts";

const TIMEOUT_MS = timeLimit(600_000);

withoutWarnings();

const REFUSED = { quarantined: true };

/** What is made of one of a pipeline's stages; another pipeline has the same sources and partitions. */
interface Change {
  readonly stage: number;
  readonly to: Pick<StageWords, "variant" | "fails" | "how">;
}

const change: fc.Arbitrary<Change> = fc.record({
  stage: fc.nat(8),
  to: fc.record({ variant: fc.nat(11), fails: fc.constantFrom(0, 0, 3, 5), how: fc.nat(2) }),
});

function changed(words: PipelineWords, { stage, to }: Change): PipelineWords {
  const { stages } = words;
  return {
    ...words,
    stages: stages.map((one, at) => (at === stage % stages.length ? { ...one, ...to } : one)),
  };
}

/** A chain of maps, filters and flatMaps, with every record kept of every stage. */
function keptWhole(words: PipelineWords): PipelineWords {
  const simple = (one: StageWords, at: number): StageWords => {
    const kind = (["map", "filter", "flatMap"] as const)[(one.variant + at) % 3] ?? "map";
    return { ...one, kind, inputs: [-1, ...one.inputs.slice(1)], capture: { capture: "all" } };
  };
  const sources = words.sources.map((source) => ({ ...source, capture: {} }));
  return { ...words, sources, stages: words.stages.map(simple) };
}

function before(inputs: ReadonlyMap<string, readonly Given[]>, from: number): Map<string, readonly Given[]> {
  return new Map(
    [...inputs].map(([name, given]) => [name, given.filter(({ ordinal = 0 }) => ordinal < from)]),
  );
}

describe("a fork", () => {
  test(
    "gives what the changed pipeline gives for the same input, whatever befalls it",
    async () => {
      await fc.assert(
        fc.asyncProperty(
          pipelineWords.map(withoutSamples),
          change,
          inputWords,
          circumstances,
          interruptions,
          mishaps,
          async (words, other, input, how, befalls, { failures }) => {
            const ran = definitionOf(words);
            const definition = definitionOf(changed(words, other));
            const given = inputsOf(ran, input, true);
            await withinReason(ran, given);
            await withinReason(definition, given);
            const { log } = await simulate(ran, given, ORDINARY);
            const to = await throughOf(log, ran);
            const fork = {
              log,
              ran,
              definition,
              id: "f",
              from: 0,
              to,
              circumstances: { ...how, failures, interruptions: befalls },
            };
            await simulateFork(fork);
            const expected = await simulate(definition, given, ORDINARY);
            for (const { name } of definition.sinks) {
              const made = await outputsIn(log, "p~f", definition, name, 0, to);
              const wanted = await outputsIn(expected.log, "p", definition, name, 0, to);
              expect(made).toEqual(wanted);
              const was = await outputsIn(log, "p", ran, name, 0, to);
              const { counts, differences } = await diffIn(fork, name);
              const naive = naiveDiff(was, made);
              expect(counts).toEqual(naive.counts);
              const found = differences.map(({ ordinal, key, kind, before, after }) => [
                `${ordinal} ${key}`,
                { kind, before, after },
              ]);
              expect(new Map(found as [string, unknown][])).toEqual(naive.found);
            }
          },
        ),
        runs(40),
      );
    },
    TIMEOUT_MS,
  );

  test(
    "that begins in the middle goes on from the state of then, as if it had been deployed there",
    async () => {
      await fc.assert(
        fc.asyncProperty(
          pipelineWords.map(withoutSamples),
          change,
          inputWords,
          circumstances,
          interruptions,
          fc.nat({ max: 60 }),
          async (words, other, input, how, befalls, share) => {
            const ran = definitionOf(words);
            const definition = definitionOf(changed(words, other));
            const given = inputsOf(ran, input, true);
            await withinReason(ran, given);
            await withinReason(definition, given);
            const { log } = await simulate(ran, given, ORDINARY);
            const to = await throughOf(log, ran);
            const ordinals = [...given.values()].flat().map(({ ordinal = 0 }) => ordinal);
            const from = ordinals[Math.floor((ordinals.length * share) / 60)] ?? to;
            const kept = new Set(definition.stages.map(({ name }) => name));
            fc.pre(from > 0 && from <= to && ran.stages.every(({ name }) => kept.has(name)));
            // A source that has ended before has let windows give what they had; where it is deployed then, it has not.
            const goOn = (some: readonly Given[]) => some.some(({ ordinal = 0 }) => ordinal >= from);
            fc.pre([...given.values()].every(goOn));
            await simulateFork({
              log,
              ran,
              definition,
              id: "f",
              from,
              to,
              circumstances: { ...how, interruptions: befalls },
            });
            expect(await failuresIn(log)).toEqual([]);
            const { log: early } = await simulate(ran, before(given, from), { ...ORDINARY, keepOpen: true });
            const late = await simulate(definition, given, ORDINARY, early);
            for (const { name } of definition.sinks) {
              const made = await outputsIn(log, "p~f", definition, name, from, to);
              const wanted = await outputsIn(late.log, "p", definition, name, from, to);
              expect(made).toEqual(wanted);
            }
          },
        ),
        runs(40),
      );
    },
    TIMEOUT_MS,
  );

  test(
    "that takes what is unchanged from what was recorded gives the same as one that runs everything",
    async () => {
      let reused = 0;
      let cuts = 0;
      let told = 0;
      let refusals = 0;
      await assertMet(
        fc.asyncProperty(
          fc.oneof(
            pipelineWords.map(withoutSamples),
            pipelineWords.map(keptWhole),
            pipelineWords.map(keptWhole),
          ),
          change,
          inputWords,
          circumstances,
          fc.constantFrom(0, 0, 20, 40),
          async (words, other, input, how, share) => {
            const ran = definitionOf(words);
            const definition = definitionOf(changed(words, other));
            const given = inputsOf(ran, input, true);
            await withinReason(ran, given);
            await withinReason(definition, given);
            const { log } = await simulate(ran, given, ORDINARY);
            const to = await throughOf(log, ran);
            const from = beginningAt(given, share);
            const kept = new Set(definition.stages.map(({ name }) => name));
            fc.pre(from <= to && (from === 0 || ran.stages.every(({ name }) => kept.has(name))));
            const at = other.stage % words.stages.length;
            const own = `${words.stages[at]?.name}${at}`;
            const reuse = await reusableSegments({
              log,
              history: await historyOf(log, "p", ran),
              plan: planPipeline(definition),
              bundle: undefined,
              runtime: { headwater: "0", node: "0", v8: "0", icu: "0", timeZone: "UTC" },
              from,
              to,
              sameFunctions: async (_, name) => name !== own && !name.startsWith(`${own}-`),
            });
            reused += reuse.reused.length;
            cuts += reuse.cuts.length;
            const common = { log, ran, definition, from, to };
            const full = { ...common, id: "full", circumstances: ORDINARY };
            const part = { ...common, id: "part", ...reuse, circumstances: how };
            await simulateFork(full);
            await simulateFork(part);
            const records: SelectionQuery[] = [];
            for (const name of given.keys()) {
              const accepted = await acceptedOrdinals(log, "p", name);
              if (accepted.length > 0) records.push({ record: `source_p.${name}@0` });
            }
            for (const { name } of definition.sinks) {
              const wanted = await outputsIn(log, "p~full", definition, name, from, to);
              expect(await outputsIn(log, "p~part", definition, name, from, to)).toEqual(wanted);
              // Of everything, and of what a selection tells of.
              for (const only of [undefined, ...records, REFUSED]) {
                const [all, some] = [await diffIn(full, name, only), await diffIn(part, name, only)];
                expect(some).toEqual(all);
                if (only !== undefined) told += Object.values(all.counts).reduce((a, b) => a + b);
              }
            }
            const refused = await refusedNow(full);
            expect(await refusedNow(part)).toEqual(refused);
            refusals += refused.newly.length;
            expect(await failuresIn(log)).toEqual([]);
          },
        ),
        runs(40),
        () => ({ refusals: refusals > 0, reused: reused > 0, cuts: cuts > 0, told: told > 0 }),
      );
    },
    TIMEOUT_MS,
  );
});
