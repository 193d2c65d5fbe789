import { equalBytes } from "../core/digest.ts";
import { HeadwaterError, isHeadwaterError } from "../core/errors.ts";
import type { PipelineDefinition } from "../pipeline/definition.ts";
import { overridesOf } from "../pipeline/parameter-overrides.ts";
import { type Plan, planPipeline } from "../pipeline/plan.ts";
import type { Bundle, Bundler } from "../ports/bundler.ts";
import { definitionOf, describeDeployment, digestOfShape } from "../runtime/deployment.ts";
import { runtimeVersions } from "../runtime/versions.ts";
import { pathOf } from "./start-options.ts";
import type { StartOptions } from "./start-types.ts";

/**
 * The code of a program's pipeline, which the log keeps: what its module makes has to be the pipeline that runs, or
 * replays, audits and threads would run another one. Throws `BadUsage` if it is not, and `BadPipeline` for a module that
 * cannot be bundled or loaded.
 */
export async function bundleOfModule(
  { module, parameters, provenance = "full" }: Pick<StartOptions, "module" | "parameters" | "provenance">,
  plan: Plan,
  bundler: Bundler,
): Promise<Bundle | undefined> {
  if (module === undefined) return undefined;
  const bundle = await bundler.bundle(pathOf(module));
  const made = definitionOf(bundler.load(bundle), bundle.module);
  const other = otherParts(plan.definition, made);
  if (other !== undefined) throw otherPipeline(bundle, plan, other);
  const shapeOf = (one: Plan) =>
    digestOfShape(describeDeployment({ plan: one, bundle, provenance, runtime: runtimeVersions() }));
  let same: boolean;
  try {
    same = equalBytes(shapeOf(planPipeline(made, overridesOf(parameters))), shapeOf(plan));
  } catch (error) {
    // Values that the pipeline takes.
    if (!isHeadwaterError(error, "BadParameter")) throw error;
    same = false;
  }
  if (!same) throw otherPipeline(bundle, plan, "its schemas, parameters or settings are others");
  return bundle;
}

function otherPipeline({ module }: Bundle, { definition: { name } }: Plan, what: string): HeadwaterError {
  return new HeadwaterError(
    "BadUsage",
    `the module ${JSON.stringify(module)} makes another pipeline than the one that is started, ${JSON.stringify(name)}: ${what}`,
    {
      where: "module",
      hint: "Name the file that has this pipeline as its default export: its code is kept in the log, for replays and audits, and threads run it.",
    },
  );
}

/** In what two pipelines differ; `undefined`: not in what is looked at here. */
function otherParts(started: PipelineDefinition, made: PipelineDefinition): string | undefined {
  if (made.name !== started.name) return `its name is ${JSON.stringify(made.name)}`;
  const parts = [
    ["sources", ({ sources }: PipelineDefinition) => sources.map(({ name }) => name)],
    [
      "stages",
      ({ stages }: PipelineDefinition) =>
        stages.map(({ name, kind, inputs }) => `${name} (${kind} of ${inputs.join(" and ")})`),
    ],
    ["sinks", ({ sinks }: PipelineDefinition) => sinks.map(({ name, input }) => `${name} (of ${input})`)],
    ["partitions", ({ partitions }: PipelineDefinition) => [String(partitions)]],
  ] as const;
  for (const [what, of] of parts) {
    const [ofStarted, ofMade] = [of(started), of(made)];
    if (ofStarted.join() === ofMade.join()) continue;
    return `its ${what} are ${ofMade.join(", ") || "none"}; of the one that is started ${ofStarted.join(", ") || "none"}`;
  }
  return undefined;
}
