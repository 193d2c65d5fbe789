import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { createMemoryViewStore } from "../../src/adapters/memory/view-store.ts";
import { encodeCanonical } from "../../src/core/canonical.ts";
import { sha256, toHex } from "../../src/core/digest.ts";
import { LIMITS } from "../../src/core/limits.ts";
import type { PipelineDefinition } from "../../src/pipeline/definition.ts";
import type { EventLog } from "../../src/ports/event-log.ts";
import { ForwardReader } from "../../src/runtime/lineage-forward.ts";
import { LineageReader } from "../../src/runtime/lineage-reader.ts";
import { type Trace, traceBack, traceForward } from "../../src/runtime/lineage-trace.ts";
import { LineageView } from "../../src/runtime/lineage-view.ts";
import { resolveRecord } from "../../src/runtime/record-address.ts";
import { SinkDeliveries } from "../../src/runtime/sink-deliveries.ts";
import { check, delivered, STAGE_RECORDS_MOST, withinReason } from "./expectations.ts";
import { type Circumstances, type Outcome, simulate } from "./harness.ts";
import { readLogContent } from "./log-content.ts";
import { readLineage } from "./log-lineage.ts";
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

const TIMEOUT_MS = timeLimit(1_200_000);
/** Outputs of one sink that are followed. */
const OUTPUTS_MOST = 40;

withoutWarnings();

/** No code is needed to tell where something came from. */
const noBundler = {
  bundle: () => Promise.reject(new Error("no code is to be bundled")),
  load: () => {
    throw new Error("no code is to be loaded");
  },
};

async function trace(log: EventLog, record: string): Promise<Trace> {
  const reader = new LineageReader(log, noBundler);
  const address = await resolveRecord({ log, reader }, record);
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

/** Source record → the keys of all outputs that were made of it, by sink, as an independent reading has them. */
function turnedAround(lineage: ReadonlyMap<string, ReadonlyMap<string, readonly string[]>>) {
  const outputs = new Map<string, Set<string>>();
  for (const [sink, byKey] of lineage) {
    for (const [key, roots] of byKey) {
      for (const root of roots) outputs.set(root, (outputs.get(root) ?? new Set()).add(`${sink} ${key}`));
    }
  }
  return outputs;
}

/** Each source record's way forward ends at the outputs whose way back ends at it, and nothing is left untold. */
async function expectForward(definition: PipelineDefinition, outcome: Outcome, how: Circumstances) {
  const content = await readLogContent(outcome.log);
  const outputs = turnedAround(await readLineage(outcome.log, content));
  const mayRepeat = how.interruptions.some(({ kind }) => kind === "crash");
  const keys = new Map(
    definition.sinks.map(({ name }) => [name, delivered(name, outcome, mayRepeat).map(({ key }) => key)]),
  );
  const view = await LineageView.open(createMemoryViewStore(), outcome.log);
  await view.catchUp();
  for (const [stream, rows] of Object.entries(content.sources)) {
    const step = Math.max(1, Math.ceil(rows.length / OUTPUTS_MOST));
    for (let n = 0; n < rows.length; n += step) {
      const reader = new LineageReader(outcome.log, noBundler);
      const deliveries = new SinkDeliveries(outcome.log, reader);
      const forward = new ForwardReader({ log: outcome.log, reader, index: view, deliveries });
      const found = await traceForward(reader, forward, { stream, n }, { limit: LIMITS.lineageRecordsMost });
      const made = [...found.deliveries.values()].map(({ sink, n }) => `${sink} ${keys.get(sink)?.[n]}`);
      const root = `${stream}@${n}`;
      expect({ root, made: made.sort() }).toEqual({ root, made: [...(outputs.get(root) ?? [])].sort() });
      const told = new Set([...found.edges.map(({ from }) => from), ...found.ends.keys()]);
      for (const { place } of found.records) expect(told).toContain(place.address);
    }
  }
}

describe("what a record went into", () => {
  test(
    "is the other way around what its outputs came from, for random pipelines, however they were run",
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
            const all = { ...how, ...wrong, interruptions: befalls, provenance: "full" as const };
            const outcome = await check(
              definition,
              inputsOf(definition, input, true),
              all,
              STAGE_RECORDS_MOST,
            );
            await expectForward(definition, outcome, all);
          },
        ),
        runs(20),
      );
    },
    TIMEOUT_MS,
  );
});

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
        runs(20),
      );
    },
    TIMEOUT_MS,
  );
});

describe("what was put back from quarantine", () => {
  test(
    "leads back to what it was quarantined as, and that forward to it, however it was run",
    async () => {
      const kinds = new Set<string>();
      await fc.assert(
        fc.asyncProperty(
          pipelineWords,
          inputWords,
          circumstances,
          interruptions,
          mishaps,
          fc.array(fc.integer({ min: 1, max: 150 }), { minLength: 1, maxLength: 3 }),
          async (words, input, how, befalls, wrong, retries) => {
            const definition = definitionOf(words);
            const inputs = inputsOf(definition, input, true);
            const all = { ...how, ...wrong, interruptions: befalls, retries, provenance: "full" as const };
            await withinReason(definition, inputs);
            const outcome = await simulate(definition, inputs, all);
            await expectLineage(definition, outcome, all);
            await expectForward(definition, outcome, all);
            for (const kind of await expectRetries(outcome)) kinds.add(kind);
          },
        ),
        runs(30),
      );
      // Otherwise none of it was put to the test.
      expect([...kinds]).toEqual(expect.arrayContaining(["result", "source"]));
    },
    TIMEOUT_MS,
  );
});

/** Each retry leads back to what was asked for, with the reason and the record; answers what that was made of. */
async function expectRetries(outcome: Outcome): Promise<Set<string>> {
  const { retries } = await readLogContent(outcome.log);
  const kinds = new Set<string>();
  for (const [item, { unit, n, k, stage }] of retries.entries()) {
    const found = await trace(outcome.log, `retry_p@${item}`);
    const [retry, refused, given] = found.records.map(({ place }) => place);
    const address = `${unit.replace(/^steps_/, "quarantine_")}@${n}.${k}/${stage}`;
    expect([retry?.address, refused?.address]).toEqual([`retry_p@${item}`, address]);
    if (retry === undefined || refused?.kind !== "quarantined" || given === undefined)
      throw new Error(`${address} is not told`);
    expect(refused.record.message).not.toBe("");
    // The bytes that are kept are the ones that the way ahead has the digest of.
    const digest = await new LineageReader(outcome.log, noBundler).digestOf(retry);
    expect(digest && toHex(digest)).toBe(toHex(sha256(refused.record.record)));
    kinds.add(given.kind);
  }
  return kinds;
}
