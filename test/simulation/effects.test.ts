import fc from "fast-check";
import { describe, expect, test } from "vitest";
import type { MemoryLog } from "../../src/adapters/memory/log.ts";
import { decodeEvent, decodeEventAs } from "../../src/core/event-codec.ts";
import { decodeEffects, type EffectRow } from "../../src/engine/effect-columns.ts";
import type { EffectCall } from "../../src/pipeline/effects.ts";
import { type Pipeline, pipeline } from "../../src/pipeline/pipeline.ts";
import { delivered, expectSound } from "./expectations.ts";
import { type Circumstances, type Given, type Interruption, Simulation } from "./harness.ts";
import { runs, timeLimit, withoutWarnings } from "./property-runs.ts";
import type { SimulatedProcess } from "./simulated-process.ts";
import type { VirtualWorld } from "./virtual-world.ts";

const TIMEOUT_MS = timeLimit(1_200_000);

withoutWarnings();

interface Order {
  readonly v: number;
}

interface Called {
  readonly key: string;
  readonly v: number;
  /** Virtual time at which it began. */
  readonly at: number;
}

/** A service outside, slow and not to be relied on; it lives as long as the simulation. */
class Service {
  world: VirtualWorld | undefined;
  /** Who is running, and may ask. */
  process: SimulatedProcess | undefined;
  readonly called: Called[] = [];
  readonly #asked = new Map<string, number>();

  /** What it answers when it does: the number says how it behaves. */
  static answer(v: number): { readonly double: number } | "unknown" {
    return v % 7 === 0 || v % 11 === 0 ? "unknown" : { double: 2 * v };
  }

  note(key: string, v: number): void {
    this.called.push({ key, v, at: (this.world as VirtualWorld).now() });
  }

  /** An answer, if whoever asked for it is not dead when it comes: nothing of that goes on. */
  async reaching<T>(answer: () => Promise<T>): Promise<T> {
    const { process } = this;
    try {
      return await answer();
    } finally {
      if (process === undefined || process.dead) await new Promise<never>(() => {});
    }
  }

