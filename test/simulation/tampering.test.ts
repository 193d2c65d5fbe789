import fc from "fast-check";
import { beforeAll, describe, expect, test } from "vitest";
import type { AuditedCheckpoint } from "../../projections/audit.ts";
import { MemoryLog } from "../../src/adapters/memory/log.ts";
import { createSystemClock } from "../../src/adapters/system/clock.ts";
import { auditLog } from "../../src/app/audit.ts";
import type { AuditReport } from "../../src/app/audit-types.ts";
import type { Value } from "../../src/core/canonical.ts";
import { decodePlain } from "../../src/core/columns.ts";
import { decodeEvent } from "../../src/core/event-codec.ts";
import type { PipelineDeployed } from "../../src/core/events.ts";
import { LIMITS } from "../../src/core/limits.ts";
import { besideStream } from "../../src/core/streams.ts";
import { pipeline } from "../../src/pipeline/pipeline.ts";
import { planPipeline } from "../../src/pipeline/plan.ts";
import type { EventLog, RecordedEvent } from "../../src/ports/event-log.ts";
import { deploy, describeDeployment } from "../../src/runtime/deployment.ts";
import { Sequencer } from "../../src/runtime/sequencer.ts";
import { arrayLog, copyEvents } from "../array-log.ts";
import { emptyLog, fill, STILL } from "../small-log.ts";
import { withinReason } from "./expectations.ts";
import { addressOf, announced, covered, type Data, type Fault, faultKinds, rewritten } from "./faults.ts";
import { type Circumstances, simulate } from "./harness.ts";
import { withoutWarnings } from "./property-runs.ts";
import {
  circumstances,
  definitionOf,
  inputsOf,
  inputWords,
  interruptions,
  mishaps,
  pipelineWords,
} from "./random-pipelines.ts";
import { type Random, seededRandom } from "./virtual-world.ts";

/** How many faults are tried: `npm run tamper` tries many. */
const FAULTS = Number(process.env["HEADWATER_TAMPER_FAULTS"] ?? 300);
/** How many logs of random pipelines are audited. */
const LOGS = Number(process.env["HEADWATER_TAMPER_LOGS"] ?? 20);
const TIMEOUT_MS = Math.max(600_000, FAULTS * 200);

const CIRCUMSTANCES: Circumstances = {
  seed: 7,
  nodes: 2,
  batchRecords: 8,
  tickMs: 10,
  delayMs: 5,
  interruptions: [{ kind: "crash", at: 20, made: true }],
  losses: [],
  failures: [],
};

async function sign(log: EventLog, where: string): Promise<AuditedCheckpoint> {
  const sequencer = await Sequencer.open(log, STILL);
  await sequencer.catchUp();
  await sequencer.keepCheckpoint(`${where}\n`);
  return { where, size: sequencer.size, root: sequencer.root() };
}

let id = "";
let events: RecordedEvent[] = [];
let checkpoints: AuditedCheckpoint[] = [];

const audit = (
  found: readonly RecordedEvent[],
  given = checkpoints,
  first: ReadonlyMap<string, number> = new Map(),
) => auditLog(arrayLog(id, found, first), { checkpoints: given });
const check = (report: AuditReport, name: string) => report.checks.find((one) => one.name === name);
const firsts = (report: AuditReport) =>
  report.checks.flatMap(({ failures }) => failures.slice(0, 1).map(({ address }) => address));

withoutWarnings();

beforeAll(async () => {
  const p = pipeline("p", { partitions: 2 });
  p.source("s", { key: (n: unknown) => Number(n) % 5 })
    .map("twice", (n) => Number(n) * 2)
    .filter("big", (n) => n > 20)
    .reduce("sum", { init: () => 0, step: (total, n) => total + n, emit: (total) => total })
    .sink("out");
  const given = new Map([["s", Array.from({ length: 120 }, (_, value) => ({ value }))]]);
  const { log } = await simulate(p.definition, given, CIRCUMSTANCES);
  id = log.id;
  checkpoints = [await sign(log, "first")];
  await fill(log, 20, { streams: ["supervisor_q", "supervisor_r"] });
  checkpoints.push(await sign(log, "second"));
  events = await copyEvents(log);
});

