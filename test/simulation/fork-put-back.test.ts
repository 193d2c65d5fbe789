import fc from "fast-check";
import { describe, expect, test } from "vitest";
import type { MemoryLog } from "../../src/adapters/memory/log.ts";
import { formatAddress } from "../../src/core/address.ts";
import { readIndexElement } from "../../src/core/path.ts";
import type { PipelineDefinition } from "../../src/pipeline/definition.ts";
import { pipeline } from "../../src/pipeline/pipeline.ts";
import { LineageReader } from "../../src/runtime/lineage-reader.ts";
import { addressOfOutput } from "../../src/runtime/output-by-key.ts";
import { readRefused } from "../../src/runtime/quarantine.ts";
import { ORDINARY, withinReason } from "./expectations.ts";
import {
  addressesIn,
  diffIn,
  NOTHING_LOADED,
  naiveDiff,
  outputsIn,
  simulateFork,
  throughOf,
} from "./fork-runs.ts";
import { type Delivery, simulate } from "./harness.ts";
import { letGo, windowLeft } from "./letting-go.ts";
import { type LogContent, readLogContent } from "./log-content.ts";
import { assertMet, runs, timeLimit, withoutWarnings } from "./property-runs.ts";
import {
  beginningAt,
  circumstances,
  definitionOf,
  inputsOf,
  inputWords,
  pipelineWords,
  withoutSamples,
} from "./random-pipelines.ts";
import type { Item, PipelineWords, StageWords } from "./random-words.ts";

const TIMEOUT_MS = timeLimit(600_000);
const BOUND = fc.integer({ min: 1, max: 60 }).map((events) => ({ events }));
/** Outputs of a sink whose names are tried. */
const KEYS_MOST = 8;

withoutWarnings();

/** The same pipeline, in which nothing fails. */
function mended(words: PipelineWords): PipelineWords {
  return { ...words, stages: words.stages.map((one) => ({ ...one, fails: 0 })) };
}

/** What each record gives depends on nothing but the record, and what fails passes when it is put back. */
function stateless(words: PipelineWords): PipelineWords {
  const kinds = ["map", "filter", "flatMap", "union", "split", "route", "keyBy"] as const;
  const plain = (one: StageWords, at: number): StageWords => {
    const kind = kinds.find((known) => known === one.kind) ?? kinds[(one.variant + at) % 3] ?? "map";
    // Of a map (a union of one is one), not what tells the way by which a record came; of a flatMap, not too much.
    const variant =
      kind === "map" || kind === "union" ? [0, 1, 4, 5, 10, 11][one.variant % 6] : Math.max(2, one.variant);
    // A key is given without knowing whether the record came back.
    return { ...one, kind, variant: variant ?? 0, fails: kind === "keyBy" ? 0 : one.fails };
  };
  return { ...words, stages: words.stages.map(plain) };
}

/** Where outputs would be if what they come of had not been refused, by what the quarantine says of that. */
function atHome(content: LogContent, all: readonly Delivery[], from: number): Delivery[] {
  const home = (key: string): { readonly key: string; readonly retried: boolean } => {
    const [root = "", path = ""] = key.split("~");
    const [, item] = /^retry_p@(\d+)$/.exec(root) ?? [];
    const asked = content.retries[Number(item)];
    if (item === undefined || asked === undefined) return { key, retried: false };
    const text = Buffer.from(path, "hex").toString("latin1");
    const { end } = readIndexElement(text, readIndexElement(text, 0).end);
    const since = Buffer.from(text.slice(text.indexOf("\0", end) + 1), "latin1").toString("hex");
    const there = asked.path + since;
    return { key: home(there === "" ? asked.root : `${asked.root}~${there}`).key, retried: true };
  };
  const ordinalOf = (key: string): number => {
    const [, kind, name = "", n] = /^(source|firing)_(p\.[^@]*)@(\d+)/.exec(key) ?? [];
    return kind === "firing" ? Number(n) : (content.sources[`source_${name}`]?.[Number(n)]?.ordinal ?? -1);
  };
  return all.flatMap((one) => {
    const { key, retried } = home(one.key);
    if (!retried) return [one];
    const ordinal = ordinalOf(key);
    return ordinal < from ? [] : [{ ...one, key, ordinal }];
  });
}

async function refusedIn(log: MemoryLog, name: string): Promise<number> {
  let refused = 0;
  for await (const { record } of readRefused(log, name)) if (record.kind === "quarantined") refused++;
  return refused;
}

