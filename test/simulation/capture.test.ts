import fc from "fast-check";
import { describe, expect, test } from "vitest";
import type { MemoryLog } from "../../src/adapters/memory/log.ts";
import { auditLog } from "../../src/app/audit.ts";
import { parseAddress } from "../../src/core/address.ts";
import { digestInMetadata } from "../../src/core/chain.ts";
import { decodeDeltas, decodePlain } from "../../src/core/columns.ts";
import { toHex } from "../../src/core/digest.ts";
import { decodeEvent } from "../../src/core/event-codec.ts";
import type { StreamAdvance } from "../../src/core/events.ts";
import type { CaptureOptions } from "../../src/pipeline/capture.ts";
import { type Pipeline, pipeline } from "../../src/pipeline/pipeline.ts";
import { LineageReader } from "../../src/runtime/lineage-reader.ts";
import { Recomputation } from "../../src/runtime/lineage-recompute.ts";
import { LineageValues } from "../../src/runtime/lineage-values.ts";
import { appendToPipeline } from "../../src/runtime/pipeline-events.ts";
import { readOne } from "../../src/runtime/seek.ts";
import { withinReason } from "./expectations.ts";
import { simulate } from "./harness.ts";
import { readLogContent } from "./log-content.ts";
import { runs, withoutWarnings } from "./property-runs.ts";
import { circumstances, definitionOf, inputsOf, inputWords, pipelineWords } from "./random-pipelines.ts";
import { seededRandom, VirtualWorld } from "./virtual-world.ts";

withoutWarnings();

const HOW = {
  seed: 7,
  nodes: 2,
  batchRecords: 16,
  tickMs: 10,
  delayMs: 0,
  interruptions: [],
  losses: [],
  failures: [],
} as const;
const RECORDS = 400;

interface Captures {
  readonly source?: CaptureOptions;
  readonly doubled?: CaptureOptions;
  readonly total?: CaptureOptions;
}

/** A source, two segments, and a stage in the middle of the first whose records do not leave it. */
function chain({ source, doubled, total }: Captures): Pipeline {
  const p = pipeline("p", { partitions: 2 });
  p.source<undefined>("in", { ...source })
    .map("doubled", (record) => (record as number) * 2, { ...doubled })
    .map("text", (value) => ({ value }))
    .keyBy("by", ({ value }) => value % 7)
    .reduce("total", {
      init: () => 0,
      step: (sum, { value }) => sum + value,
      emit: (sum) => ({ sum }),
      ...total,
    })
    .sink("out");
  return p;
}

async function run(p: Pipeline): Promise<MemoryLog> {
  const given = Array.from({ length: RECORDS }, (_, value) => ({ value, ordinal: value + 1 }));
  return (await simulate(p.definition, new Map([["in", given]]), HOW)).log;
}

/** The hash of docs/format.md, written down once more. */
function hashOf(text: string): number {
  const utf8 = Buffer.from(text);
  const head = utf8.length < 32 ? [0xa0 | utf8.length] : [0xd9, utf8.length];
  let hash = 0x811c9dc5;
  for (const byte of [...head, ...utf8]) hash = Math.imul(hash ^ byte, 0x01000193);
  hash = Math.imul(hash ^ (hash >>> 16), 0x85ebca6b);
  hash = Math.imul(hash ^ (hash >>> 13), 0xc2b2ae35);
  return (hash ^ (hash >>> 16)) >>> 0;
}

/** Roots of the records that are in a unit's payload, by stage. */
async function keptRoots(log: MemoryLog, prefix: string): Promise<Map<number, number[]>> {
  const kept = new Map<number, number[]>();
  for await (const recorded of log.readAll({ filter: { prefixes: [prefix] } })) {
    const { type, data } = decodeEvent(recorded);
    if (type !== "RecordsAccepted" && type !== "StepsRecorded") continue;
    if (data.count === 0) continue;
    const roots =
      "roots" in data && data.roots !== undefined
        ? decodeDeltas(data.roots, data.count)
        : "parents" in data && data.parents !== undefined
          ? decodeDeltas(data.parents, data.count)
          : Array.from({ length: data.count }, (_, row) => data.first + row);
    for (const { stage, rows } of data.captured ?? []) {
      const all = rows === undefined ? [...roots.keys()] : decodeDeltas(rows);
      kept.set(stage, [...(kept.get(stage) ?? []), ...all.map((row) => roots[row] as number)]);
    }
  }
  for (const roots of kept.values()) roots.sort((a, b) => a - b);
  return kept;
}

async function storedCount(log: MemoryLog, prefix: string): Promise<number> {
  let records = 0;
  for await (const recorded of log.readAll()) {
    if (!recorded.stream.startsWith(prefix)) continue;
    const { type, data } = decodeEvent(recorded);
    if (type !== "RecordsStored") continue;
    for (const { lengths } of data.blocks) records += decodePlain(lengths).length;
  }
  return records;
}