describe("a log that nobody has touched", () => {
  test("is found to be good, and everything that was signed is covered", async () => {
    const report = await audit(events);
    expect(report).toMatchObject({ ok: true });
    expect(check(report, "chain")).toMatchObject({ checked: events.length, unverifiable: 0 });
    expect(check(report, "checkpoint")).toMatchObject({
      checked: events.filter(({ stream }) => stream !== "audit_log").length,
      unverifiable: 0,
    });
  });

  test("has nothing that a missing checkpoint covers", async () => {
    const covered = checkpoints[0]?.size ?? 0;
    const all = checkpoints[1]?.size ?? 0;
    expect(check(await audit(events, checkpoints.slice(0, 1)), "checkpoint")).toMatchObject({
      ok: true,
      checked: covered,
      unverifiable: all - covered,
    });
    expect(check(await audit(events, []), "checkpoint")).toMatchObject({
      ok: true,
      checked: 0,
      unverifiable: all,
    });
  });

  test("is good where the last events of the tree are let go of, and others came behind", async () => {
    const p = pipeline("p", { partitions: 1 });
    p.source("s").sink("out");
    const { log } = await simulate(p.definition, new Map([["s", [{ value: 1 }]]]), CIRCUMSTANCES);
    const last = (await copyEvents(log)).at(-1) as RecordedEvent;
    const signed = await sign(log, "signed");
    await fill(log, 10, { streams: ["supervisor_q"] });
    const grown = announced(await copyEvents(log), "p", {
      stream: last.stream,
      before: last.revision + 1,
    });
    const kept = grown.filter(({ stream }) => stream !== last.stream);
    const first = new Map([[last.stream, last.revision + 1]]);
    const report = await auditLog(arrayLog(log.id, kept, first), { checkpoints: [signed] });
    expect(report.checks.flatMap(({ failures }) => failures)).toEqual([]);
    const gone = last.revision + 1;
    expect(check(report, "checkpoint")).toMatchObject({
      checked: signed.size - gone,
      // Ten, and what says that they are let go of, are not in the tree.
      unverifiable: gone + 10 + 1,
    });
  });

  test("is good while it grows", async () => {
    const log = emptyLog();
    await fill(log, 10);
    const early = await sign(log, "early");
    await fill(log, 10, { seed: 2 });
    const report = await auditLog(log, { checkpoints: [early] });
    expect(report.ok).toBe(true);
    expect(check(report, "checkpoint")).toMatchObject({ checked: 10, unverifiable: 10 });
  });
});

test.each(["delete", "tombstone"] as const)("a stream that is gone as a whole is named: %s", async (how) => {
  const streams = new Set(events.map(({ stream }) => stream));
  for (const stream of streams) {
    const log = MemoryLog.create({ id, clock: createSystemClock() });
    for (const { stream, id, type, data, metadata } of events)
      await log.append(stream, "any", [{ id, type, data, metadata }]);
    const last = (await log.streamInfo(stream))?.lastRevision ?? 0;
    await log[how](stream, last);
    for (const given of [checkpoints, []]) {
      const report = await auditLog(log, { checkpoints: given });
      expect(report.ok).toBe(false);
      const named = report.checks.flatMap(({ failures }) => failures.map(({ address }) => address));
      expect(named.filter((address) => address.startsWith(`${stream}@`))).not.toEqual([]);
    }
  }
});

test(
  "every fault is found, and the first address that it affects is named",
  async () => {
    const random = seededRandom(2_026);
    const kinds = faultKinds(events);
    for (let fault = 0; fault < FAULTS; fault++) {
      const kind = kinds[fault % kinds.length] as (random: Random) => Fault;
      const { what, events: tampered, affected, first } = kind(random);
      const report = await audit(tampered, checkpoints, first);
      const named = firsts(report);
      const seen = JSON.stringify({
        fault,
        what,
        affected,
        named: report.checks.map(({ failures }) => failures[0]),
      });
      expect(report.ok, seen).toBe(false);
      expect(
        named.some((address) => affected.includes(address)),
        seen,
      ).toBe(true);
    }
  },
  TIMEOUT_MS,
);

test("a deployment with a bit turned in any byte is a fault, and no crash of who reads it", async () => {
  const at = events.findIndex(({ type }) => type === "PipelineDeployed");
  const event = events[at] as RecordedEvent;
  for (let byte = 0; byte < event.data.length; byte++) {
    // The lowest bit of a letter in a field's name gives it another name.
    const data = Uint8Array.from(event.data);
    data[byte] = (data[byte] as number) ^ 1;
    const report = await audit(events.with(at, { ...event, data }));
    expect(firsts(report), `byte ${byte}`).toContain(addressOf(event));
  }
});

