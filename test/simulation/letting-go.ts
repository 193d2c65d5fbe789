import type { MemoryLog } from "../../src/adapters/memory/log.ts";
import { isHeadwaterError } from "../../src/core/errors.ts";
import type { RetentionPolicy } from "../../src/core/events.ts";
import type { PipelineDefinition } from "../../src/pipeline/definition.ts";
import { planPipeline } from "../../src/pipeline/plan.ts";
import { keptWindow, servedWindow } from "../../src/runtime/fork-window.ts";
import { Retention } from "../../src/runtime/retention.ts";
import { setPolicy } from "../../src/runtime/retention-policy.ts";
import { CountTarget } from "../../src/runtime/sink-targets.ts";
import { historyOf } from "./fork-runs.ts";

const NEVER = new AbortController().signal;
const NO_CLOCK = { now: () => 0, monotonic: () => 0, setTimeout: () => () => {} };

/** Lets go of the beginnings of a pipeline's streams, as far as that may be. */
export async function letGo(
  log: MemoryLog,
  definition: PipelineDefinition,
  policy: RetentionPolicy,
): Promise<void> {
  await setPolicy({ log, clock: NO_CLOCK }, definition.name, policy);
  const retention = new Retention({
    ...{ log, clock: NO_CLOCK, plan: planPipeline(definition), deployedFrom: 0, targets: new Map() },
    processes: { host: "lets-go", pid: 1, instance: "lets-go", isAlive: () => false },
    otherTarget: new CountTarget(),
    confirm: async () => {},
  });
  while ((await retention.advance()).length > 0);
}

/** The part of a window that a fork can run over what is left; `undefined`: there is nothing left of it. */
export async function windowLeft(
  log: MemoryLog,
  definition: PipelineDefinition,
  asked: { readonly from: number; readonly to: number },
): Promise<{ readonly from: number; readonly gaps: boolean } | undefined> {
  const history = await historyOf(log, "p", definition);
  const of = { log, clock: NO_CLOCK, history, plan: planPipeline(definition), signal: NEVER };
  try {
    const kept = await keptWindow(of, asked);
    const { window } = await servedWindow(of, kept, []);
    return { from: window.from, gaps: kept.gaps === true };
  } catch (error) {
    if (!isHeadwaterError(error, "RecordGone")) throw error;
    return undefined;
  }
}