/** Compares a fork's difference with that of an independent reading; answers its counts, over all sinks. */
async function compared(
  log: MemoryLog,
  content: LogContent,
  ran: PipelineDefinition,
  definition: PipelineDefinition,
  window: { readonly from: number; readonly to: number },
) {
  const totals = { same: 0, changed: 0, added: 0, gone: 0 };
  for (const { name } of definition.sinks) {
    const was = await outputsIn(log, "p", ran, name, window.from, window.to);
    const made = await outputsIn(log, "p~f", definition, name, window.from, window.to);
    const fork = { log, ran, definition, id: "f", ...window, circumstances: ORDINARY };
    const { counts, differences } = await diffIn(fork, name);
    const naive = naiveDiff(atHome(content, was, window.from), made);
    expect(counts).toEqual(naive.counts);
    const found = differences.map(({ ordinal, key, kind, before, after }) => [
      `${ordinal} ${key}`,
      { kind, before, after },
    ]);
    expect(new Map(found as [string, unknown][])).toEqual(naive.found);
    // In logical order, also where what was put back stands among the rest.
    const ordinals = differences.map(({ ordinal }) => ordinal);
    expect(ordinals).toEqual([...ordinals].sort((a, b) => a - b));
    // Each has a name by which it is found, where it is recorded.
    for (const side of ["p", "p~f"]) {
      const reader = new LineageReader(log, NOTHING_LOADED);
      const all = [...(await addressesIn(log, side, name, window.from, window.to))];
      for (const [key, address] of all.filter((_, at) => at % Math.ceil(all.length / KEYS_MOST) === 0)) {
        const query = { log, reader, pipeline: side, sink: name };
        expect(formatAddress(await addressOfOutput(query, key))).toBe(address);
      }
    }
    for (const kind of ["same", "changed", "added", "gone"] as const) totals[kind] += counts[kind];
  }
  return totals;
}

