import { expect, test } from "vitest";
import type { MemoryLog } from "../../src/adapters/memory/log.ts";
import { createSystemClock } from "../../src/adapters/system/clock.ts";
import { beginning, type Verification, verifyFrom } from "../../src/app/verification.ts";
import { LIMITS } from "../../src/core/limits.ts";
import type { PipelineDefinition } from "../../src/pipeline/definition.ts";
import { pipeline } from "../../src/pipeline/pipeline.ts";
import { planPipeline } from "../../src/pipeline/plan.ts";
import { recordedPartitions } from "../../src/runtime/deployment-history.ts";
import { askOf } from "../../src/runtime/fork-asks.ts";
import { Retention } from "../../src/runtime/retention.ts";
import { setPolicy } from "../../src/runtime/retention-policy.ts";
import { CountTarget } from "../../src/runtime/sink-targets.ts";
import {
  beginVerification,
  inputsIn,
  readVerification,
  saveVerification,
  type VerificationState,
} from "../../src/runtime/verification.ts";
import { windowInputs } from "../../src/runtime/window-inputs.ts";
import { ORDINARY } from "./expectations.ts";
import { historyOf } from "./fork-runs.ts";
import { simulate } from "./harness.ts";
import { withoutWarnings } from "./property-runs.ts";
import type { Item } from "./random-words.ts";

withoutWarnings();

const NAME = "p~v";
const RECORDS = 300;
const WINDOW = { from: 0, to: 200 };
/** Later than anything in the log, in milliseconds since 1970. */
const NOW = Date.UTC(2100, 0, 1);

/** A pipeline of one stage, so that each input is a step, with or without state. */
function definitionOf(stateful: boolean): PipelineDefinition {
  const p = pipeline("p", { partitions: 3 });
  const rows = p.source("in", { key: (record) => (record as Item).k });
  if (!stateful) rows.map("twice", (record) => (record as Item).v * 2).sink("out");
  else {
    const step = (sum: number, record: unknown) => sum + (record as Item).v;
    rows.reduce("sum", { init: () => 0, step, emit: (sum) => ({ sum }) }).sink("out");
  }
  return p.definition;
}

class StoppedHere extends Error {}

/** A pipeline's log, and a replay of its history that has come so many pieces far. */
async function interrupted(stateful: boolean, pieces: number) {
  const definition = definitionOf(stateful);
  const given = Array.from({ length: RECORDS }, (_, v) => ({ value: { k: v % 7, v }, ordinal: v + 1 }));
  const pace = { retentionTickMs: 1_000_000, snapshotEveryMs: 5 };
  const how = { ...ORDINARY, batchRecords: 8, delayMs: 1, pace };
  const { log } = await simulate(definition, new Map([["in", given]]), how);
  const history = await historyOf(log, "p", definition);
  const verify = (
    from: VerificationState,
    inputs?: Verification["inputs"],
    onState: (state: VerificationState) => void = () => {},
  ) =>
    verifyFrom(from, {
      surroundings: { clock: createSystemClock() },
      ...{ log, history, window: WINDOW, inputs, onState },
      ...{ only: undefined, selection: undefined, records: 0, rate: undefined },
      signal: new AbortController().signal,
    });
  const whole = await verify(beginning(history));
  expect(whole).toMatchObject({ steps: WINDOW.to, diverged: 0, gone: { inputs: 0 } });
  const inputs = [];
  for (const unit of recordedPartitions(history.all)) {
    const { first, end } = await windowInputs(log, history, unit, WINDOW);
    inputs.push({ ...unit, ...(first !== undefined && { first }), ...(end !== undefined && { end }) });
  }
  const clock = clockAt(NOW);
  const begun = { pipeline: "p", begin: WINDOW.from, end: WINDOW.to, inputs };
  expect(await beginVerification(log, clock, NAME, begun)).toBe(true);
  let state = beginning(history);
  let left = pieces;
  const stopped = verify(state, undefined, (now) => {
    state = now;
    if (--left === 0) throw new StoppedHere();
  });
  await expect(stopped).rejects.toThrow(StoppedHere);
  await saveVerification(log, clock, NAME, state, undefined, async () => {});
  return { log, definition, verify };
}

const clockAt = (now: number) => ({ now: () => now, monotonic: () => now, setTimeout: () => () => {} });

/** Lets go, at a time, of all that is not needed: answers of how many streams. */
async function letGo(log: MemoryLog, definition: PipelineDefinition, now: number): Promise<number> {
  const clock = clockAt(now);
  const processes = { host: "trims", pid: 1, instance: "trims", isAlive: () => false };
  const least = { events: 1 };
  await setPolicy({ log, clock }, "p", { payload: least, steps: least, state: least });
  const retention = new Retention({
    ...{ log, clock, processes, plan: planPipeline(definition), deployedFrom: 0 },
    ...{ targets: new Map(), otherTarget: new CountTarget(), confirm: async () => {} },
  });
  return (await retention.advance()).length;
}

test.each([
  [false, 1],
  [false, 9],
  [true, 1],
  [true, 3],
])(
  "what a replay needs is kept for some days, and what went then is counted (state: %s, %i pieces)",
  async (stateful, pieces) => {
    const { log, definition, verify } = await interrupted(stateful, pieces);
    expect(await letGo(log, definition, NOW + LIMITS.replayHoldsMs - 1)).toBe(0);
    expect(await letGo(log, definition, NOW + LIMITS.replayHoldsMs)).toBeGreaterThan(0);
    await log.scavenge();
    const known = await readVerification(log, NAME);
    const state = known?.state as VerificationState;
    const found = await verify(state, inputsIn("p", known?.begun.inputs));
    expect(found.diverged).toBe(0);
    expect(found.gone.inputs).toBeGreaterThan(0);
    // Each input of the window was compared, or is gone, and the first of these is where it stood.
    expect(found.steps + found.gone.inputs).toBe(WINDOW.to);
    expect(found.steps).toBeGreaterThanOrEqual(state.steps);
    const partition = String(state.at?.partition).padStart(4, "0");
    expect(found.gone.first?.address).toBe(`steps_p.${state.at?.segment}.${partition}@${state.at?.next}`);
  },
);

test("nothing is kept for a replay that was stopped, or is through", async () => {
  const stopped = await interrupted(false, 3);
  const processes = { host: "asks", pid: 1, instance: "asks", isAlive: () => false };
  await askOf(stopped.log, clockAt(NOW), processes, NAME, "pause");
  expect(await letGo(stopped.log, stopped.definition, NOW)).toBe(0);
  await askOf(stopped.log, clockAt(NOW), processes, NAME, "stop");
  expect(await letGo(stopped.log, stopped.definition, NOW)).toBeGreaterThan(0);

  const done = await interrupted(false, 3);
  expect(await letGo(done.log, done.definition, NOW)).toBe(0);
  const state = (await readVerification(done.log, NAME))?.state as VerificationState;
  await saveVerification(done.log, clockAt(NOW), NAME, { ...state, at: undefined }, {}, async () => {});
  expect(await letGo(done.log, done.definition, NOW)).toBeGreaterThan(0);
});
