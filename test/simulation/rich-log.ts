import type { AuditedCheckpoint } from "../../projections/audit.ts";
import { MemoryLog } from "../../src/adapters/memory/log.ts";
import { decodeEventAs } from "../../src/core/event-codec.ts";
import { LIMITS } from "../../src/core/limits.ts";
import { count } from "../../src/pipeline/aggregates.ts";
import type { PipelineDefinition } from "../../src/pipeline/definition.ts";
import { pipeline } from "../../src/pipeline/pipeline.ts";
import { planPipeline } from "../../src/pipeline/plan.ts";
import { tumbling } from "../../src/pipeline/windows.ts";
import type { RecordedEvent } from "../../src/ports/event-log.ts";
import { deploy, describeDeployment } from "../../src/runtime/deployment.ts";
import { deploymentsOf } from "../../src/runtime/deployment-history.ts";
import { askOf } from "../../src/runtime/fork-asks.ts";
import { readRefused, refusedKey } from "../../src/runtime/quarantine.ts";
import { setPolicy } from "../../src/runtime/retention-policy.ts";
import { decide } from "../../src/runtime/retry-requests.ts";
import { noteRuntime } from "../../src/runtime/runtime-changes.ts";
import { Sequencer } from "../../src/runtime/sequencer.ts";
import { beginVerification, saveVerification } from "../../src/runtime/verification.ts";
import { copyEvents } from "../array-log.ts";
import { STILL } from "../small-log.ts";
import { ORDINARY } from "./expectations.ts";
import { simulateFork, throughOf } from "./fork-runs.ts";
import { type Circumstances, type Given, simulate } from "./harness.ts";

/** What a log holds, where its streams begin that were let go of in part, and how it was signed at its end. */
export interface RichLog {
  readonly id: string;
  readonly definition: PipelineDefinition;
  readonly events: readonly RecordedEvent[];
  readonly first: ReadonlyMap<string, number>;
  readonly checkpoint: AuditedCheckpoint;
}

interface Order {
  readonly k: number;
  readonly v: number;
  readonly t: number;
}

const PROCESSES = { host: "h", pid: 1, instance: "asks", isAlive: () => false };
const RUNTIME = { headwater: "0", node: "0", v8: "0", icu: "0", timeZone: "UTC" };

/** A pipeline with one of everything: ids, event times, effects, failures, a join, a window, a reduce, late records. */
function definitionOf(factor: number): PipelineDefinition {
  const p = pipeline("p", { partitions: 2 });
  const orders = p.source<undefined, number>("orders", {
    key: (record) => (record as Order).k,
    eventTime: (record) => (record as Order).t,
    id: (record) => `${(record as Order).v}`,
    capture: "all",
  });
  const priced = orders.map("priced", async (record, ctx) => {
    const order = record as Order;
    const back = ctx.root.startsWith("retry_");
    if ((order.v % 7 === 3 && !back) || order.v % 11 === 5) throw new Error(`no price for ${order.v}`);
    const price = await ctx.effect("price", () => order.v * factor);
    return { ...order, price };
  });
  const { even, rest } = priced.split("parity", { even: ({ v }) => v % 2 === 0 });
  even
    .keyBy("by-price", ({ price }) => price % 3)
    .reduce("total", { init: () => 0, step: (sum, { price }) => sum + price, emit: (sum) => ({ sum }) })
    .sink("totals");
  rest.sink("odd");
  const counted = orders.window("counted", tumbling("5s"), {
    aggregate: count(),
    emit: (records, { key }) => ({ records, key }),
    lateness: 0,
  });
  counted.late("too-late").sink("late");
  counted.sink("counts");
  orders
    .join("joined", orders, (left, right) => ({ left: (left as Order).v, right: (right as Order).v }), {
      within: { before: "1s", after: "1s" },
    })
    .flatMap("each", ({ left, right }) => [left, right])
    .sink("pairs");
  return p.definition;
}

/** Some have no key or are no records: the door refuses them. */
function given(to: number): Map<string, readonly Given[]> {
  const orders = Array.from({ length: to }, (_, v) => {
    const t = v * 700 - (v % 13 === 12 ? 30_000 : 0);
    const order = { k: v % 3, v, t };
    return { value: v % 9 === 8 ? { ...order, when: new Date(0) } : order, ordinal: v + 1 };
  });
  return new Map([["orders", orders]]);
}

/**
 * A log before anything was let go of, and later on, when more has come and much is gone. Together they have events of
 * every type, none of which was made by hand.
 */