describe("a fork of a pipeline in which records were put back", () => {
  test(
    "in which nothing fails gives what the pipeline gave with everything put back, where stages have no state",
    async () => {
      let back = 0;
      await assertMet(
        fc.asyncProperty(
          pipelineWords.map(withoutSamples).map(stateless),
          inputWords,
          circumstances,
          fc.array(fc.integer({ min: 1, max: 100 }), { maxLength: 2 }),
          async (words, input, how, retries) => {
            const ran = definitionOf(words);
            const definition = definitionOf(mended(words));
            const given = inputsOf(ran, input, true);
            await withinReason(ran, given);
            await withinReason(definition, given);
            const { log } = await simulate(ran, given, { ...how, retries });
            const content = await readLogContent(log);
            const to = await throughOf(log, ran);
            // What was asked after a record was put back is served where it had failed.
            const fork = { log, ran, definition, id: "f", from: 0, to, newEffects: "refused" as const };
            await simulateFork({ ...fork, circumstances: how });
            // Of one input more may come out than is allowed, where it did not come in two parts.
            fc.pre((await refusedIn(log, "p~f")) === 0);
            const counts = await compared(log, content, ran, definition, { from: 0, to });
            expect({ ...counts, same: 0 }).toEqual({ same: 0, changed: 0, added: 0, gone: 0 });
            if (counts.same > 0) back += content.retries.length;
          },
        ),
        runs(60),
        () => ({ back: back > 0 }),
      );
    },
    TIMEOUT_MS,
  );

  test(
    "is compared with what came of them where they had failed, whatever the stages are and wherever it begins",
    async () => {
      let back = 0;
      await assertMet(
        fc.asyncProperty(
          pipelineWords.map(withoutSamples),
          inputWords,
          circumstances,
          fc.array(fc.integer({ min: 1, max: 100 }), { maxLength: 2 }),
          fc.boolean(),
          fc.constantFrom(0, 0, 20, 40),
          async (words, input, how, retries, mend, share) => {
            const ran = definitionOf(words);
            const definition = definitionOf(mend ? mended(words) : words);
            const given = inputsOf(ran, input, true);
            await withinReason(ran, given);
            await withinReason(definition, given);
            const { log } = await simulate(ran, given, { ...how, retries, discards: share === 20 });
            const content = await readLogContent(log);
            const to = await throughOf(log, ran);
            const from = beginningAt(given, share);
            fc.pre(from <= to);
            const fork = { log, ran, definition, id: "f", from, to };
            await simulateFork({ ...fork, circumstances: how });
            await compared(log, content, ran, definition, { from, to });
            back += content.retries.length;
          },
        ),
        runs(60),
        () => ({ back: back > 0 }),
      );
    },
    TIMEOUT_MS,
  );

  test(
    "finds no difference where the beginning of history was let go of, or only samples are kept, either",
    async () => {
      let later = 0;
      let broken = 0;
      let same = 0;
      let unverifiable = 0;
      await assertMet(
        fc.asyncProperty(
          fc.oneof(pipelineWords, pipelineWords.map(withoutSamples)).map(stateless),
          inputWords,
          circumstances,
          fc.array(fc.integer({ min: 1, max: 100 }), { maxLength: 2 }),
          fc.record({ payload: BOUND, steps: BOUND, effects: BOUND }, { requiredKeys: [] }),
          async (words, input, how, retries, policy) => {
            const ran = definitionOf(words);
            const definition = definitionOf(mended(words));
            const given = inputsOf(ran, input, true);
            await withinReason(ran, given);
            await withinReason(definition, given);
            const { log } = await simulate(ran, given, { ...ORDINARY, batchRecords: 4, retries });
            const to = await throughOf(log, ran);
            await letGo(log, ran, policy);
            const left = await windowLeft(log, ran, { from: 0, to });
            fc.pre(left !== undefined);
            const { from, gaps } = left ?? { from: 0, gaps: false };
            const fork = { log, ran, definition, id: "f", from, to, ...(gaps && { gaps }) };
            await simulateFork({ ...fork, circumstances: how });
            fc.pre((await refusedIn(log, "p~f")) === 0);
            for (const { name } of definition.sinks) {
              const { counts, differences } = await diffIn({ ...fork, circumstances: how }, name);
              expect(differences).toEqual([]);
              same += counts.same;
              unverifiable += counts.unverifiable ?? 0;
            }
            if (from > 0) later++;
            if (gaps) broken++;
          },
        ),
        runs(60),
        () => ({ later: later > 0, broken: broken > 0, same: same > 0, unverifiable: unverifiable > 0 }),
      );
    },
    TIMEOUT_MS,
  );

  test(
    "finds the home of what failed several times, at one stage and at several, behind a fan-out",
    async () => {
      const tries = new Map<string, number>();
      // A record fails at a stage as often as its place in `often` says, before it passes.
      const fails = (stage: string, often: (item: Item) => number) => (record: unknown) => {
        const item = record as Item;
        const at = `${stage} ${item.k} ${item.v}`;
        const before = tries.get(at) ?? 0;
        tries.set(at, before + 1);
        if (before < often(item)) throw new Error("not yet");
        return item;
      };
      const define = (fail: boolean) => {
        const p = pipeline("p", { partitions: 2 });
        const often = (by: number, times: number) => (item: Item) => (fail && item.v % by === 0 ? times : 0);
        p.source<undefined>("m")
          .map("first", fails(`first ${fail}`, often(3, 2)) as never)
          .flatMap("parts", (record) => {
            const item = record as unknown as Item;
            return [item, { ...item, v: item.v + 1_000 }, { ...item, v: item.v + 2_000 }] as never;
          })
          .map("second", fails(`second ${fail}`, often(4, 1)) as never)
          .keyBy("by-k", (record) => (record as unknown as Item).k)
          .map("third", fails(`third ${fail}`, often(5, 2)) as never)
          .sink("out");
        return p.definition;
      };
      const ran = define(true);
      const definition = define(false);
      const given = new Map([
        ["m", Array.from({ length: 60 }, (_, v) => ({ value: { k: v % 3, v }, ordinal: 2 * v + 1 }))],
      ]);
      const { log } = await simulate(ran, given, {
        ...ORDINARY,
        batchRecords: 4,
        delayMs: 5,
        retries: Array.from({ length: 40 }, (_, at) => 10 + 12 * at),
      });
      const content = await readLogContent(log);
      const to = await throughOf(log, ran);
      const fork = { log, ran, definition, id: "f", from: 0, to };
      await simulateFork({ ...fork, circumstances: ORDINARY });
      const counts = await compared(log, content, ran, definition, { from: 0, to });
      // Some came back five times; what is still refused at the end is added.
      expect(content.retries.some(({ root }) => root.startsWith("retry_"))).toBe(true);
      expect(counts.same + counts.added).toBe(180);
      expect(counts.same).toBeGreaterThan(150);
      expect(counts).toMatchObject({ changed: 0, gone: 0 });
    },
    TIMEOUT_MS,
  );
});
