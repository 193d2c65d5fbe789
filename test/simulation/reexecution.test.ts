import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { emptyTally } from "../../projections/audit.ts";
import { MemoryLog } from "../../src/adapters/memory/log.ts";
import { createSystemClock } from "../../src/adapters/system/clock.ts";
import { decodeEvent } from "../../src/core/event-codec.ts";
import type { StepDivergence } from "../../src/engine/steps-comparison.ts";
import { StepsComparison } from "../../src/engine/steps-comparison.ts";
import { count } from "../../src/pipeline/aggregates.ts";
import type { PipelineDefinition } from "../../src/pipeline/definition.ts";
import { pipeline } from "../../src/pipeline/pipeline.ts";
import { planPipeline } from "../../src/pipeline/plan.ts";
import { tumbling } from "../../src/pipeline/windows.ts";
import type { EventLog } from "../../src/ports/event-log.ts";
import { DeploymentHistory } from "../../src/runtime/deployment-history.ts";
import { reexecutePartition } from "../../src/runtime/reexecution.ts";
import { reexecuteSample } from "../../src/runtime/sampled-reexecution.ts";
import { readMembersColumn } from "../../src/runtime/snapshots.ts";
import { ORDINARY, withinReason } from "./expectations.ts";
import { historyOf } from "./fork-runs.ts";
import { simulate } from "./harness.ts";
import { runs, timeLimit, withoutWarnings } from "./property-runs.ts";
import {
  circumstances,
  definitionOf,
  inputsOf,
  inputWords,
  interruptions,
  mishaps,
  pipelineWords,
  withoutSamples,
} from "./random-pipelines.ts";
import type { Item } from "./random-words.ts";
import { counted } from "./state-runs.ts";

const TIMEOUT_MS = timeLimit(300_000);

withoutWarnings();

interface Window {
  readonly from: number;
  readonly to: number;
}

const EVERYTHING: Window = { from: 0, to: Number.MAX_SAFE_INTEGER };

/** Runs everything in the log again by `definition` and compares. */
async function rerun(log: EventLog, definition: PipelineDefinition, { from, to }: Window) {
  const plan = planPipeline(definition);
  const history = await DeploymentHistory.read(log, { bundle: never, load: never }, "p");
  if (history === undefined) throw new Error("nothing was deployed");
  const clock = createSystemClock();
  const divergences: (StepDivergence & { readonly stream: string })[] = [];
  let steps = 0;
  let inputs = 0;
  for (const segment of plan.segments) {
    for (let partition = 0; partition < definition.partitions; partition++) {
      let comparison: StepsComparison | undefined;
      const pieces = reexecutePartition({
        log,
        clock,
        history: {
          pipeline: "p",
          withIdentity: (identity, through) => history.withIdentity(identity, through),
          after: (deployed) => history.after(deployed),
          planOf: async () => plan,
        },
        segment: segment.name,
        partition,
        from,
        to,
        signal: new AbortController().signal,
      });
      for await (const { stream, event, rows, result, segment: run } of pieces) {
        if (comparison === undefined || comparison.left === 0) {
          const { membersIn } = event.stages?.[0] ?? {};
          comparison = new StepsComparison(
            event,
            run,
            membersIn && (await readMembersColumn(log, stream, membersIn)),
          );
        }
        const compared = comparison.compare(rows, result);
        steps += compared.steps;
        inputs += rows.count;
        divergences.push(...compared.divergences.map((divergence) => ({ ...divergence, stream })));
      }
    }
  }
  return { divergences, steps, inputs };
}

function never(): never {
  throw new Error("the code is given");
}