  ask(v: number, call: EffectCall): Promise<unknown> {
    return this.reaching(() => this.#answer(v, call));
  }

  async #answer(v: number, { key }: EffectCall): Promise<unknown> {
    const world = this.world as VirtualWorld;
    this.note(key, v);
    const times = (this.#asked.get(key) ?? 0) + 1;
    this.#asked.set(key, times);
    await world.sleep(5 + ((v * 37) % 60));
    // Refuses for ever.
    if (v % 7 === 0) throw new Error(`refused ${v}`);
    // Never answers in time, and wrongly when it does.
    if (v % 11 === 0) return world.sleep(500).then(() => ({ double: -1 }));
    // Fails at first, or answers too late at first.
    if (v % 3 === 0 && times === 1) throw new Error("not yet");
    if (v % 5 === 0 && times === 1) return world.sleep(400).then(() => ({ double: -2 }));
    return { double: 2 * v };
  }
}

/** A stage that calls it, caught or tried again by the stage's policy, and a total behind it that has to be restored. */
function orders(service: Service): Pipeline {
  const p = pipeline("p", { partitions: 2 });
  p.source<undefined, number>("in", { key: (record) => (record as Order).v % 4 })
    .map(
      "asked",
      async (record, ctx) => {
        const { v } = record as Order;
        const options = { timeout: 300, retry: { times: 1, backoff: 10 }, concurrency: 4 } as const;
        try {
          const first = await ctx.effect("first", (call) => service.ask(v, call), options);
          return { v, now: ctx.now(), first };
        } catch (error) {
          const fallback = await ctx.effect("fallback", () => "unknown");
          return { v, now: ctx.now(), first: fallback, message: (error as Error).message };
        }
      },
      { onError: { retry: { times: 2, backoff: 10 } } },
    )
    .flatMap("twice", (record) => [record, record])
    .map(
      "tried",
      async (record, ctx) => {
        const second = await ctx.effect("second", ({ key, attempt }) =>
          service.reaching(async () => {
            service.note(key, record.v);
            await (service.world as VirtualWorld).sleep(3);
            if (record.v % 4 === 1 && attempt < 3) throw new Error("only at the third time");
            return record.v;
          }),
        );
        return { ...record, second };
      },
      { onError: { retry: { times: 3, backoff: 5 } } },
    )
    .reduce("sums", {
      init: () => ({ count: 0, sum: 0 }),
      step: (total, record) => ({
        count: total.count + 1,
        sum: total.sum + (record.first === "unknown" ? 0 : (record.first as { double: number }).double),
      }),
      emit: (total, _key, record) => ({ ...record, ...total }),
    })
    .sink("out");
  return p;
}

const TIMED_OUT = "the effect first had no answer within 300 ms";

/** What has to come out, worked out without an engine. */
function expected(given: readonly Order[]): unknown[] {
  const totals = new Map<number, { count: number; sum: number }>();
  return given.flatMap(({ v }) => {
    const first = Service.answer(v);
    const total = totals.get(v % 4) ?? { count: 0, sum: 0 };
    totals.set(v % 4, total);
    return [0, 1].map(() => {
      total.count++;
      if (first !== "unknown") total.sum += first.double;
      const message = v % 7 === 0 ? `the effect first failed: refused ${v}` : TIMED_OUT;
      return { v, first, ...(first === "unknown" && { message }), second: v, ...total };
    });
  });
}

/** Every row that is kept of effects, with when it was in the log. */
async function keptEffects(log: MemoryLog): Promise<(EffectRow & { stream: string; at: number })[]> {
  const kept: (EffectRow & { stream: string; at: number })[] = [];
  for await (const event of log.readAll()) {
    if (event.type !== "EffectsRecorded") continue;
    const at = event.created;
    for (const row of decodeEffects(decodeEventAs(event, "EffectsRecorded"))) {
      kept.push({ ...row, stream: event.stream, at });
    }
  }
  return kept;
}

/** No effect is called after its value is in the log: counted beside the log's own readers. */
function expectNoneCalledAgain(
  called: readonly Called[],
  kept: readonly { key: string; kind: string; at: number }[],
) {
  const since = new Map<string, number>();
  for (const { key, kind, at } of kept) {
    if (kind === "value" && !since.has(key)) since.set(key, at);
  }
  expect(called.filter(({ key, at }) => at > (since.get(key) ?? Number.POSITIVE_INFINITY))).toEqual([]);
}

/** Each input of a step event has the outcomes that it was given inside of the range that the event names. */
async function expectRanges(log: MemoryLog, kept: readonly (EffectRow & { stream: string })[]) {
  const rows = new Map<string, EffectRow[]>();
  for await (const event of log.readAll()) {
    if (event.type !== "EffectsRecorded") continue;
    rows.set(`${event.stream}@${event.revision}`, decodeEffects(decodeEventAs(event, "EffectsRecorded")));
  }
  expect(kept.length).toBeGreaterThan(0);
  for await (const event of log.readAll()) {
    const { type, data } = decodeEvent(event);
    if (type !== "StepsRecorded" || !event.stream.startsWith("steps_p.asked.")) continue;
    const { first, count, effects = { revision: 0, events: 0 } } = data;
    const stream = event.stream.replace("steps_", "effects_");
    const given = Array.from(
      { length: effects.events },
      (_, at) => rows.get(`${stream}@${effects.revision + at}`) ?? [],
    );
    for (let n = first; n < first + count; n++) {
      const own = given.flat().filter((row) => row.n === n);
      // The first effect, or its fallback, and the second for both halves.
      expect(
        own.filter(({ stage, kind }) => stage === "tried" && kind === "value").map(({ k }) => k),
      ).toEqual(expect.arrayContaining([0, 1]));
      expect(own.some(({ stage, kind }) => stage === "asked" && kind === "value")).toBe(true);
    }
  }
}

const numbers = fc.array(fc.integer({ min: 1, max: 400 }), { minLength: 5, maxLength: 40 });
const deaths: fc.Arbitrary<readonly Interruption[]> = fc.array(
  fc.oneof(
    {
      weight: 1,
      arbitrary: fc.record({ kind: fc.constant("stop" as const), at: fc.integer({ min: 5, max: 90 }) }),
    },
    {
      weight: 4,
      arbitrary: fc.record({
        kind: fc.constant("crash" as const),
        at: fc.integer({ min: 5, max: 90 }),
        made: fc.boolean(),
      }),
    },
  ),
  { minLength: 1, maxLength: 4 },
);
const how = fc.record({
  seed: fc.integer(),
  nodes: fc.integer({ min: 1, max: 3 }),
  batchRecords: fc.constantFrom(1, 3, 8, 64),
  tickMs: fc.constantFrom(1, 10, 50),
  delayMs: fc.constantFrom(0, 3, 30),
  losses: fc.array(fc.integer({ min: 5, max: 60 }), { maxLength: 2 }),
  failures: fc.array(fc.record({ at: fc.integer({ min: 1, max: 60 }), made: fc.boolean() }), {
    maxLength: 3,
  }),
});

/** Runs it through all interruptions, until everything is through. */
async function run(values: readonly number[], circumstances: Circumstances) {
  const service = new Service();
  const given = values.map((v, at) => ({ value: { v }, ordinal: (at + 1) * 4_096 }));
  const inputs = new Map<string, readonly Given[]>([["in", given]]);
  const simulation = new Simulation(orders(service).definition, inputs, circumstances);
  service.world = simulation.world;
  const all: ReadonlyMap<string, readonly never[]>[] = [];
  const left: (Interruption | undefined)[] = [...circumstances.interruptions, undefined];
  for (let calm = circumstances; left.length > 0; ) {
    const running = await simulation.start({ circumstances: calm }, left.shift());
    service.process = running.process;
    const ended = await simulation.finish(running);
    all.push(running.delivered as never);
    // Who comes next cuts other batches: a step event then has results that were kept before the one ahead of it.
    calm = { ...calm, batchRecords: Math.max(1, Math.ceil(calm.batchRecords / 3)) };
    if (!ended && left.length === 0) {
      left.push(undefined);
      calm = { ...calm, failures: [] };
    }
  }
  const { log, refused, restarts } = simulation;
  await expectSound(log);
  const outputs = delivered("out", { log, runs: all, refused, restarts }, true);
  return { service, log, outputs, given };
}

describe("effects of a running pipeline", () => {
  test(
    "come to the same, and none that is kept is called again, whatever befalls the process",
    async () => {
      await fc.assert(
        fc.asyncProperty(numbers, deaths, how, async (values, interruptions, circumstances) => {
          const { service, log, outputs, given } = await run(values, { ...circumstances, interruptions });
          expect(outputs.map(({ value }) => withoutNow(value))).toEqual(
            expected(given.map(({ value }) => value)),
          );
          for (const { value, ordinal } of outputs) {
            expect((value as { now: number }).now).toBe(Date.UTC(2020, 0, 1) + ordinal / 4_096);
          }
          const kept = await keptEffects(log);
          expectNoneCalledAgain(service.called, kept);
          await expectRanges(log, kept);
        }),
        runs(40),
      );
    },
    TIMEOUT_MS,
  );

  test(
    "that were kept before the process died between them and its step event are served",
    async () => {
      const values = Array.from({ length: 12 }, (_, at) => at + 1);
      let served = 0;
      for (let at = 6; at <= 40; at++) {
        for (const made of [false, true]) {
          const interruptions = [{ kind: "crash", at, made }] as const;
          const ordinary = { nodes: 1, batchRecords: 6, tickMs: 10, delayMs: 0, losses: [], failures: [] };
          const { service, log, outputs, given } = await run(values, {
            seed: at,
            ...ordinary,
            interruptions,
          });
          expect(outputs.map(({ value }) => withoutNow(value))).toEqual(
            expected(given.map(({ value }) => value)),
          );
          const kept = await keptEffects(log);
          expectNoneCalledAgain(service.called, kept);
          await expectRanges(log, kept);
          served += await leftAndTakenOver(log);
        }
      }
      // The case is really met, or nothing is shown.
      expect(served).toBeGreaterThan(20);
    },
    TIMEOUT_MS,
  );
});

/** How many values were kept by an owner that died before the step event of their input, and taken over. */
async function leftAndTakenOver(log: MemoryLog): Promise<number> {
  const epochOf = new Map<string, number>();
  const rows: { readonly id: string; readonly epoch: number }[] = [];
  for await (const event of log.readAll()) {
    const { type, data } = decodeEvent(event);
    const unit = event.stream.slice(event.stream.indexOf("_"));
    if (type === "StepsRecorded") {
      for (let n = data.first; n < data.first + data.count; n++) epochOf.set(`${unit}@${n}`, data.epoch);
    }
    if (type !== "EffectsRecorded") continue;
    for (const { n, kind } of decodeEffects(data)) {
      if (kind === "value") rows.push({ id: `${unit}@${n}`, epoch: data.epoch });
    }
  }
  return rows.filter(({ id, epoch }) => epoch < (epochOf.get(id) ?? epoch)).length;
}

function withoutNow(value: unknown): unknown {
  const { now: _now, ...rest } = value as { readonly now: number };
  return rest;
}
