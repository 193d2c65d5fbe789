import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { formatAddress } from "../../src/core/address.ts";
import { isHeadwaterError } from "../../src/core/errors.ts";
import { decodeEvent } from "../../src/core/event-codec.ts";
import { type OutputsDelivered, type RetentionPolicy, TAKEN_OF_GROUP } from "../../src/core/events.ts";
import { sinkStream } from "../../src/core/streams.ts";
import type { PipelineDefinition } from "../../src/pipeline/definition.ts";
import { pipeline } from "../../src/pipeline/pipeline.ts";
import type { EventLog } from "../../src/ports/event-log.ts";
import { LineageReader } from "../../src/runtime/lineage-reader.ts";
import { mergedRecords } from "../../src/runtime/sink-merging.ts";
import { addressOfDelivered, placeInDelivery } from "../../src/runtime/sink-position.ts";
import { ORDINARY, withinReason } from "./expectations.ts";
import { type Circumstances, simulate } from "./harness.ts";
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

const TIMEOUT_MS = timeLimit(600_000);

withoutWarnings();

const noBundler = {
  bundle: () => Promise.reject(new Error("no code is to be bundled")),
  load: () => {
    throw new Error("no code is to be loaded");
  },
};

const policies: fc.Arbitrary<RetentionPolicy> = fc
  .constantFrom<RetentionPolicy["steps"]>({ events: 4 }, { events: 12 }, { ageMs: 30 }, { bytes: 2_000 })
  .map((steps) => ({ steps }) as RetentionPolicy);

const queryOf = (log: EventLog, reader: LineageReader, sink: string) => ({
  log,
  reader,
  pipeline: "p",
  sink,
});

async function deliveriesOf(log: EventLog, sink: string): Promise<OutputsDelivered[]> {
  const deliveries: OutputsDelivered[] = [];
  const stream = sinkStream("p", sink);
  if ((await log.streamInfo(stream)) === undefined) return deliveries;
  for await (const recorded of log.read(stream)) {
    const { type, data } = decodeEvent(recorded);
    if (type === "OutputsDelivered" && data.count > 0) deliveries.push(data);
  }
  return deliveries;
}

/** Each sink's outputs by address, from a log in which nothing is let go of, as merging once more finds them. */
async function merged(definition: PipelineDefinition, log: EventLog): Promise<Map<string, string[]>> {
  const reader = new LineageReader(log, noBundler);
  const found = new Map<string, string[]>();
  for (const { name } of definition.sinks) {
    const addresses: string[] = [];
    const query = queryOf(log, reader, name);
    for (const delivery of await deliveriesOf(log, name)) {
      const records = await mergedRecords(query, delivery);
      expect(records.length).toBe(delivery.count);
      for (const [index, address] of records.entries()) {
        addresses[delivery.first + index] = formatAddress(address);
        expect(await addressOfDelivered(query, delivery.first + index)).toEqual(address);
        expect(await placeInDelivery(query, delivery, address)).toBe(delivery.first + index);
      }
    }
    found.set(name, addresses);
  }
  return found;
}

/** Whether a delivery says by itself which records it has: the last of one ordinal are not also in others. */
const tells = ({ to, count }: OutputsDelivered) => (to[TAKEN_OF_GROUP] ?? 0) <= count;

/** What was come by in all runs. */
interface Tally {
  /** Outputs that were found though not all that was delivered with them is there. */
  cut: number;
  /** Deliveries that ended between records of one ordinal, and say which records they have. */
  parted: number;
}

