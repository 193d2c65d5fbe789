import fc from "fast-check";
import { describe, expect, test } from "vitest";
import type { MemoryLog } from "../../src/adapters/memory/log.ts";
import { decodeEventAs } from "../../src/core/event-codec.ts";
import { decodeEffects, type EffectRow } from "../../src/engine/effect-columns.ts";
import { count, tumbling } from "../../src/index.ts";
import type { PipelineDefinition } from "../../src/pipeline/definition.ts";
import { pipeline } from "../../src/pipeline/pipeline.ts";
import { Homes } from "../../src/runtime/homes.ts";
import { PutBackPlaces } from "../../src/runtime/put-back-places.ts";
import { ORDINARY } from "./expectations.ts";
import { diffIn, historyOf, simulateFork, throughOf } from "./fork-runs.ts";
import { simulate } from "./harness.ts";
import { readLogContent } from "./log-content.ts";
import { timeLimit, withoutWarnings } from "./property-runs.ts";
import type { Item } from "./random-words.ts";

const TIMEOUT_MS = timeLimit(600_000);

withoutWarnings();

/** What a pipeline asks, and how often it fails: it answers each time with another number. */
class Outside {
  calls = 0;
  /** Whether anybody is there to ask. */
  there = true;
  /** Whether stages refuse something, and wait for nothing. */
  mended = false;
  readonly #tries = new Map<string, number>();

  answer(): number {
    if (!this.there) throw new Error("nobody is to be asked");
    return ++this.calls;
  }

  /** Fails so many times for a record at a stage. */
  refuse(stage: string, item: Item, times: number): void {
    const at = `${stage} ${item.k} ${item.v}`;
    const before = this.#tries.get(at) ?? 0;
    this.#tries.set(at, before + 1);
    if (!this.mended && before < times) throw new Error("not yet");
  }
}

interface AskingContext {
  effect(name: string, call: () => unknown): Promise<unknown>;
}

/** A fan-out, in which records fail ahead of effects, at stages with effects, and several times, in two segments. */
function asking(outside: Outside, refusals = 1): PipelineDefinition {
  const p = pipeline("p", { partitions: 2 });
  const every = (by: number, times: number) => (item: Item) => (item.v % by === 0 ? times : 0);
  const ask =
    (stage: string, times: (item: Item) => number) => async (record: unknown, ctx: AskingContext) => {
      const item = record as Item;
      outside.refuse(stage, item, times(item));
      return { ...item, [stage]: await ctx.effect("ask", () => outside.answer()) };
    };
  p.source<undefined>("m")
    .map("first", ask("first", every(3, 2)) as never)
    .flatMap("parts", (record) => {
      const item = record as unknown as Item;
      return [item, { ...item, v: item.v + 1_000 }, { ...item, v: item.v + 2_000 }] as never;
    })
    .map("second", ask("second", every(4, refusals)) as never)
    .map("after", ask("after", every(1, 0)) as never)
    .keyBy("by-k", (record) => (record as unknown as Item).k)
    .map("third", ask("third", every(5, 2)) as never)
    .map("last", ask("last", every(1, 0)) as never)
    .sink("out");
  return p.definition;
}

const GIVEN = new Map([
  ["m", Array.from({ length: 60 }, (_, v) => ({ value: { k: v % 3, v }, ordinal: 2 * v + 1 }))],
]);
/** Everything that was refused is asked for, again and again, until nothing is refused any more. */
const OFTEN = Array.from({ length: 100 }, (_, at) => 10 + 12 * at);

/** How a stage behaves: it may ask before and after it refuses a record, so many times, and what it asks may fail. */
interface Behaviour {
  readonly refuses: number;
  readonly asksBefore: boolean;
  readonly failures: number;
  /** How often the stage is tried again in the pipeline, and in the fork. */
  readonly tries: readonly [number, number];
}

