import { equalBytes } from "../core/digest.ts";
import { HeadwaterError } from "../core/errors.ts";
import type { PipelineDeployed } from "../core/events.ts";
import { isStateful } from "../pipeline/definition.ts";
import type { Plan } from "../pipeline/plan.ts";
import { structureOf } from "./deployed-plan.ts";
import { describeDeployment } from "./deployment.ts";
import type { DeploymentHistory } from "./deployment-history.ts";
import { commonOrder } from "./outputs-diff.ts";

/** What a plan is to be run over. */
interface Window {
  readonly from: number;
  readonly to: number;
}

/**
 * Throws `IncompatibleDeployment` for a plan that cannot be run over this part of a pipeline's history, or whose outputs
 * could not be compared with what was recorded: another pipeline, another number of partitions; a source that is not
 * there, or that would have keyed, timed or told records apart otherwise, for that was done when they were accepted; a
 * stage or sink that is missing or of another kind; state that would be in another segment than it was.
 */
export function mustFit(history: DeploymentHistory, plan: Plan, { from, to }: Window): void {
  const { definition } = plan;
  if (definition.name !== history.pipeline) {
    throw unfit(
      `the module defines the pipeline ${definition.name}`,
      `pipeline ${history.pipeline}`,
      "What is run over a pipeline's history has to define that pipeline, under its name.",
    );
  }
  const upTo = history.at(to).version;
  const since = history.at(from).version;
  for (const ran of history.all) {
    if (ran.version >= since && ran.version <= upTo) mustHaveSources(history.pipeline, plan, ran);
  }
  mustHaveStages(history.pipeline, plan, history.at(to));
  if (from > 0) mustTakeState(history.pipeline, plan, history.at(from - 1));
}

function mustHaveSources(pipeline: string, plan: Plan, ran: PipelineDeployed): void {
  const { partitions } = plan.definition;
  const where = (what: string) => `${what}, version ${ran.version} of pipeline ${pipeline}`;
  if (partitions !== ran.partitions) {
    throw unfit(
      `the pipeline ran with ${ran.partitions} partitions, and the module has ${partitions}`,
      where("partitions"),
      "Records are in the partitions that they were accepted for. Keep the number.",
    );
  }
  const runtime = { headwater: "", node: "", v8: "", icu: "", timeZone: "" };
  const now = describeDeployment({ plan, bundle: undefined, provenance: "full", runtime });
  for (const source of ran.sources) {
    const other = now.sources.find(({ name }) => name === source.name);
    if (other === undefined) {
      throw unfit(
        `the module has no source ${source.name}, which has records in the window`,
        where(`source ${source.name}`),
        "Define it as it was: its records are what is run again.",
      );
    }
    if (!equalBytes(other.digest, source.digest)) {
      throw unfit(
        "the source has another key, event time, id or watermark than it had",
        where(`source ${source.name}`),
        "What a source decides was decided when records were accepted. Change a stage instead, such as a keyBy after it.",
      );
    }
  }
  const added = now.sources.find(({ name }) => !ran.sources.some((one) => one.name === name));
  if (added !== undefined) {
    throw unfit(
      `the module has a source ${added.name}, of which nothing was recorded`,
      where(`source ${added.name}`),
      "Take it out: there is nothing to run again for it.",
    );
  }
}

function mustHaveStages(pipeline: string, plan: Plan, ran: PipelineDeployed): void {
  const { stages, sinks } = plan.definition;
  const version = `version ${ran.version} of pipeline ${pipeline}`;
  for (const { name, kind } of ran.stages) {
    const other = stages.find((stage) => stage.name === name);
    if (other?.kind === kind) continue;
    const problem =
      other === undefined
        ? `the module has no stage ${name}`
        : `the stage is a ${other.kind}, and was a ${kind}`;
    throw unfit(
      problem,
      `stage ${name}, ${version}`,
      "Keep the stages that ran, with their names and kinds: change what they do, or add others.",
    );
  }
  for (const { name } of ran.sinks) {
    if (sinks.some((sink) => sink.name === name)) continue;
    throw unfit(
      `the module has no sink ${name}`,
      `sink ${name}, ${version}`,
      "Keep it: its outputs are compared.",
    );
  }
  if (commonOrder([structureOf(ran, pipeline).origins, plan.origins]) === undefined) {
    throw unfit(
      "windows and joins are defined in another order than they were",
      version,
      "Keep their order: it is that in which their results come.",
    );
  }
}

function mustTakeState(pipeline: string, plan: Plan, ran: PipelineDeployed): void {
  for (const { name, segment } of ran.stages.filter(isStateful)) {
    const now = plan.segments.find(({ stages }) => stages.some(({ definition }) => definition.name === name));
    if (now?.name === segment) continue;
    throw unfit(
      now === undefined
        ? "the module does not have the stage, which had state where the window begins"
        : `the stage had its state with stage ${segment}, and would have it with ${now.name}`,
      `stage ${name}, version ${ran.version} of pipeline ${pipeline}`,
      "Begin at the beginning of history, where there is no state, or keep the stages between it and the keyBy, union or source before.",
    );
  }
}

function unfit(message: string, where: string, hint: string): HeadwaterError {
  return new HeadwaterError("IncompatibleDeployment", message, { where, hint });
}