/** Every output is found whose record, and delivery, are there; of the others it is said that they are gone. */
async function expectFound(
  definition: PipelineDefinition,
  inputs: Parameters<typeof simulate>[1],
  how: Circumstances,
  retention: RetentionPolicy,
  tally: Tally,
): Promise<void> {
  const { batchRecords, inBatches = false } = how;
  const plain = await simulate(definition, inputs, { ...ORDINARY, batchRecords, inBatches, keepOpen: false });
  const addresses = await merged(definition, plain.log);
  const pace = { retentionTickMs: 1, snapshotEveryMs: 5 };
  const { log } = await simulate({ ...definition, retention }, inputs, { ...how, keepOpen: false, pace });
  const reader = new LineageReader(log, noBundler);
  for (const { name } of definition.sinks) {
    const query = queryOf(log, reader, name);
    const deliveries = await deliveriesOf(log, name);
    const parted = deliveries.filter(({ to }) => to[TAKEN_OF_GROUP] !== undefined);
    tally.parted += parted.filter(tells).length;
    for (const [n, address] of (addresses.get(name) ?? []).entries()) {
      const delivery = deliveries.findLast(({ first, count }) => first <= n && n < first + count);
      const found = await addressOfDelivered(query, n).then(formatAddress, (error: unknown) => {
        if (!isHeadwaterError(error, "RecordGone")) throw error;
        return "gone";
      });
      if (delivery === undefined || !(await isKept(reader, address))) {
        expect({ n, found }).toEqual({ n, found: "gone" });
      } else if (tells(delivery) && !(await isBeyondCut(reader, delivery, address))) {
        expect({ n, found }).toEqual({ n, found: address });
        expect(await placeInDelivery(query, delivery, await addressOfDelivered(query, n))).toBe(n);
      } else expect([address, "gone"]).toContain(found);
      for (const [stream, first] of Object.entries(delivery?.from ?? {})) {
        if (stream === TAKEN_OF_GROUP || first === (delivery?.to[stream] ?? first)) continue;
        if (found !== "gone" && (await reader.isGone(stream, first))) tally.cut++;
      }
    }
  }
}

describe("which record a sink's N-th output is", () => {
  test(
    "is known as long as the record and what says that it was delivered are there, whatever else is gone",
    async () => {
      const tally = { cut: 0, parted: 0 };
      await assertMet(
        fc.asyncProperty(
          pipelineWords,
          inputWords,
          circumstances,
          interruptions,
          mishaps,
          policies,
          fc.constantFrom(1, 3, 16),
          async (words, input, how, befalls, wrong, retention, batchRecords) => {
            const definition = definitionOf(words);
            const inputs = inputsOf(definition, input, true);
            await withinReason(definition, inputs);
            const inBatches = input.length % 3 > 0;
            const all = { ...how, ...wrong, batchRecords, inBatches, interruptions: befalls };
            await expectFound(definition, inputs, all, retention, tally);
          },
        ),
        runs(30),
        () => ({ cut: tally.cut > 0 }),
      );
    },
    TIMEOUT_MS,
  );

  test(
    "is known where deliveries end among the records that one was turned into, in several partitions",
    async () => {
      const p = pipeline("p", { partitions: 4 });
      p.source<undefined, number>("in", { key: (record) => record as number })
        .flatMap("many", (v) =>
          Array.from({ length: (v as number) % 6 }, (_, index) => ({ v: v as number, index })),
        )
        .keyBy("by", ({ v, index }) => (v + index) % 4)
        .map("made", ({ v, index }) => `${v}.${index}`)
        .sink("out");
      const given = Array.from({ length: 60 }, (_, v) => ({ value: v, ordinal: v + 1 }));
      const tally = { cut: 0, parted: 0 };
      await assertMet(
        fc.asyncProperty(
          fc.integer({ min: 2, max: 9 }),
          fc.nat(),
          policies,
          async (batchRecords, seed, retention) => {
            const how = { ...ORDINARY, seed, delayMs: 1, batchRecords, inBatches: true };
            await expectFound(p.definition, new Map([["in", given]]), how, retention, tally);
          },
        ),
        runs(20),
        () => ({ parted: tally.parted > 20, cut: tally.cut > 50 }),
      );
    },
    TIMEOUT_MS,
  );
});

/** Whether a record is one of those of one ordinal that a delivery was parted among, and where these begin is gone. */
async function isBeyondCut(
  reader: LineageReader,
  { to }: OutputsDelivered,
  address: string,
): Promise<boolean> {
  const [, stream = "", n = ""] = /^(.*)@(\d+)/.exec(address) ?? [];
  const cursor = to[stream] ?? 0;
  return Number(n) >= cursor && (await reader.isGone(stream, cursor));
}

async function isKept(reader: LineageReader, address: string): Promise<boolean> {
  const [, stream = "", n = ""] = /^(.*)@(\d+)/.exec(address) ?? [];
  return (await reader.revisionOf(stream, Number(n))) !== undefined;
}
