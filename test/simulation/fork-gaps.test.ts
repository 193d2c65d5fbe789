import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { pipeline } from "../../src/pipeline/pipeline.ts";
import { isBroken } from "../../src/runtime/fork-gaps.ts";
import { ORDINARY, withinReason } from "./expectations.ts";
import { diffIn, failuresIn, lostIn, simulateFork, throughOf } from "./fork-runs.ts";
import { simulate } from "./harness.ts";
import { letGo, windowLeft } from "./letting-go.ts";
import { assertMet, runs, timeLimit, withoutWarnings } from "./property-runs.ts";
import {
  beginningAt,
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

describe("a fork of a history of which samples are kept", () => {
  test(
    "finds no difference where nothing was changed, but in what it says that it cannot compare",
    async () => {
      let broken = 0;
      let same = 0;
      let unverifiable = 0;
      const property = fc.asyncProperty(
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
          const asked = beginningAt(given, share);
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
          expect(await failuresIn(log)).toEqual([]);
        },
      );
      await assertMet(property, runs(40), () => ({
        broken: broken > 0,
        same: same > 0,
        unverifiable: unverifiable > 0,
      }));
      // A window has no state to begin with, though of its own source nothing is missing from there on.
      await fc.assert(property, { seed: 2058314220, path: "2356", numRuns: 1 });
    },
    TIMEOUT_MS,
  );

  test("begins behind the last record of a source of which none is left", async () => {
    const p = pipeline("p", { partitions: 1 });
    p.source("often").sink("out");
    p.source("once").sink("other");
    const { definition } = p;
    const given = new Map([
      ["often", Array.from({ length: 20 }, (_, v) => ({ value: { v }, ordinal: 10 * v + 1 }))],
      ["once", [{ value: { v: 0 }, ordinal: 100 }]],
    ]);
    const { log } = await simulate(definition, given, { ...ORDINARY, batchRecords: 4 });
    const to = await throughOf(log, definition);
    expect((await windowLeft(log, definition, { from: 0, to }))?.from).toBe(0);
    // What is left of it says no more than that it had a record.
    const ended = await log.streamInfo("source_p.once");
    await log.setMetadata("source_p.once", { truncateBefore: ended?.lastRevision ?? 0 });
    const left = await windowLeft(log, definition, { from: 0, to });
    expect(left?.from ?? Number.POSITIVE_INFINITY).toBeGreaterThan(100);
  });

  test(
    "does not tell of what is missing where it begins, either",
    async () => {
      const p = pipeline("p", { partitions: 1 });
      p.source("none", { capture: "none" }).sink("others");
      p.source<undefined>("some", { capture: "all", sample: 0.4 })
        .map("same", (record) => record)
        .sink("out");
      const { definition } = p;
      let missing = 0;
      // Where it begins is where the source ends of which nothing is kept.
      for (let count = 1; count <= 15; count++) {
        const records = (length: number, first: number) =>
          Array.from({ length }, (_, v) => ({ value: { v }, ordinal: 2 * v + first }));
        const given = new Map([
          ["none", records(count, 1)],
          ["some", records(30, 2)],
        ]);
        const { log } = await simulate(definition, given, { ...ORDINARY, batchRecords: 4 });
        const to = await throughOf(log, definition);
        await letGo(log, definition, {});
        const left = await windowLeft(log, definition, { from: 0, to });
        if (left === undefined) throw new Error("nothing is left to run");
        const fork = { log, ran: definition, definition, id: "f", to, ...left, circumstances: ORDINARY };
        await simulateFork(fork);
        const { differences } = await diffIn(fork, "out");
        expect(differences).toEqual([]);
        const again = await lostIn({ log, ran: definition, definition, from: left.from, to });
        if (again.begin > left.from) missing++;
      }
      expect(missing).toBeGreaterThan(0);
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
      await assertMet(
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
            const asked = beginningAt(given, share);
            fc.pre(asked <= to);
            const left = await windowLeft(log, definition, { from: asked, to });
            if (left === undefined) {
              nothing++;
              return;
            }
            const { from, gaps } = left;
            if (from > asked) later++;
            const fork = {
              ...{ log, ran: definition, definition, from, to, id: "f", newEffects: "refused" as const },
              ...(gaps && { gaps }),
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
        () => ({ later: later > 0, nothing: nothing > 0, same: same > 0 }),
      );
    },
    TIMEOUT_MS,
  );
});
