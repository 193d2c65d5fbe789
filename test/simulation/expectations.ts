import fc from "fast-check";
import { expect } from "vitest";
import { auditLog } from "../../src/app/audit.ts";
import type { PipelineDefinition } from "../../src/pipeline/definition.ts";
import type { EventLog } from "../../src/ports/event-log.ts";
import { type Circumstances, type Delivery, type Given, type Outcome, simulate } from "./harness.ts";
import { type LogContent, readLogContent } from "./log-content.ts";
import { readLineage } from "./log-lineage.ts";
import {
  type DoorMark,
  type Expected,
  type ReferenceOptions,
  type RetriedItem,
  reference,
  TooMuch,
} from "./reference.ts";

/** How a simulation goes about it where nothing of it is random. */
export const ORDINARY: Circumstances = {
  seed: 1,
  nodes: 2,
  batchRecords: 16,
  tickMs: 10,
  delayMs: 0,
  interruptions: [],
  losses: [],
  failures: [],
};

/** What the reference cannot know is only compared between runs. */
function comparable({ key, ordinal, value }: Delivery): Delivery {
  if (typeof value !== "object" || value === null) return { key, ordinal, value };
  const { random: _random, uuid: _uuid, ...rest } = value as Record<string, unknown>;
  return { key, ordinal, value: rest };
}

/**
 * What a sink has handed out over all runs: each begins where an earlier one was, and goes on in the order of the
 * whole. Nothing is handed out twice unless a process died.
 */
export function delivered(sink: string, outcome: Outcome, mayRepeat: boolean): readonly Delivery[] {
  const all: Delivery[] = [];
  for (const run of outcome.runs) {
    const records = run.get(sink) ?? [];
    const [first] = records;
    if (first === undefined) continue;
    const at = all.findIndex((record) => record.key === first.key);
    if (at >= 0) {
      if (!mayRepeat) throw new Error(`sink ${sink} hands ${first.key} out again`);
      for (const [index, record] of records.entries()) {
        if (all[at + index] === undefined) all.push(record);
        else expect(record).toEqual(all[at + index]);
      }
    } else {
      all.push(...records);
    }
  }
  return all;
}

export function expectOutputs(outcome: Outcome, expected: Expected, mayRepeat = false): void {
  for (const [sink, records] of expected.sinks) {
    expect(delivered(sink, outcome, mayRepeat).map(comparable)).toEqual(records.map(comparable));
    expect(new Set(records.map(({ key }) => key)).size).toBe(records.length);
  }
}

function expectQuarantined({ partitions }: LogContent, expected: Expected): void {
  const counts = new Map([...expected.quarantined.keys()].map((stage) => [stage, 0]));
  for (const { quarantined } of Object.values(partitions).flat()) {
    for (const { stage } of quarantined) counts.set(stage, (counts.get(stage) ?? 0) + 1);
  }
  expect(counts).toEqual(expected.quarantined);
}

/** What the log has of event time: the doors' watermarks, and each window's and join's firings and late records. */
function expectTimes({ sources, partitions, watermarks }: LogContent, expected: Expected): void {
  for (const [source, steps] of expected.watermarks) {
    const stream = `source_p.${source}`;
    const flat = steps.map(({ ordinal, mark }) => ({ ordinal, ...mark }));
    expect(watermarks[stream] ?? []).toEqual(flat);
    const notBelieved = (sources[stream] ?? []).filter(({ believed }) => !believed).map(({ n }) => n);
    expect(notBelieved).toEqual(expected.ahead.get(source));
  }
  for (const [stage, firings] of expected.firings) {
    const rows = Object.entries(partitions)
      .filter(([stream]) => stream.replace(/\.\d{4}$/, "") === `steps_p.${stage}`)
      .flatMap(([, inputs]) => inputs);
    const fired = rows.filter(({ parent }) => parent === undefined);
    expect(fired.map(({ ordinal, path }) => `${ordinal} ${path}`).sort()).toEqual(firings);
    expect(rows.filter(({ stages }) => (stages[0]?.late.length ?? 0) > 0)).toHaveLength(
      expected.late.get(stage) ?? 0,
    );
  }
}

