import { beforeAll, describe, expect, it } from "vitest";
import { z } from "zod";
import { sha256 } from "../../src/core/digest.ts";
import type { DeployedRuntime, PipelineDeployed } from "../../src/core/events.ts";
import { count, parameter, pipeline, tumbling } from "../../src/index.ts";
import type { PipelineDefinition } from "../../src/pipeline/definition.ts";
import { planPipeline } from "../../src/pipeline/plan.ts";
import type { EventLog } from "../../src/ports/event-log.ts";
import { type ReuseQuery, reusableSegments } from "../../src/runtime/fork-reuse.ts";
import { StreamTail } from "../../src/runtime/stream-tail.ts";
import { ORDINARY } from "./expectations.ts";
import { historyOf, throughOf } from "./fork-runs.ts";
import { simulate } from "./harness.ts";
import { withoutWarnings } from "./property-runs.ts";

withoutWarnings();

/** Each condition under which what was recorded is taken as it is, by itself. */

const RUNTIME: DeployedRuntime = { headwater: "0", node: "0", v8: "0", icu: "0", timeZone: "UTC" };
const BUNDLE = { code: new TextEncoder().encode("the code"), module: "p.ts" };
type Stage = (row: { readonly v: number }) => unknown;
const first: Stage = (row) => ({ v: row.v + 1 });
const second: Stage = (row) => ({ v: row.v * 2 });
const another: Stage = (row) => ({ v: row.v * 3 });

interface Parts {
  readonly kind?: "map" | "flatMap";
  readonly a?: Stage;
  readonly b?: Stage;
  readonly least?: number;
  readonly onError?: "quarantine" | "fail";
  readonly captureB?: "none";
  readonly capture?: "all" | "ends" | "none" | { readonly sample: number };
  /** By another key, so that it is of another segment; or in the same. */
  readonly total?: boolean | "here";
  readonly window?: boolean;
  readonly step?: (sum: number) => number;
}

/** Two stages of one segment, and where it is asked for a total of another. */
function define(parts: Parts = {}): PipelineDefinition {
  const { kind = "map", a = first, b = second, least = 1, total = false, capture = "all", onError } = parts;
  const p = pipeline("p", { partitions: 1 });
  const fan = (of: Stage) =>
    kind === "map"
      ? (row: { readonly v: number }) => of(row)
      : (row: { readonly v: number }) => [of(row), of(row)];
  // The text is what counts.
  const as = (of: Stage) => {
    const made = fan(of);
    Object.defineProperty(made, "toString", {
      value: () => `${kind} ${Function.prototype.toString.call(of)}`,
    });
    return made as never;
  };
  const options = {
    parameters: { least: parameter(z.number(), least) },
    ...(onError !== undefined && { onError }),
    ...(typeof capture === "string" ? { capture } : capture),
  } as never;
  const source = p.source("in", {
    key: (row) => (row as { v: number }).v % 2,
    eventTime: (row) => (row as { v: number }).v,
  });
  const made = source[kind]("a", as(a), options)[kind]("b", as(b), {
    capture: parts.captureB ?? "all",
  } as never);
  made.sink("out");
  if (total) {
    const step = parts.step ?? ((sum: number) => sum + 1);
    const given = made as never as typeof source;
    const keyed = total === "here" ? given : given.keyBy("by", (row) => (row as { v: number }).v % 3);
    keyed.reduce("sum", { init: () => 0, step: step as never, emit: (sum) => sum }).sink("sums");
  }
  if (parts.window) {
    const timed = made as never as typeof source;
    timed.window("w", tumbling("1s"), { aggregate: { n: count() }, emit: ({ n }) => n }).sink("windows");
  }
  return p.definition;
}

const GIVEN = new Map([["in", [0, 1, 2, 3].map((v) => ({ value: { v } }))]]);

async function ran(definition: PipelineDefinition) {
  const { log } = await simulate(definition, GIVEN, ORDINARY);
  return {
    log: log as EventLog,
    definition,
    to: await throughOf(log, definition),
    history: await historyOf(log, "p", definition),
  };
}
type Ran = Awaited<ReturnType<typeof ran>>;

function reuse({ log, history, to }: Ran, now: PipelineDefinition, more: Partial<ReuseQuery> = {}) {
  return reusableSegments({
    ...{ log, history, to, from: 0, plan: planPipeline(now), bundle: undefined, runtime: RUNTIME },
    sameFunctions: async () => true,
    ...more,
  });
}

const NONE = { reused: [], cuts: [] };
/** Of a history in which each deployment is as `change` makes it. */
function deployedAs(
  { history }: Ran,
  change: (deployed: PipelineDeployed) => PipelineDeployed,
  runtimes: readonly DeployedRuntime[] = [RUNTIME],
) {
  return {
    ...history,
    all: history.all.map(change),
    at: (ordinal: number) => change(history.at(ordinal)),
    runtimesOf: () => runtimes,
  };
}

