import { describe, expect, test } from "vitest";
import { count, reducer } from "../../src/pipeline/aggregates.ts";
import { type Pipeline, pipeline } from "../../src/pipeline/pipeline.ts";
import { session, sliding, tumbling } from "../../src/pipeline/windows.ts";
import { check, ORDINARY } from "./expectations.ts";
import type { Given } from "./harness.ts";
import { readLogContent } from "./log-content.ts";
import { withoutWarnings } from "./property-runs.ts";
import { seededRandom, upTo } from "./virtual-world.ts";

const TIMEOUT_MS = 1_200_000;

interface Reading {
  readonly k: number;
  readonly at: number;
}

withoutWarnings();

function source(p: Pipeline, name: string, outOfOrderness = 0) {
  return p.source<undefined, number>(name, {
    key: (record) => (record as Reading).k,
    eventTime: (record) => (record as Reading).at,
    watermark: { outOfOrderness },
  });
}

/** Tells in which order a window got its records. */
const trail = reducer<unknown, string, string>({
  init: () => "",
  step: (total, record) => `${total}.${(record as Reading).at % 100_000}`,
  merge: (a, b) => `${a}|${b}`,
});

/** Readings whose times rise, give or take. */
function readings(seed: number, length: number, keys: number): Given[] {
  const random = seededRandom(seed);
  return Array.from({ length }, (_, index) => ({
    value: { k: upTo(random, keys - 1), at: 700 * index + upTo(random, 9_000) },
    ordinal: 3 * index + 1 + upTo(random, 1),
  }));
}

/** Windows and joins that read each other, and all that comes too late. */
function everything(partitions: number) {
  const p = pipeline("p", { partitions });
  const [left, right] = [source(p, "left", 2_000), source(p, "right", 4_000)];
  const perKey = left.window("per-key", tumbling("5s"), {
    aggregate: { n: count(), trail },
    emit: ({ n, trail }, { key, start, firing }) => ({ k: key, at: start, n, trail, firing }),
    lateness: "4s",
    early: { every: "2s" },
  });
  const visits = right.window("visits", session("1500ms"), {
    aggregate: { n: count(), trail },
    emit: (totals, { key, start, end, firing }) => ({ k: key, at: start, end, ...totals, firing }),
    lateness: "3s",
  });
  const pairs = perKey.joinLeft(
    "pairs",
    visits,
    (one, other, key) => ({ k: key, at: one.at, visit: other?.at ?? null, firing: one.firing }),
    { within: { before: "2s", after: "6s" }, lateness: "1s" },
  );
  const latest = left.joinTableLeft(
    "latest",
    visits,
    (one, other, key) => ({ k: key, at: (one as Reading).at, since: other?.end ?? null }),
    { lateness: "500ms" },
  );
  const again = pairs.window("again", sliding("20s", "5s"), {
    aggregate: { n: count() },
    emit: ({ n }, { key, start, firing }) => ({ k: key, at: start, n, firing }),
  });
  for (const [name, stream] of Object.entries({ perKey, visits, pairs, latest, again })) {
    const label = name.toLowerCase();
    stream.sink(label);
    stream.late(`${label}-late`).sink(`${label}-late`);
  }
  return p.definition;
}

describe("event time", () => {
  test(
    "is the same wherever a process is stopped or dies",
    async () => {
      const inputs = new Map([
        ["left", readings(1, 20, 2)],
        ["right", readings(2, 20, 2)],
      ]);
      for (let at = 12; at <= 84; at += 3) {
        const definition = everything(at % 2 === 0 ? 1 : 2);
        const kinds = [{ kind: "stop", at } as const, { kind: "crash", at, made: at % 2 === 0 } as const];
        // With batches of one record, a batch ends between any two firings of a step.
        for (const how of kinds) {
          await check(definition, inputs, {
            ...ORDINARY,
            seed: at,
            batchRecords: 1 + (at % 4),
            interruptions: [how, { kind: "stop", at: 25 }],
          });
        }
      }
    },
    TIMEOUT_MS,
  );

  test(
    "names more members than fit into an event of steps",
    async () => {
      const p = pipeline("p", { partitions: 1 });
      const panes = source(p, "m").window("panes", sliding(1_024, 1), {
        aggregate: { n: count() },
        emit: ({ n }, { key, start, firing }) => ({ k: key, at: start, n, firing }),
        early: { records: 110 },
      });
      panes.sink("out");
      // Keys take turns, so that no two members of a window follow each other.
      const given = Array.from({ length: 222 }, (_, index) => ({
        value: { k: index % 2, at: 5_000 },
        ordinal: index + 1,
      }));
      const outcome = await check(p.definition, new Map([["m", given]]), { ...ORDINARY, keepOpen: true });
      const types = new Set<string>();
      for await (const { type } of outcome.log.readAll()) types.add(type);
      expect(types).toContain("MembersNamed");
    },
    TIMEOUT_MS,
  );

  test(
    "closes a batch that a step makes too large, and goes on in the middle of the step",
    async () => {
      const p = pipeline("p", { partitions: 1 });
      source(p, "m")
        .window("many", tumbling("1s"), {
          aggregate: { n: count() },
          emit: ({ n }, { key, start, firing }) => ({
            k: key,
            at: start,
            n,
            firing,
            text: "x".repeat(1_000),
          }),
        })
        .sink("out");
      const given = Array.from({ length: 1_500 }, (_, index) => ({
        value: { k: index, at: index < 1_499 ? 500 : 90_000 },
        ordinal: index + 1,
      }));
      for (const at of [20, 24, 28, 32, 36]) {
        const outcome = await check(p.definition, new Map([["m", given]]), {
          ...ORDINARY,
          batchRecords: 8_192,
          interruptions: [{ kind: "crash", at, made: false }],
        });
        const { partitions } = await readLogContent(outcome.log);
        const firings = partitions["steps_p.many.0000"]?.filter(({ parent }) => parent === undefined);
        expect(new Set(firings?.map(({ ordinal }) => ordinal)).size).toBe(2);
      }
    },
    TIMEOUT_MS,
  );
});
