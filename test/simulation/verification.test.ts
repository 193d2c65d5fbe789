import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { createSystemClock } from "../../src/adapters/system/clock.ts";
import { beginning, type Verification, type Verified, verifyFrom } from "../../src/app/verification.ts";
import type { EventLog } from "../../src/ports/event-log.ts";
import {
  beginVerification,
  readVerification,
  saveVerification,
  type VerificationState,
} from "../../src/runtime/verification.ts";
import { withinReason } from "./expectations.ts";
import { historyOf } from "./fork-runs.ts";
import { simulate } from "./harness.ts";
import { assertMet, runs, timeLimit, withoutWarnings } from "./property-runs.ts";
import {
  circumstances,
  definitionOf,
  inputsOf,
  inputWords,
  interruptions,
  pipelineWords,
  withoutSamples,
} from "./random-pipelines.ts";
import type { PipelineWords } from "./random-words.ts";

const TIMEOUT_MS = timeLimit(300_000);
const NAME = "p~v";

withoutWarnings();

/** What a stage is given that others have changed was not asked for then, so that nothing is called in the tests here. */
function withoutCalls(words: PipelineWords): PipelineWords {
  const stages = words.stages.map((one) => ({ ...one, variant: one.variant % CALLING_FROM }));
  return { ...words, stages };
}

/** Maps of this variant and later ones call something outside. */
const CALLING_FROM = 10;

/** Kinds of stages whose variants differ in their functions alone. */
const FUNCTIONS: ReadonlySet<string> = new Set(["map", "filter", "flatMap", "reduce"]);

class StoppedHere extends Error {}

function verify(
  log: EventLog,
  history: Verification["history"],
  from: VerificationState,
  onState: (state: VerificationState) => void = () => {},
): Promise<Verified> {
  return verifyFrom(from, {
    surroundings: { clock: createSystemClock() },
    ...{ log, history, window: { from: 0, to: Number.MAX_SAFE_INTEGER } },
    ...{ only: undefined, selection: undefined, records: 0, rate: undefined },
    signal: new AbortController().signal,
    onState,
  });
}

describe("a verification", () => {
  test(
    "comes to the same however often it ends before it is through, whatever it finds",
    async () => {
      let diverged = 0;
      let stopped = 0;
      const property = fc.asyncProperty(
        pipelineWords,
        inputWords,
        circumstances,
        interruptions,
        fc.record({ stage: fc.nat(8), variant: fc.nat(CALLING_FROM - 2) }),
        fc.array(fc.nat({ max: 3 }), { maxLength: 12 }),
        async (words, input, how, befalls, { stage, variant }, stops) => {
          const ran = withoutCalls(withoutSamples(words));
          const definition = definitionOf(ran);
          const inputs = inputsOf(definition, input, true);
          await withinReason(definition, inputs);
          const { log } = await simulate(definition, inputs, { ...how, interruptions: befalls });
          // History is verified by other code than ran, so that there is something to be found.
          const { stages } = ran;
          const changeable = stages.filter(({ kind }) => FUNCTIONS.has(kind));
          const changed = changeable[stage % Math.max(1, changeable.length)];
          const other = stages.map((one) =>
            one === changed ? { ...one, variant: (one.variant + 1 + variant) % CALLING_FROM } : one,
          );
          const otherwise = definitionOf({ ...ran, stages: other });
          await withinReason(otherwise, inputs);
          const history = await historyOf(log, "p", otherwise);
          const { seconds: _, ...whole } = await verify(log, history, beginning(history));
          const clock = createSystemClock();
          expect(await beginVerification(log, clock, NAME, { pipeline: "p", begin: 0, end: 1 })).toBe(true);
          let state = beginning(history);
          for (const stop of stops) {
            let left = stop;
            let last = state;
            try {
              await verify(log, history, state, (now) => {
                last = now;
                if (left-- === 0) throw new StoppedHere();
              });
              break;
            } catch (error) {
              if (!(error instanceof StoppedHere)) throw error;
            }
            stopped++;
            await saveVerification(log, clock, NAME, last, undefined, async () => {});
            state = (await readVerification(log, NAME))?.state ?? state;
            expect(state).toEqual(last);
          }
          const { seconds: __, ...found } = await verify(log, history, state);
          expect(found).toEqual(whole);
          diverged += whole.diverged;
        },
      );
      await assertMet(property, runs(30), () => ({ stopped: stopped > 0, diverged: diverged > 0 }));
      // A window that fires less often than it did: inputs that were recorded do not come.
      await fc.assert(property, { seed: 459349886, path: "140", numRuns: 1 });
    },
    TIMEOUT_MS,
  );
});