async function letGo(log: MemoryLog, stream: RegExp): Promise<void> {
  const streams: StreamAdvance[] = [];
  for await (const { stream: name, lastRevision } of log.streams()) {
    if (!stream.test(name)) continue;
    const digest = digestInMetadata((await readOne(log, name, lastRevision)).metadata) as Uint8Array;
    streams.push({ stream: name, before: lastRevision + 1, digest });
  }
  await appendToPipeline(log, "p", { type: "RetentionAdvanced", event: { v: 1, wall: 0, streams } });
  for (const { stream: name, before } of streams) await log.setMetadata(name, { truncateBefore: before });
  await log.scavenge();
}

/** How the value behind an address is found. */
async function found(log: MemoryLog, p: Pipeline, address: string) {
  const bundler = { bundle: () => Promise.reject(new Error("none")), load: () => p };
  const reader = new LineageReader(log, bundler);
  const recomputation = new Recomputation({ log, clock: new VirtualWorld(seededRandom(1)), reader });
  const values = new LineageValues({ log, reader, recomputation });
  const value = await values.valueOf(await reader.locate(parseAddress(address)));
  return value.kind === "none" ? value.reason : `${value.kind} ${toHex(value.bytes)}`;
}

describe("what is kept of records", () => {
  test("is a sample by the hash of the root, the same for all that is made of one record", async () => {
    const log = await run(chain({ source: { sample: 0.5 }, doubled: { capture: "all", sample: 0.25 } }));
    const sampled = (rate: number) =>
      Array.from({ length: RECORDS }, (_, n) => n).filter((n) => hashOf(`source_p.in@${n}`) < rate * 2 ** 32);
    const [half, quarter] = [sampled(0.5), sampled(0.25)];
    expect(half.length).toBeGreaterThan(RECORDS * 0.4);
    expect(half.length).toBeLessThan(RECORDS * 0.6);
    expect(half).toEqual(expect.arrayContaining(quarter));
    const source = await keptRoots(log, "source_");
    expect(source.get(-1)).toEqual(half);
    const steps = await keptRoots(log, "steps_p.doubled.");
    expect(steps.get(0)).toEqual(quarter);
    // What leaves is at the rate of what it is made of.
    expect(steps.get(1)).toEqual(quarter);
    expect(await storedCount(log, "payload_p.in")).toBe(half.length);
    expect(await storedCount(log, "transit_p.in")).toBe(RECORDS - half.length);
    // The sum of both stages in the payload; in transit only what leaves.
    expect(await storedCount(log, "payload_p.doubled.")).toBe(2 * quarter.length);
    expect(await storedCount(log, "transit_p.doubled.")).toBe(RECORDS - quarter.length);
  });

  test("says its rates with what an audit counts", async () => {
    const log = await run(chain({ source: { sample: 0.5 } }));
    await letGo(log, /^transit_/);
    const report = await auditLog(log, { checkpoints: [] });
    const payload = report.checks.find(({ name }) => name === "payload");
    expect(report.ok).toBe(true);
    expect(payload?.samples).toEqual({ "p/in": 0.5, "p/doubled": 0.5, "p/text": 0.5, "p/total": 0.5 });
    const kept = (await keptRoots(log, "source_")).get(-1)?.length ?? 0;
    expect(payload).toMatchObject({ checked: 3 * kept, unverifiable: 3 * (RECORDS - kept) });
  });

  test("gives intermediate records from the log where all are kept", async () => {
    const plain = chain({});
    const all = chain({ doubled: { capture: "all" } });
    const address = "steps_p.doubled.0001@5.0/doubled";
    expect(await found(await run(all), all, address)).toMatch(/^stored /);
    const again = await found(await run(plain), plain, address);
    // A pipeline that was given as an object has no code in the log.
    expect(again).toBe("the record is not kept, and the code that made it is not in the log");
  });

  test("writes the same steps, and gives the same records, whatever is kept", async () => {
    await fc.assert(
      fc.asyncProperty(pipelineWords, inputWords, circumstances, async (words, input, how) => {
        const definition = definitionOf(words);
        const without = definitionOf({
          ...words,
          sources: words.sources.map(({ capture: _, ...source }) => source),
          stages: words.stages.map(({ capture: _, ...stage }) => stage),
        });
        const inputs = inputsOf(definition, input, true);
        await withinReason(definition, inputs);
        const kept = await simulate(definition, inputs, how);
        const plain = await simulate(without, inputs, how);
        expect(await readLogContent(kept.log)).toEqual(await readLogContent(plain.log));
        expect(kept.runs).toEqual(plain.runs);
      }),
      runs(25),
    );
  }, 600_000);
});