export async function expectLog(outcome: Outcome, expected: Expected): Promise<void> {
  await expectSound(outcome.log);
  const content = await readLogContent(outcome.log);
  expectQuarantined(content, expected);
  expectTimes(content, expected);
  const lineage = await readLineage(outcome.log, content);
  for (const [sink, outputs] of expected.lineage) expect(lineage.get(sink)).toEqual(outputs);
}

/** Whatever befell a log: its audits find nothing. */
export async function expectSound(log: EventLog): Promise<void> {
  const { checks } = await auditLog(log, { checkpoints: [] });
  expect(checks.flatMap(({ failures }) => failures)).toEqual([]);
}

/** Records that one stage of a random pipeline makes at most: beyond that a run takes too long to be one of many. */
export const STAGE_RECORDS_MOST = 1_000;

/** Leaves a case out of which a stage would make more records than there is time, or memory, for. */
export async function withinReason(
  definition: PipelineDefinition,
  inputs: ReadonlyMap<string, readonly Given[]>,
): Promise<void> {
  await expectedOf(definition, inputs, { most: STAGE_RECORDS_MOST });
}

/** What the reference says, unless it is more than there is time for: then the case does not count. */
export async function expectedOf(
  definition: PipelineDefinition,
  inputs: ReadonlyMap<string, readonly Given[]>,
  options: ReferenceOptions,
): Promise<Expected> {
  try {
    return await reference(definition, inputs, options);
  } catch (error) {
    fc.pre(!(error instanceof TooMuch));
    throw error;
  }
}

/**
 * When doors had no records, for a while or for good: that is as it happens. A door that is told to stop when its input
 * has ended, and that has not said so, promises what the others have come to; its end comes after that.
 */
export function marksOf({ watermarks, sources }: LogContent): Map<string, DoorMark[]> {
  const isRecord = (stream: string, ordinal: number) =>
    sources[stream]?.some((row) => row.ordinal === ordinal) ?? false;
  return new Map(
    Object.entries(watermarks)
      .filter(([stream]) => stream.startsWith("source_"))
      .map(([stream, steps]) => [
        stream.slice("source_p.".length),
        steps.flatMap(({ ordinal, status }): DoorMark[] => {
          if (status !== "active") return [{ ordinal, kind: status }];
          return isRecord(stream, ordinal) ? [] : [{ ordinal, kind: "resumed" }];
        }),
      ]),
  );
}

/** What was put back, and when: that is as it happens. */
export function retriesOf({ partitions, retries }: LogContent): RetriedItem[] {
  const found: RetriedItem[] = [];
  for (const input of Object.values(partitions).flat()) {
    const [, item] = /^retry_p@(\d+)\.0$/.exec(input.parent ?? "") ?? [];
    const asked = retries[Number(item)];
    if (item === undefined || asked === undefined) continue;
    const { stage, root, path } = asked;
    found.push({ item: Number(item), stage, root, path, ordinal: input.ordinal, pathNow: input.path });
  }
  return found;
}

/** Runs it, and checks all that is known of what comes out. */
export async function check(
  definition: PipelineDefinition,
  inputs: ReadonlyMap<string, readonly Given[]>,
  how: Circumstances,
  most?: number,
): Promise<Outcome> {
  const { keepOpen = false } = how;
  const options = { keepOpen, ...(most !== undefined && { most }) };
  const plain = await expectedOf(definition, inputs, options);
  const outcome = await simulate(definition, inputs, how);
  const mayRepeat = how.interruptions.some(({ kind }) => kind === "crash");
  const stops = how.interruptions.some(({ kind }) => kind === "stop");
  const marks = stops && marksOf(await readLogContent(outcome.log));
  const expected = marks ? await expectedOf(definition, inputs, { ...options, marks }) : plain;
  expectOutputs(outcome, expected, mayRepeat);
  for (const [source, refused] of expected.refused) {
    const told = [...(outcome.refused.get(source) ?? [])].sort((x, y) => x - y);
    // Of a batch that a process was about to tell of when it died, the sender never hears.
    expect(told).toEqual([...refused].filter((index) => !mayRepeat || told.includes(index)));
  }
  await expectLog(outcome, expected);
  return outcome;
}
