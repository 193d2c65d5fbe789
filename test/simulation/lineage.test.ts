import fc from "fast-check";
import { afterAll, beforeAll, describe, expect, test, vi } from "vitest";
import { encodeCanonical } from "../../src/core/canonical.ts";
import { sha256, toHex } from "../../src/core/digest.ts";
import { LIMITS } from "../../src/core/limits.ts";
import type { PipelineDefinition } from "../../src/pipeline/definition.ts";
import type { EventLog } from "../../src/ports/event-log.ts";
import { LineageReader } from "../../src/runtime/lineage-reader.ts";
import { type Trace, traceBack } from "../../src/runtime/lineage-trace.ts";
import { resolveRecord } from "../../src/runtime/record-address.ts";
import { STILL } from "../small-log.ts";
import { check, delivered } from "./expectations.ts";
import type { Circumstances, Outcome } from "./harness.ts";
import { readLogContent } from "./log-content.ts";
import { readLineage } from "./log-lineage.ts";
import {
  circumstances,
  definitionOf,
  inputsOf,
  inputWords,
  interruptions,
  mishaps,
  pipelineWords,
} from "./random-pipelines.ts";

const RUNS = Number(process.env["HEADWATER_SIM_RUNS"] ?? 0);
const TIMEOUT_MS = RUNS > 0 ? 24 * 3_600_000 : 1_200_000;
const STAGE_RECORDS_MOST = 1_000;
/** Outputs of one sink that are followed. */
const OUTPUTS_MOST = 40;

// XState's development build tells of messages to actors that have stopped.
beforeAll(() => {
  vi.spyOn(console, "warn").mockImplementation(() => {});
});
afterAll(() => {
  vi.restoreAllMocks();
});

/** No code is needed to tell where something came from. */
const noBundler = {
  bundle: () => Promise.reject(new Error("no code is to be bundled")),
  load: () => {
    throw new Error("no code is to be loaded");
  },
};

async function trace(log: EventLog, record: string): Promise<Trace> {
  const reader = new LineageReader(log, noBundler);
  const address = await resolveRecord({ log, clock: STILL, reader }, record);
  return traceBack(reader, address, { limit: LIMITS.lineageRecordsMost });
}

/** Each output's way back ends at the records of sources that an independent reading of the log comes to. */
async function expectLineage(definition: PipelineDefinition, outcome: Outcome, how: Circumstances) {
  const content = await readLogContent(outcome.log);
  const lineage = await readLineage(outcome.log, content);
  const mayRepeat = how.interruptions.some(({ kind }) => kind === "crash");
  for (const { name } of definition.sinks) {
    const outputs = delivered(name, outcome, mayRepeat);
    const step = Math.max(1, Math.ceil(outputs.length / OUTPUTS_MOST));
    for (let n = 0; n < outputs.length; n += step) {
      const { key, value } = outputs[n] as (typeof outputs)[number];
      const found = await trace(outcome.log, `p/${name}#${n}`);
      const roots = found.records.flatMap(({ place }) => (place.kind === "source" ? [place.address] : []));
      expect({ key, roots: roots.sort() }).toEqual({ key, roots: lineage.get(name)?.get(key) });
      expect(found.cut).toBe(false);
      const [start] = found.records;
      if (start === undefined) throw new Error("a record is not among what it came from");
      const digest = await new LineageReader(outcome.log, noBundler).digestOf(start.place);
      if (how.provenance !== "off")
        expect(digest && toHex(digest)).toBe(toHex(sha256(encodeCanonical(value))));
    }
  }
}

describe("what a record came from", () => {
  test(
    "is what the log alone says, for every output of random pipelines, however they were run",
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
            const all = { ...how, ...wrong, interruptions: befalls };
            const outcome = await check(
              definition,
              inputsOf(definition, input, true),
              all,
              STAGE_RECORDS_MOST,
            );
            await expectLineage(definition, outcome, all);
          },
        ),
        { numRuns: RUNS > 0 ? RUNS : 20 },
      );
    },
    TIMEOUT_MS,
  );
});
