import fc from "fast-check";
import { describe, expect, test } from "vitest";
import type { StageState } from "../../src/app/state-types.ts";
import { decodeDeltas } from "../../src/core/columns.ts";
import { decodeEvent } from "../../src/core/event-codec.ts";
import { isStateful } from "../../src/pipeline/definition.ts";
import { pipeline } from "../../src/pipeline/pipeline.ts";
import { withinReason } from "./expectations.ts";
import type { Given } from "./harness.ts";
import { acceptedOrdinals } from "./log-content.ts";
import { assertMet, runs as numRuns, timeLimit, withoutWarnings } from "./property-runs.ts";
import { definitionOf, inputsOf, inputWords, pipelineWords, withoutSamples } from "./random-pipelines.ts";
import { type Inputs, StateRuns } from "./state-runs.ts";

const TIMEOUT_MS = timeLimit(300_000);

withoutWarnings();

function upTo(inputs: ReadonlyMap<string, readonly Given[]>, ordinal: number): Inputs {
  return Object.fromEntries(
    [...inputs].map(([name, given]) => [name, given.filter((record) => (record.ordinal ?? 0) <= ordinal)]),
  );
}

/** What is kept of all keys, but for what a stage drew by chance. */
function kept(state: StageState): unknown {
  const text = JSON.stringify([...(state.entries as Iterable<unknown>)], (name, value: unknown) =>
    name === "random" || name === "uuid" ? undefined : typeof value === "bigint" ? `${value}n` : value,
  );
  return JSON.parse(text);
}

/** All events up to the first source's event with a record that is later, in the order of the log. */
async function eventsBefore(runs: StateRuns, ordinal: number): Promise<string[]> {
  const ids: string[] = [];
  for await (const event of runs.log.readAll()) {
    if (event.stream.startsWith("source_")) {
      const { data } = decodeEvent(event);
      // Ordinals ascend: where one is later, the last one is.
      const last = "ordinals" in data && data.ordinals ? (decodeDeltas(data.ordinals).at(-1) ?? -1) : -1;
      if (last > ordinal) return ids;
    }
    ids.push(event.id);
  }
  return ids;
}

/** A fold that has nothing to do with audits. */
const events = {
  init: (): string[] => [],
  apply: (ids: string[], item: { readonly kind: string; readonly id?: string }) =>
    item.kind === "event" ? [...ids, item.id ?? ""] : ids,
};

describe("a view of a pipeline as of an ordinal", () => {
  test(
    "has the states of a run that was given the inputs up to there, and the log of then, whatever the pipeline",
    async () => {
      let compared = 0;
      await assertMet(
        fc.asyncProperty(
          pipelineWords.map(withoutSamples),
          inputWords,
          fc.integer({ min: 1, max: 40 }),
          fc.double({ min: 0, max: 1, noNaN: true }),
          async (words, input, batchRecords, share) => {
            const definition = definitionOf(words);
            const inputs = inputsOf(definition, input, true);
            await withinReason(definition, inputs);
            const settings = { batchRecords, keepOpen: true };
            const [whole, only] = [new StateRuns(), new StateRuns()];
            await whole.run(definition, upTo(inputs, Number.MAX_SAFE_INTEGER), settings);
            const ordinals: number[] = [];
            for (const source of inputs.keys())
              ordinals.push(...(await acceptedOrdinals(whole.log, "p", source)));
            if (ordinals.length === 0) return;
            const at = ordinals[Math.floor(share * (ordinals.length - 1))] as number;
            await only.run(definition, upTo(inputs, at), settings);
            const [view, expected] = [await whole.view({ ordinal: at }), await only.view({ ordinal: at })];
            const stateful = definition.stages.filter(isStateful).map(({ name }) => name);
            expect(view.stages.map(({ name }) => name)).toEqual(stateful);
            for (const stage of stateful) {
              const found = kept(await view.state(stage));
              expect(found, `${stage} as of ${at}`).toEqual(kept(await expected.state(stage)));
              if ((found as unknown[]).length > 0) compared++;
            }
            expect(await view.project(events)).toEqual(await eventsBefore(whole, at));
            expect((await view.audit()).checks.filter(({ failed }) => failed > 0)).toEqual([]);
          },
        ),
        { ...numRuns(120), endOnFailure: true },
        () => ({ compared: compared > 40 }),
      );
    },
    TIMEOUT_MS,
  );
});

interface Item {
  readonly k: string;
  readonly v: number;
  readonly t: number;
}

const given = Array.from({ length: 30 }, (_, v) => ({
  value: { k: `k${v % 2}`, v, t: 10 * v },
  ordinal: v + 1,
}));

