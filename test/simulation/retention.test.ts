import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { decodeEventAs } from "../../src/core/event-codec.ts";
import type { RetentionPolicy, StreamAdvance } from "../../src/core/events.ts";
import type { EventLog } from "../../src/ports/event-log.ts";
import { expectedOf, expectOutputs } from "./expectations.ts";
import { simulate } from "./harness.ts";
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

const TIMEOUT_MS = timeLimit(600_000);
const STAGE_RECORDS_MOST = 1_000;

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
  .record({ payload: rule, effects: rule, state: rule })
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

describe("what is let go of", () => {
  test(
    "is nothing that anybody needs, whatever befalls those who read",
    async () => {
      let advances = 0;
      await fc.assert(
        fc.asyncProperty(
          pipelineWords,
          inputWords,
          circumstances,
          interruptions,
          mishaps,
          policies,
          paces,
          async (words, input, how, befalls, wrong, retention, pace) => {
            const definition = { ...definitionOf(words), retention };
            const inputs = inputsOf(definition, input, true);
            const expected = await expectedOf(definition, inputs, { most: STAGE_RECORDS_MOST });
            const outcome = await simulate(definition, inputs, {
              ...how,
              ...wrong,
              keepOpen: false,
              interruptions: befalls,
              pace,
            });
            expectOutputs(
              outcome,
              expected,
              befalls.some(({ kind }) => kind === "crash"),
            );
            const gone = await letGo(outcome.log);
            advances += gone.length;
            for (const { stream, before } of gone) {
              const info = await outcome.log.streamInfo(stream);
              expect(info?.lastRevision).toBeGreaterThanOrEqual(before);
            }
          },
        ),
        runs(40),
      );
      expect(advances).toBeGreaterThan(40);
    },
    TIMEOUT_MS,
  );
});
