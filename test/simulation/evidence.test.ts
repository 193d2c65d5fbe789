import fc from "fast-check";
import { expect, test } from "vitest";
import { makeEvidence } from "../../src/app/evidence.ts";
import { isHeadwaterError } from "../../src/core/errors.ts";
import { decodeEvent } from "../../src/core/event-codec.ts";
import type { EventLog } from "../../src/ports/event-log.ts";
import { Sequencer } from "../../src/runtime/sequencer.ts";
import { STILL } from "../small-log.ts";
import { withinReason } from "./expectations.ts";
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
/** So many records of each stream are asked for. */
const ASKED = 6;

withoutWarnings();

const bundler = {
  bundle: () => Promise.reject(new Error("nothing is bundled in a simulation")),
  load: () => {
    throw new Error("nothing is loaded in a simulation");
  },
};

/** Addresses of records, and of inputs of steps, all over the log. */
async function addressesIn(log: EventLog): Promise<string[]> {
  const found = new Map<string, string[]>();
  for await (const recorded of log.readAll()) {
    const { stream } = recorded;
    const { type, data } = decodeEvent(recorded);
    if ((type !== "StepsRecorded" && type !== "RecordsAccepted") || data.count === 0) continue;
    const of = found.get(stream) ?? [];
    found.set(stream, of);
    const n = data.first + (of.length % data.count);
    of.push(`${stream}@${n}`);
    if (type === "StepsRecorded") of.push(`${stream}@${n}.0`);
  }
  return [...found.values()].flatMap((of) => of.filter((_, at) => at % Math.ceil(of.length / ASKED) === 0));
}

test(
  "evidence of any record holds by itself, whatever the pipeline and whatever befell it",
  async () => {
    let made = 0;
    let several = 0;
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
          await withinReason(definition, inputs);
          const { log } = await simulate(definition, inputs, { ...how, ...wrong, interruptions: befalls });
          const sequencer = await Sequencer.open(log, STILL);
          await sequencer.catchUp();
          const checkpoint = { origin: "", size: sequencer.size, root: sequencer.root() };
          const grounds = { log, bundler, note: "", checkpoint, from: "here" };
          for (const address of await addressesIn(log)) {
            try {
              // Throws where what it has made does not hold.
              const { trace } = await makeEvidence(grounds, address);
              made++;
              if (new Set(trace.edges.map(({ to }) => to)).size < trace.edges.length) several++;
            } catch (error) {
              // An input may have given nothing.
              if (!isHeadwaterError(error, "RecordNotFound")) throw error;
            }
          }
        },
      ),
      runs(25),
    );
    expect(made).toBeGreaterThan(100);
    expect(several).toBeGreaterThan(5);
  },
  TIMEOUT_MS,
);