/** Totals by key, in which a record counts `weight` times. */
function weighed(name: string, weight: number) {
  const p = pipeline("p", { partitions: 2 });
  p.source<undefined, string>("in", {
    key: (item) => (item as Item).k,
    eventTime: (item) => (item as Item).t,
  })
    .map("rows", (item) => item as Item)
    .reduce(name, { init: () => 0, step: (sum, { v }) => sum + weight * v, emit: (sum) => sum })
    .sink("out");
  return p.definition;
}

const sums = (to: number, weight: (v: number) => number) =>
  [0, 1].map((k) => ({
    key: `k${k}`,
    total: given.reduce((sum, { value: { v } }) => (v < to && v % 2 === k ? sum + weight(v) * v : sum), 0),
  }));

describe("a view", () => {
  async function twoVersions() {
    const runs = new StateRuns();
    await runs.run(weighed("old", 1), { in: given.slice(0, 10) }, { batchRecords: 4, keepOpen: true });
    await runs.run(weighed("new", 10), { in: given }, { batchRecords: 4, keepOpen: true });
    return runs;
  }

  test("has the stages, version and state of then, and does not change as the log goes on", async () => {
    const runs = new StateRuns();
    await runs.run(weighed("old", 1), { in: given.slice(0, 10) }, { batchRecords: 4, keepOpen: true });
    const view = await runs.view({ ordinal: 10 });
    const about = async () => ({
      stages: view.stages,
      version: view.version,
      state: kept(await view.state("old")),
      key: kept(await view.state("old", { key: "k1" })),
      events: await view.project(events),
      forward: (await view.lineage("source_p.in@3", { forward: true })).vertices.length,
    });
    const before = await about();
    expect(before).toMatchObject({ stages: [{ name: "old", kind: "reduce" }], version: 1 });
    expect(before.state).toMatchObject(sums(10, () => 1));
    expect(before.key).toMatchObject(sums(10, () => 1).slice(1));
    expect(before.forward).toBeGreaterThan(1);
    await runs.run(weighed("new", 10), { in: given }, { batchRecords: 4, keepOpen: true });
    expect(await about()).toEqual(before);
    const later = await runs.view({ ordinal: 30 });
    expect(later).toMatchObject({ stages: [{ name: "new", kind: "reduce" }], version: 2 });
    expect(kept(await later.state("new"))).toMatchObject(sums(30, (v) => (v < 10 ? 0 : 10)));
  });

  test("can be asked for by event time, before the first later record", async () => {
    const runs = await twoVersions();
    const view = await runs.view({ eventTime: 45 });
    expect(view.ordinal).toBe(5);
    expect(kept(await view.state("old"))).toMatchObject(sums(5, () => 1));
    // Time has not come further than this.
    expect((await runs.view({ eventTime: 1_000_000 })).ordinal).toBeGreaterThanOrEqual(30);
  });

  test("tells lineage as it was: what a record had gone into, and of later records nothing", async () => {
    const runs = await twoVersions();
    const forward = async (at: number) => {
      const view = await runs.view({ ordinal: at });
      const { vertices } = await view.lineage("source_p.in@0", { forward: true });
      return vertices.map(({ address }) => address);
    };
    const [early, late] = [await forward(4), await forward(30)];
    expect(late).toEqual(expect.arrayContaining(early));
    expect(late.length).toBeGreaterThan(early.length);
    const view = await runs.view({ ordinal: 4 });
    expect((await view.lineage("source_p.in@3")).complete).toBe(true);
    await expect(view.lineage("source_p.in@20")).rejects.toMatchObject({ code: "RecordNotFound" });
  });

  test("is refused where there is nothing to see, or no longer", async () => {
    const runs = await twoVersions();
    await expect(runs.view({ ordinal: 31_000 })).rejects.toMatchObject({
      code: "BadUsage",
      message: "the log has not come to the point that is asked for",
      hint: expect.stringMatching(/^It has come to ordinal \d+:/),
    });
    const view = await runs.view({ ordinal: 10 });
    await expect(view.state("new")).rejects.toMatchObject({ code: "UnknownStage" });
    await expect(view.state("rows")).rejects.toMatchObject({ code: "BadUsage" });
    const stopped = { signal: AbortSignal.abort() };
    await expect(view.project(events, stopped)).rejects.toMatchObject({ code: "Stopped" });
    await expect(view.audit(stopped)).rejects.toMatchObject({ code: "Stopped" });
    // What came before the first event that is left, and what that needs.
    for await (const { stream, lastRevision } of runs.log.streams({ prefixes: ["steps_p."] }))
      await runs.log.setMetadata(stream, { truncateBefore: lastRevision });
    const early = await runs.view({ ordinal: 2 });
    await expect(early.state("old")).rejects.toMatchObject({
      code: "RecordGone",
      message: "what there was at ordinal 2 was let go of",
    });
    expect(kept(await (await runs.view({ ordinal: -1 })).state("old"))).toEqual([]);
  });
});