function oneStage(outside: Outside, { refuses, asksBefore, failures }: Behaviour, tries: number) {
  const p = pipeline("p", { partitions: 2 });
  const failed = new Map<number, number>();
  p.source<undefined>("m")
    .map(
      "asks",
      (async (item: Item, ctx: AskingContext) => {
        const before = asksBefore ? await ctx.effect("before", () => outside.answer()) : undefined;
        outside.refuse("asks", item, refuses);
        const behind = await ctx.effect("behind", () => {
          const times = failed.get(item.v) ?? 0;
          failed.set(item.v, times + 1);
          if (times < failures) throw new Error("not now");
          return outside.answer();
        });
        return { ...item, ...(asksBefore && { before }), behind };
      }) as never,
      tries === 0 ? {} : { onError: { retry: { times: tries, backoff: 1 } } },
    )
    .sink("out");
  return p.definition;
}

const SELDOM = Array.from({ length: 10 }, (_, at) => 10 + 48 * at);

async function effectsIn(log: MemoryLog, name: string): Promise<EffectRow[]> {
  const rows: EffectRow[] = [];
  for await (const event of log.readAll()) {
    if (event.type !== "EffectsRecorded" || !event.stream.startsWith(`effects_${name}.`)) continue;
    rows.push(...decodeEffects(decodeEventAs(event, "EffectsRecorded")));
  }
  return rows;
}

/** A pipeline that runs with failures, and then a fork of it without, while nobody is to be asked. */
async function runBoth(outside: Outside, ran: PipelineDefinition, definition = ran, retries = OFTEN) {
  const how = { ...ORDINARY, batchRecords: 4, delayMs: 5, retries };
  const { log } = await simulate(ran, GIVEN, how);
  const askedFor = async () => (await readLogContent(log)).retries.length;
  for (let asked = 0; retries === OFTEN && asked !== (await askedFor()); ) {
    asked = await askedFor();
    await simulate(ran, GIVEN, how, log);
  }
  const to = await throughOf(log, ran);
  const fork = { log, ran, definition, from: 0, to, circumstances: ORDINARY };
  outside.mended = true;
  outside.there = false;
  const differencesOf = async (newEffects: "refused" | "called") => {
    const one = { ...fork, id: newEffects, newEffects };
    await simulateFork(one);
    return diffIn(one, "out");
  };
  return { log, differencesOf };
}

