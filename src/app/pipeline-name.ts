import { HeadwaterError } from "../core/errors.ts";

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
