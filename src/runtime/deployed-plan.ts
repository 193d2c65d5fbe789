import type { DeployedStage, PipelineDeployed } from "../core/events.ts";
import { LIMITS } from "../core/limits.ts";
import type { PipelineDefinition, StageDefinition } from "../pipeline/definition.ts";
import { type Plan, planPipeline } from "../pipeline/plan.ts";
import { forkedPlan } from "./deployment-history.ts";

/**
 * How a deployed pipeline hangs together, from its event alone: which segments, outlets and origins it has. None of its
 * code is loaded, so that this can be asked of any log; the plan's functions are not to be called.
 */
export function structureOf(deployed: PipelineDeployed, pipeline: string): Plan {
  const definition: PipelineDefinition = {
    name: deployed.fork?.pipeline ?? pipeline,
    partitions: deployed.partitions,
    batchRecords: LIMITS.batchRecords,
    tickMs: LIMITS.tickMs,
    sources: deployed.sources.map(({ name, key, eventTime, id, capture, sample }) => ({
      kind: "source",
      name,
      schema: undefined,
      key: key ? unknownFunction : undefined,
      eventTime: eventTime ? unknownFunction : undefined,
      id: id ? unknownFunction : undefined,
      watermark: { outOfOrdernessMs: 0, idleAfterMs: undefined, aheadMs: LIMITS.timeAheadMs },
      ...(capture !== undefined && { capture }),
      ...(sample !== undefined && { sample }),
    })),
    stages: deployed.stages.map(shapeOf),
    sinks: deployed.sinks.map(({ name, input }) => ({ kind: "sink", name, input })),
  };
  return forkedPlan(planPipeline(definition), pipeline, deployed.fork);
}

/** A stage as far as plans look at it: its kind, name and inputs, and for a keyBy that it has a function. */
function shapeOf({ name, kind, inputs, capture, sample }: DeployedStage): StageDefinition {
  const known = { name, kind, inputs, onError: "skip", fn: unknownFunction, capture, sample };
  return known as unknown as StageDefinition;
}

function unknownFunction(): never {
  throw new Error("a function of a deployment whose code was not loaded");
}