export async function richLogs(): Promise<readonly [whole: RichLog, trimmed: RichLog]> {
  const log = MemoryLog.create({ id: "01234567-89ab-4def-8123-456789abcdef", clock: STILL });
  await deployWithCode(log);
  const definition = definitionOf(2);
  const how: Circumstances = {
    ...ORDINARY,
    batchRecords: 8,
    delayMs: 3,
    inBatches: true,
    discards: true,
    retries: [60],
    pace: { retentionTickMs: 20, snapshotEveryMs: 20 },
  };
  // Members of a result get events of their own where they are too many; here any are.
  const limits = LIMITS as { memberBytesInline: number };
  const { memberBytesInline } = limits;
  limits.memberBytesInline = 2;
  try {
    const interruptions = [{ kind: "crash", at: 40, made: true }] as const;
    await simulate(definition, given(30), { ...how, interruptions }, log);
    await simulateFork({
      ...{ log, ran: definition, definition: definitionOf(3), id: "f" },
      ...{ from: 0, to: await throughOf(log, definition), circumstances: ORDINARY },
    });
    await verify(log);
    const whole = await signed(log, definition);
    await setPolicy({ log, clock: STILL }, "p", { payload: { ageMs: 1, bytes: 100 } });
    await setPolicy({ log, clock: STILL }, "p", undefined);
    const retention = {
      steps: { events: 12 },
      payload: { events: 4 },
      effects: { events: 2 },
      state: { events: 1 },
    };
    await simulate({ ...definition, retention }, given(60), how, log);
    await askAndWithdraw(log);
    await log.scavenge();
    return [whole, await signed(log, definition)];
  } finally {
    limits.memberBytesInline = memberBytesInline;
  }
}

async function signed(log: MemoryLog, definition: PipelineDefinition): Promise<RichLog> {
  const sequencer = await Sequencer.open(log, STILL);
  await sequencer.catchUp();
  await sequencer.keepCheckpoint("signed\n");
  const checkpoint = { where: "signed", size: sequencer.size, root: sequencer.root() };
  const first = new Map<string, number>();
  for await (const { stream, firstRevision } of log.streams()) {
    if (firstRevision > 0) first.set(stream, firstRevision);
  }
  return { id: log.id, definition, events: await copyEvents(log), first, checkpoint };
}

/** A pipeline whose code is kept. */
async function deployWithCode(log: MemoryLog): Promise<void> {
  const q = pipeline("q", { partitions: 1 });
  q.source("s").sink("out");
  const bundle = { code: Buffer.from("exports.default = 1;\n".repeat(4)), module: "q.ts" };
  const candidate = {
    plan: planPipeline(q.definition),
    bundle,
    provenance: "full",
    runtime: RUNTIME,
  } as const;
  const content = describeDeployment(candidate);
  await deploy(log, STILL, "q", candidate, content, undefined, 0, async () => {});
  const [deployed] = await deploymentsOf(log, "q");
  if (deployed === undefined) throw new Error("nothing is deployed");
  const runtime = { ...RUNTIME, timeZone: "Europe/Zurich", locale: "de-CH" };
  await noteRuntime({ log, clock: STILL, runtime }, "q", deployed, async () => {});
}

async function verify(log: MemoryLog): Promise<void> {
  const only = { key: 1, stage: "priced", quarantined: true } as const;
  await beginVerification(log, STILL, "p~v", { pipeline: "p", begin: 0, end: 100, only });
  const counts = { steps: 10, diverged: 0, first: undefined, share: 0.5, seconds: 1.5 };
  const gone = { inputs: 1, first: { address: "steps_p.priced.0000@1", inputs: 1, reason: "gone" } };
  const at = { segment: "priced", partition: 1, next: 4 };
  await saveVerification(log, STILL, "p~v", { ...counts, gone, at }, undefined, async () => {});
  await askOf(log, STILL, PROCESSES, "p~v", "pause");
  await saveVerification(log, STILL, "p~v", { ...counts, gone, at: undefined }, { ok: true }, async () => {});
}

/** Asks for what is in quarantine still, and gives it up again. */
async function askAndWithdraw(log: MemoryLog): Promise<void> {
  const context = { log, clock: STILL, processes: PROCESSES, pipeline: "p" };
  await decide(context, async ({ of }) => {
    const chosen = [];
    for await (const { unit, place } of readRefused(log, "p")) {
      if (!of.has(refusedKey(unit, place))) chosen.push({ unit, place });
    }
    return chosen.slice(-3);
  });
  const withdrawn = async () => {
    const asked = [];
    for await (const recorded of log.read("retry_p", { direction: "backwards", limit: 1 })) {
      const { first, unit, items } = decodeEventAs(recorded, "RetryAsked");
      for (const [at, place] of items.entries()) asked.push({ unit, place, asked: first + at });
    }
    return asked;
  };
  await decide(context, withdrawn, "not any more");
}