describe("what need not be run", () => {
  let plain: Ran;
  let totals: Ran;
  beforeAll(async () => {
    plain = await ran(define());
    totals = await ran(define({ total: true }));
  });

  it("is all of it where nothing is another", async () => {
    expect(await reuse(plain, define())).toEqual({ reused: ["a"], cuts: [] });
    expect(await reuse(totals, define({ total: true }))).toEqual({ reused: ["a", "sum"], cuts: [] });
  });

  it("is nothing whose function may be another, whatever its text is", async () => {
    expect(await reuse(plain, define(), { sameFunctions: async (_, name) => name !== "a" })).toEqual(NONE);
    expect(
      await reuse(totals, define({ total: true }), { sameFunctions: async (_, name) => name !== "sum" }),
    ).toEqual({
      reused: ["a"],
      cuts: [],
    });
  });

  it("is asked of no function where the whole module is the same, in the same place", async () => {
    const sameFunctions = async () => false;
    const coded = (one: PipelineDeployed) => ({ ...one, code: sha256(BUNDLE.code) });
    const query = { bundle: BUNDLE, sameFunctions };
    const same = deployedAs(plain, coded);
    expect(await reuse(plain, define(), { ...query, history: same })).toEqual({ reused: ["a"], cuts: [] });
    const other = { code: new TextEncoder().encode("other code"), module: "p.ts" };
    expect(await reuse(plain, define(), { ...query, history: same, bundle: other })).toEqual(NONE);
    for (const more of [{ timeZone: "Asia/Tokyo" }, { locale: "de-DE" }, { icu: "1" }, { v8: "1" }]) {
      const runtime = { ...RUNTIME, ...more };
      expect(await reuse(plain, define(), { ...query, history: same, runtime })).toEqual(NONE);
      // Somebody has run a part of it elsewhere.
      const parted = deployedAs(plain, coded, [RUNTIME, runtime]);
      expect(await reuse(plain, define(), { ...query, history: parted })).toEqual(NONE);
    }
  });

  it("is nothing of what was run without its code, or without provenance", async () => {
    const history = deployedAs(plain, ({ code: _, ...one }) => one);
    expect(await reuse(plain, define(), { history })).toEqual(NONE);
    const off = deployedAs(plain, (one) => ({ ...one, provenance: "off" }));
    expect(await reuse(plain, define(), { history: off })).toEqual(NONE);
  });

  it("is what stands before the first stage that is another, where that was kept", async () => {
    expect(await reuse(plain, define({ b: another }))).toEqual({ reused: ["a"], cuts: ["b"] });
    expect(await reuse(plain, define({ a: another }))).toEqual(NONE);
    const ends = await ran(define({ capture: "ends" }));
    expect(await reuse(ends, define({ capture: "ends", b: another }))).toEqual(NONE);
    const unkept = await ran(define({ capture: "none" }));
    expect(await reuse(unkept, define({ capture: "none", b: another }))).toEqual(NONE);
  });

  it("is nothing where both parts fan out, or a later one needs keys", async () => {
    const fans = await ran(define({ kind: "flatMap" }));
    expect(await reuse(fans, define({ kind: "flatMap" }))).toEqual({ reused: ["a"], cuts: [] });
    expect(await reuse(fans, define({ kind: "flatMap", b: another }))).toEqual(NONE);
    const windows = await ran(define({ window: true }));
    expect(await reuse(windows, define({ window: true }))).toEqual({ reused: ["a", "w"], cuts: [] });
    expect(await reuse(windows, define({ window: true, b: another }))).toEqual(NONE);
    const here = await ran(define({ total: "here" }));
    expect(await reuse(here, define({ total: "here" }))).toEqual({ reused: ["a"], cuts: [] });
    expect(await reuse(here, define({ total: "here", b: another }))).toEqual(NONE);
    expect(await reuse(totals, define({ total: true, b: another }))).toEqual({ reused: ["a"], cuts: ["b"] });
  });

  it("is nothing of which event time is to be known now, and was not told", async () => {
    expect(await reuse(plain, define({ window: true }))).toEqual(NONE);
  });

  it("is nothing whose keys may be others, as a source gives them", async () => {
    const here = await ran(define({ total: "here" }));
    const sameFunctions = async (_: unknown, name: string) => name !== "in";
    expect(await reuse(here, define({ total: "here" }), { sameFunctions })).toEqual(NONE);
  });

  it("is nothing that comes after something else", async () => {
    expect(await reuse(totals, define({ total: true, a: another }))).toEqual(NONE);
    const step = (sum: number) => sum + 2;
    expect(await reuse(totals, define({ total: true, step }))).toEqual({ reused: ["a"], cuts: [] });
  });

  it("is nothing with other parameters or settings", async () => {
    expect(await reuse(plain, define({ least: 2 }))).toEqual(NONE);
    expect(await reuse(plain, define({ onError: "fail" }))).toEqual(NONE);
  });

  it("is nothing of which only a part was kept", async () => {
    const sampled = { capture: { sample: 0.5 } } as const;
    const none = await ran(define({ captureB: "none" }));
    expect(await reuse(none, define({ captureB: "none" }))).toEqual(NONE);
    const some = await ran(define(sampled));
    expect(await reuse(some, define(sampled))).toEqual(NONE);
  });

  it("is nothing that is not all there", async () => {
    expect(await reuse({ ...plain, to: plain.to + 1 }, define())).toEqual(NONE);
    for (const cut of ["steps_p.a.0000", "payload_p.a.0000"]) {
      const log = new Proxy(plain.log, {
        get: (target, name) => {
          const real: unknown = Reflect.get(target, name);
          if (name !== "streamInfo") return typeof real === "function" ? real.bind(target) : real;
          return async (stream: string) => {
            const info = await target.streamInfo(stream);
            return info === undefined || stream !== cut ? info : { ...info, firstRevision: 1 };
          };
        },
      });
      expect(await reuse({ ...plain, log }, define()), cut).toEqual(NONE);
    }
  });

  it("is nothing into which something was put back by hand", async () => {
    const asked = await ran(define());
    const tail = await StreamTail.open(asked.log, "retry_p");
    const mark = { v: 1, wall: 0, host: "here", pid: 1, first: 0, count: 0, items: [] } as const;
    const event = { ...mark, unit: "steps_p.a.0000" };
    await tail.append([{ type: "RetryAsked", event }]);
    expect(await reuse(asked, define())).toEqual(NONE);
  });
});