describe("history run again", () => {
  test(
    "gives what was recorded, whatever befell the runs that made it, from any point to any other",
    async () => {
      await fc.assert(
        fc.asyncProperty(
          pipelineWords,
          inputWords,
          circumstances,
          interruptions,
          mishaps,
          fc.tuple(fc.nat({ max: 1_000 }), fc.nat({ max: 1_000 })),
          async (words, input, how, befalls, wrong, [start, length]) => {
            const definition = definitionOf(withoutSamples(words));
            const given = inputsOf(definition, input, true);
            await withinReason(definition, given);
            const { log } = await simulate(definition, given, { ...how, ...wrong, interruptions: befalls });
            const whole = await rerun(log, definition, EVERYTHING);
            expect(whole.divergences).toEqual([]);
            const part = await rerun(log, definition, { from: start, to: start + length });
            expect(part.divergences).toEqual([]);
            expect(part.inputs).toBeLessThanOrEqual(whole.inputs);
          },
        ),
        runs(40),
      );
    },
    TIMEOUT_MS,
  );

  const given = Array.from({ length: 60 }, (_, v) => ({ value: { k: v % 3, v }, ordinal: v + 1 }));
  const inputs = new Map([["s", given]]);

  test("reads little before its first inputs, also where records were refused all along", async () => {
    const p = pipeline("p", { partitions: 1 });
    p.source<undefined, number>("m", { key: (item) => (item as Item).k })
      .map("odd", (item) => {
        if ((item as Item).v % 3 === 0) throw new Error("three");
        return item as Item;
      })
      .sink("out");
    const given = Array.from({ length: 4_000 }, (_, v) => ({ value: { k: 0, v, t: v }, ordinal: v + 1 }));
    const { log: whole } = await simulate(p.definition, new Map([["m", given]]), {
      ...ORDINARY,
      batchRecords: 8,
    });
    const { log, events } = counted(whole);
    const history = await DeploymentHistory.read(log, { bundle: never, load: never }, "p");
    if (history === undefined) throw new Error("nothing was deployed");
    const pieces = reexecutePartition({
      log,
      clock: createSystemClock(),
      history: {
        pipeline: "p",
        withIdentity: (identity, through) => history.withIdentity(identity, through),
        after: (deployed) => history.after(deployed),
        planOf: async () => planPipeline(p.definition),
      },
      segment: "odd",
      partition: 0,
      from: 3_000,
      to: Number.MAX_SAFE_INTEGER,
      signal: new AbortController().signal,
    });
    const { value: first } = await pieces.next();
    await pieces.return(undefined);
    expect(first?.rows.ordinals[0]).toBeGreaterThan(2_990);
    // A quarter of the events is later than that: 125 of records, and as many of what was refused.
    expect(events()).toBeLessThan(60);
  });

  test("names the input that is not upstream any more", async () => {
    const { log } = await simulate(made({}), inputs, ORDINARY);
    const cut = MemoryLog.create({ id: log.id, clock: createSystemClock() });
    let gone = false;
    for await (const event of log.readAll()) {
      const { stream, id, type, data, metadata } = event;
      const accepted = stream === "source_p.s" ? decodeEvent(event).data : undefined;
      gone ||= accepted !== undefined && "count" in accepted && accepted.first + accepted.count > 40;
      if (stream === "source_p.s" && gone) continue;
      await cut.append(stream, "any", [{ id, type, data, metadata }]);
    }
    await expect(rerun(cut, made({}), EVERYTHING)).rejects.toMatchObject({
      code: "LogDamaged",
      where: expect.stringMatching(/^steps_p\.double\.0000@\d+$/),
    });
  });

  test("is audited beyond inputs that do not come as they did", async () => {
    const fires = (withinMs: number) => {
      const p = pipeline("p", { partitions: 1 });
      p.source<undefined>("s", { eventTime: ({ v }: Item) => 1_000 * v } as never)
        .keyBy("by", (record) => (record as Item).k)
        .window("counts", tumbling(withinMs), { aggregate: count(), emit: (n) => n })
        .sink("out");
      return p.definition;
    };
    const { log } = await simulate(fires(4_000), inputs, { ...ORDINARY, batchRecords: 8 });
    for (const [withinMs, differ] of [
      [4_000, false],
      [8_000, true],
    ] as const) {
      const history = (await historyOf(log, "p", fires(withinMs))) as unknown as DeploymentHistory;
      const tally = emptyTally();
      const { signal } = new AbortController();
      const sample = { log, clock: createSystemClock(), history, rate: 1, seed: "s", signal };
      const { kept, tried } = await reexecuteSample(sample, tally);
      expect([tried, tally.checked, tally.unverifiable]).toEqual([kept, kept, 0]);
      expect(tally.failed > 0).toBe(differ);
      const said = tally.failures.map(({ code, message }) => `${code}: ${message}`);
      if (differ) expect(said).toContain("Diverged: the input does not come as it did when it is run again");
    }
  });

  test("differs at the keyBy whose keys are others, though no record is", async () => {
    const keyed = (by: (v: number) => number) => {
      const p = pipeline("p", { partitions: 4 });
      p.source<undefined>("s")
        .keyBy("by", (record) => by((record as Item).v))
        .map("out", (record) => record)
        .sink("out");
      return p.definition;
    };
    const before = keyed((v) => v);
    const { log } = await simulate(before, inputs, ORDINARY);
    expect((await rerun(log, before, EVERYTHING)).divergences).toEqual([]);
    const { divergences } = await rerun(
      log,
      keyed((v) => (v < 20 ? v : v + 1)),
      EVERYTHING,
    );
    const at = divergences.filter(({ kind }) => kind === "partition");
    expect(new Set(at.map(({ stream }) => stream))).toEqual(
      new Set([0, 1, 2, 3].map((partition) => `steps_p.by.000${partition}`)),
    );
    // Of the forty that have another key three quarters are of another partition, about.
    expect(at.length).toBeGreaterThan(15);
    expect(at.every(({ stage }) => stage === 0)).toBe(true);
  });

  /** What `change` makes of the stages shows at the record with v = 20, and at none before it. */
  test.each([
    ["another record", { double: (v: number) => (v === 20 ? 41 : 2 * v) }, "double", "digest"],
    ["a record that is held back", { keep: (v: number) => v !== 40 }, "keep", "results"],
    ["one result more", { parts: (v: number) => (v === 20 ? 3 : 2) }, "parts", "results"],
    ["one result less", { parts: (v: number) => (v === 20 ? 1 : 2) }, "parts", "results"],
    [
      "a failure",
      {
        double: (v: number) => {
          if (v === 20) throw new Error("20");
          return 2 * v;
        },
      },
      "double",
      "failed",
    ],
    ["another output", { to: (v: number) => (v === 40 ? "other" : "ten") }, "to", "label"],
  ] as const)(
    "differs at the first record of which a function makes something else: %s",
    async (_, change, stage, kind) => {
      const { log } = await simulate(made({}), inputs, ORDINARY);
      const same = await rerun(log, made({}), EVERYTHING);
      expect(same.divergences).toEqual([]);
      expect(same.inputs).toBe(given.length);
      // Four stages, the last two of them read what parts gave, twice as much: the route, and each of its outputs.
      expect(same.steps).toBe(given.length * (1 + 1 + 1 + 2 + 2 * 2));
      const { divergences } = await rerun(log, made(change), EVERYTHING);
      expect(divergences[0]).toMatchObject({ kind, n: 20 });
      const [first] = divergences;
      const segment = planPipeline(made({})).segments.find(
        ({ name }) => first?.stream === `steps_p.${name}.0000`,
      );
      expect(segment?.stages[first?.stage ?? -1]?.definition.name).toBe(stage);
    },
  );
});

interface Functions {
  readonly double?: (v: number) => number;
  readonly keep?: (v: number) => boolean;
  readonly parts?: (v: number) => number;
  readonly to?: (v: number) => "ten" | "other";
}

function made({ double = (v) => 2 * v, keep = () => true, parts = () => 2, to = () => "ten" }: Functions) {
  const p = pipeline("p", { partitions: 1 });
  const outputs = p
    .source<undefined>("s")
    .map("double", (record) => ({ v: double((record as Item).v), was: (record as Item).v }))
    .filter("keep", ({ v }) => keep(v))
    .flatMap("parts", ({ v, was }) => Array.from({ length: parts(was) }, (_, part) => ({ v, part })))
    .route("to", ["ten", "other"], ({ v, part }) => [{ to: to(v), value: { v, part } }]);
  outputs.ten.sink("ten");
  outputs.other.sink("other");
  return p.definition;
}