test("a log whose tree was made anew after the change is not the one that was signed", async () => {
  const at = events.findIndex(({ stream }) => stream.startsWith("source_"));
  const changed = rewritten(events, at).filter(covered);
  const tree: RecordedEvent[] = [];
  const writing: EventLog = {
    ...arrayLog(id, changed),
    append: async (stream, _expected, appended) => {
      for (const event of appended) {
        tree.push({
          ...event,
          stream,
          revision: tree.length,
          created: 0,
          position: { commit: 0n, prepare: 0n },
        });
      }
      return { revision: tree.length - 1, position: { commit: 0n, prepare: 0n } };
    },
  };
  const sequencer = await Sequencer.open(writing, STILL);
  await sequencer.catchUp();
  await sequencer.keepCheckpoint("forged\n");
  const report = await audit([...changed, ...tree]);
  expect(check(report, "chain")).toMatchObject({ ok: true });
  const [first] = check(report, "checkpoint")?.failures ?? [];
  expect(first).toMatchObject({ code: "NotAsSigned" });
  expect(addressOf(events.find(covered) as RecordedEvent)).toBe(first?.address);
});

describe("a record that was changed, and the chain made anew after it", () => {
  /** The last byte of the record `row` in the only block of an event of the stream. */
  const changed = (stream: string, row: number, revision = 0) => {
    const at = events.findIndex((event) => event.stream === stream && event.revision === revision);
    return rewritten(events, at, (data) => {
      const [block] = data["blocks"] as unknown as [{ lengths: Uint8Array; bytes: Uint8Array }];
      const bytes = Uint8Array.from(block.bytes);
      const last =
        decodePlain(block.lengths)
          .slice(0, row + 1)
          .reduce((sum, length) => sum + length, 0) - 1;
      bytes[last] = (bytes[last] as number) ^ 1;
      return { ...data, blocks: [{ ...block, bytes }] };
    });
  };
  test("is found without a checkpoint, at a source", async () => {
    const report = await audit(changed("payload_p.s", 3), []);
    expect(check(report, "chain")).toMatchObject({ ok: true });
    expect(check(report, "payload")).toMatchObject({ failed: 1, failures: [{ address: "source_p.s@3" }] });
  });

  test("is found without a checkpoint, at a segment", async () => {
    // Payloads that a crash has left are referred to by no event.
    const payloads = events
      .filter(({ stream }) => stream.startsWith("steps_p.twice."))
      .map((event) => ({ stream: besideStream(event.stream, "payload"), data: decodeEvent(event).data }))
      .flatMap(({ stream, data }) =>
        "payload" in data && data.payload ? [{ stream, ...data.payload }] : [],
      );
    const { stream = "", revision } = payloads[0] ?? {};
    const report = await audit(changed(stream, 0, revision), []);
    expect(check(report, "chain")).toMatchObject({ ok: true });
    expect(check(report, "payload")?.failures[0]).toMatchObject({
      code: "BadPayload",
      address: expect.stringMatching(/^steps_p\.twice\.000\d@\d+\.0$/),
    });
  });

  test("is looked at in the pipeline that is asked for", async () => {
    const log = arrayLog(id, changed("payload_p.s", 3));
    expect((await auditLog(log, { checkpoints: [], pipeline: "p" })).ok).toBe(false);
    await expect(auditLog(log, { checkpoints: [], pipeline: "q" })).rejects.toMatchObject({
      code: "UnknownPipeline",
    });
  });

  test("is found when it is taken out", async () => {
    const gone = events.filter(({ stream }) => stream !== "payload_p.s");
    expect(check(await audit(gone, []), "payload")?.failures[0]).toMatchObject({ address: "payload_p.s@0" });
  });
});

