/** The library's door: what pipelines and programs import as "headwater". */
import type { RunReport, RunRequest } from "./app/run-types.ts";

export type { RunNotice, RunProgress, RunReport, RunRequest } from "./app/run-types.ts";
export type { ErrorCode, ErrorDetails } from "./core/errors.ts";
export type { StageContext } from "./pipeline/context.ts";
export type { FailurePolicy, Key, MaybePromise, PipelineDefinition } from "./pipeline/definition.ts";
export * from "./pipeline/library.ts";
export type { PipelineOptions, SourceOptions, StageOptions } from "./pipeline/pipeline.ts";
export type { ReduceOptions } from "./pipeline/stream.ts";

/** Runs a pipeline's module from files to files, as `headwater run` does. Throws a `HeadwaterError`. */
export async function run(request: RunRequest): Promise<RunReport> {
  const app = await import("./app/run.ts");
  return app.run(request);
}