describe("the effects of records that were put back", () => {
  test(
    "are served where a fork takes the records at once, behind fan-outs and keys, however often they were refused",
    async () => {
      const outside = new Outside();
      const ran = asking(outside);
      const { log, differencesOf } = await runBoth(outside, ran);
      const { retries } = await readLogContent(log);
      expect(retries.length).toBeGreaterThan(100);
      expect(retries.some(({ root }) => root.startsWith("retry_"))).toBe(true);
      const { counts, differences } = await differencesOf("refused");
      expect(differences).toEqual([]);
      expect(counts.same).toBe(180);
    },
    TIMEOUT_MS,
  );

  test(
    "are served behind a window, too, whose results were refused",
    async () => {
      const outside = new Outside();
      const p = pipeline("p", { partitions: 2 });
      const ask = (stage: string, times: number) =>
        (async (total: Item, ctx: AskingContext) => {
          outside.refuse(stage, total, times);
          return { ...total, [stage]: await ctx.effect("ask", () => outside.answer()) };
        }) as never;
      p.source<undefined, number>("m", {
        key: (record) => (record as unknown as Item).k,
        eventTime: (record) => 1_000 * (record as unknown as Item).v,
      })
        .window("w", tumbling("5s"), {
          aggregate: { n: count() },
          emit: ({ n }, { key, start }) => ({ k: key, v: start ?? 0, n }),
        })
        .map("refuses", ask("refuses", 1))
        .map("after", ask("after", 0))
        .sink("out");
      const { log, differencesOf } = await runBoth(outside, p.definition);
      expect((await readLogContent(log)).retries.length).toBe(36);
      const { counts, differences } = await differencesOf("refused");
      expect(differences).toEqual([]);
      expect(counts.same).toBe(36);
    },
    TIMEOUT_MS,
  );

  test(
    "that were never asked are missing, or called, and no others",
    async () => {
      const outside = new Outside();
      const ran = asking(outside, 1_000);
      const { log, differencesOf } = await runBoth(outside, ran, ran, SELDOM);
      // Of each record one at the first stage, and four further down of each of its parts: nothing was asked in vain.
      const never = 60 + 180 * 4 - (await effectsIn(log, "p")).length;
      await expect(differencesOf("refused")).rejects.toMatchObject({ code: "EffectMissing" });
      outside.there = true;
      const before = outside.calls;
      const { counts } = await differencesOf("called");
      expect(counts).toMatchObject({ changed: 0, gone: 0 });
      expect(counts.added).toBeGreaterThanOrEqual(45);
      expect(outside.calls - before).toBe(never);
      expect(never).toBeGreaterThanOrEqual(45 * 4);
    },
    TIMEOUT_MS,
  );

  test.each<[string, Behaviour]>([
    ["asked after it had refused", { refuses: 2, asksBefore: false, failures: 0, tries: [0, 0] }],
    ["that had failed, the last time not", { refuses: 1, asksBefore: false, failures: 2, tries: [0, 0] }],
    ["that failed and were tried again", { refuses: 1, asksBefore: false, failures: 3, tries: [1, 1] }],
    [
      "that refused, if the other code tries again",
      { refuses: 0, asksBefore: false, failures: 2, tries: [0, 1] },
    ],
  ])(
    "at the stage that refused are those with which it went on: %s",
    async (_, behaviour) => {
      const outside = new Outside();
      const ran = oneStage(outside, behaviour, behaviour.tries[0]);
      const { log, differencesOf } = await runBoth(
        outside,
        ran,
        oneStage(outside, behaviour, behaviour.tries[1]),
      );
      expect((await readLogContent(log)).retries.length).toBeGreaterThanOrEqual(60);
      const { counts, differences } = await differencesOf("refused");
      expect(differences).toEqual([]);
      expect(counts.same).toBe(60);
    },
    TIMEOUT_MS,
  );

  test(
    "are those from before a record was refused, as far as its stage had got then",
    async () => {
      const outside = new Outside();
      const ran = oneStage(outside, { refuses: 1, asksBefore: true, failures: 0, tries: [0, 0] }, 0);
      const { log, differencesOf } = await runBoth(outside, ran);
      const { counts } = await differencesOf("refused");
      // It asked twice before it went on, and was told something else the second time.
      expect(counts).toMatchObject({ same: 0, changed: 60, added: 0, gone: 0 });
      const first = new Map<string, Uint8Array>();
      const rows = await effectsIn(log, "p");
      for (const { key, bytes } of rows) if (!first.has(key)) first.set(key, bytes);
      const served = await effectsIn(log, "p~refused");
      expect(rows).toHaveLength(60 * 3);
      expect(served).toHaveLength(60 * 2);
      for (const { key, bytes } of served) expect(bytes).toEqual(first.get(key));
    },
    TIMEOUT_MS,
  );

  test(
    "are found whichever part of history is asked for, where few records have room",
    async () => {
      const outside = new Outside();
      const ran = asking(outside);
      const { log } = await runBoth(outside, ran);
      const history = await historyOf(log, "p", ran);
      const homes = new Homes(log, history);
      const { retries } = await readLogContent(log);
      const asked: { readonly ordinal: number; readonly root: string; readonly path: string }[] = [];
      for (const item of retries.keys()) {
        const home = await homes.ofItem(item);
        if (home === "gone") throw new Error("nothing was let go of");
        // And something that would come of it.
        asked.push({ ordinal: home.ordinal, root: home.address, path: `${home.path}\u0001` });
      }
      const all = new PutBackPlaces({ log, history, homes });
      for (const most of [1, 3, 16]) {
        const few = new PutBackPlaces({ log, history, homes, most });
        const shuffled = fc.sample(fc.shuffledSubarray(asked, { minLength: asked.length }), {
          numRuns: 1,
          seed: most,
        })[0] as typeof asked;
        const found = await Promise.all(shuffled.map(({ ordinal, ...at }) => few.of(ordinal, at)));
        for (const [index, { ordinal, ...at }] of shuffled.entries()) {
          expect(found[index]?.length).toBeGreaterThan(0);
          expect(found[index]).toEqual(await all.of(ordinal, at));
          expect(await few.of(ordinal + 1, at)).toEqual([]);
        }
      }
    },
    TIMEOUT_MS,
  );
});