describe("what certifies itself, replaced by something well-formed, its chain made anew", () => {
  /** A pipeline whose code is in three events, deployed twice. */
  const deployed = async () => {
    const log = emptyLog();
    const p = pipeline("p", { partitions: 1 });
    p.source("s").sink("out");
    const code = new Uint8Array(2.5 * LIMITS.chunkBytes).fill(7);
    const runtime = { headwater: "0", node: "0", v8: "0", icu: "0", timeZone: "UTC" };
    const candidate = {
      plan: planPipeline(p.definition),
      bundle: { code, module: "p.ts" },
      runtime,
    } as const;
    let before: PipelineDeployed | undefined;
    for (const provenance of ["full", "off"] as const) {
      const version = { ...candidate, provenance };
      const content = describeDeployment(version);
      before = await deploy(log, STILL, "p", version, content, before, 0, async () => {});
    }
    return { id: log.id, all: await copyEvents(log) };
  };
  const payloadOf = async (
    { id }: { readonly id: string },
    found: readonly RecordedEvent[],
    pipelineName?: string,
  ) => {
    const options = { checkpoints: [], ...(pipelineName !== undefined && { pipeline: pipelineName }) };
    const report = await auditLog(arrayLog(id, found), options);
    expect(check(report, "chain")).toMatchObject({ ok: true });
    return check(report, "payload")?.failures.map(({ code, address }) => `${code} ${address}`);
  };
  const at = (all: readonly RecordedEvent[], type: string, which = 0) =>
    all.flatMap((event, index) => (event.type === type ? [index] : []))[which] as number;

  test("is found without a checkpoint: code, whichever part of it", async () => {
    const log = await deployed();
    const { all } = log;
    expect(await payloadOf(log, all)).toEqual([]);
    expect(await payloadOf(log, all, "p")).toEqual([]);
    const { stream } = all[at(all, "CodeChunk")] as RecordedEvent;
    for (const chunk of [0, 1, 2]) {
      const changed = rewritten(all, at(all, "CodeChunk", chunk), (data) => {
        const bytes = Uint8Array.from(data["bytes"] as Uint8Array);
        bytes[5] = 8;
        return { ...data, bytes };
      });
      // Which of its parts it was nobody can tell any more.
      expect(await payloadOf(log, changed)).toEqual([`BadCode ${stream}@2`]);
      expect(await payloadOf(log, changed, "p")).toEqual(["BadCode pipeline_p@0", "BadCode pipeline_p@1"]);
    }
    const fewer = rewritten(all, at(all, "CodeChunk", 1), (data) => ({ ...data, of: 2 }));
    expect(await payloadOf(log, fewer)).toEqual([`BadCode ${stream}@1`]);
  });

  test("and code that is not there", async () => {
    const log = await deployed();
    const without = log.all.filter(({ type }) => type !== "CodeChunk");
    expect(await payloadOf(log, without)).toEqual(["Missing pipeline_p@0", "Missing pipeline_p@1"]);
  });

  test("and a deployment's identity, and each thing that it is of", async () => {
    const log = await deployed();
    const { all } = log;
    const changes: Readonly<Record<string, Value>> = {
      deployment: new Uint8Array(32),
      code: null,
      partitions: 2,
      sources: [],
      stages: [{ name: "a", kind: "map", inputs: ["s"], segment: "a", digest: new Uint8Array(32) }],
      sinks: [],
      parameters: { a: { b: 1 } },
      provenance: "off",
    };
    for (const [field, value] of Object.entries(changes)) {
      const change = ({ [field]: _, ...data }: Data) =>
        (value === null ? data : { ...data, [field]: value }) as Data;
      const changed = rewritten(all, at(all, "PipelineDeployed"), change);
      expect(await payloadOf(log, changed), field).toEqual(["BadDeployment pipeline_p@0"]);
    }
  });
});

test(
  "logs of random pipelines that nobody has touched are good, whatever has befallen them",
  async () => {
    let covered = 0;
    await fc.assert(
      fc.asyncProperty(
        pipelineWords,
        inputWords,
        circumstances,
        interruptions,
        mishaps,
        fc.record({
          inBatches: fc.boolean(),
          retries: fc.array(fc.integer({ min: 1, max: 500 }), { maxLength: 2 }),
          discards: fc.boolean(),
        }),
        async (words, input, how, befalls, wrong, more) => {
          const definition = definitionOf(words);
          const inputs = inputsOf(definition, input, true);
          await withinReason(definition, inputs);
          const all = { ...how, ...wrong, ...more, interruptions: befalls };
          const { log } = await simulate(definition, inputs, all);
          const signed = await sign(log, "now");
          const report = await auditLog(log, { checkpoints: [signed], pipeline: definition.name });
          expect(report.checks.flatMap(({ failures }) => failures)).toEqual([]);
          expect(check(report, "checkpoint")).toMatchObject({ checked: signed.size, unverifiable: 0 });
          covered += check(report, "payload")?.checked ?? 0;
        },
      ),
      { numRuns: LOGS },
    );
    expect(covered).toBeGreaterThan(0);
  },
  Math.max(120_000, LOGS * 2_000),
);
