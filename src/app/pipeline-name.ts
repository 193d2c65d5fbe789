import { HeadwaterError } from "../core/errors.ts";
import type { PipelineDefinition } from "../pipeline/definition.ts";
import type { Bundler } from "../ports/bundler.ts";
import type { EventLog } from "../ports/event-log.ts";
import { DeploymentHistory } from "../runtime/deployment-history.ts";

/** Whether PIPELINE is a module's path; else it is the name of a pipeline that is deployed in the log. */
export function isModulePath(pipeline: string): boolean {
  return /\.[cm]?[jt]s$/.test(pipeline) || pipeline.includes("/");
}

/** What to say where no pipeline of this name is deployed. */
export function unknownPipeline(name: string): HeadwaterError {
  return new HeadwaterError("UnknownPipeline", `no pipeline of this name is deployed: ${name}`, {
    hint: 'Name a module, such as pipelines/orders.ts, or a pipeline that "headwater log streams" shows.',
  });
}

/** The deployments of a pipeline. Throws `UnknownPipeline` where there is none. */
export async function historyOf(
  { bundler }: { readonly bundler: Bundler },
  log: EventLog,
  pipeline: string,
): Promise<DeploymentHistory> {
  const history = await DeploymentHistory.read(log, bundler, pipeline);
  if (history === undefined) throw unknownPipeline(pipeline);
  return history;
}

/** Throws `code` for a source or sink that the pipeline does not have. */
export function mustKnow(
  code: "UnknownSource" | "UnknownSink",
  kind: string,
  definition: PipelineDefinition,
  named: ReadonlyMap<string, unknown>,
  known: readonly { readonly name: string }[],
): void {
  for (const name of named.keys()) {
    if (known.some((other) => other.name === name)) continue;
    const names = known.map((other) => other.name).join(", ");
    throw new HeadwaterError(code, `the pipeline has no ${kind} ${JSON.stringify(name)}`, {
      where: `pipeline ${definition.name}`,
      hint: names === "" ? `It has no ${kind}s.` : `It has: ${names}.`,
    });
  }
}
