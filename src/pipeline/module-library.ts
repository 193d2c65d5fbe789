import { HeadwaterError } from "../core/errors.ts";
import * as library from "./library.ts";

/** What only a program may call: a pipeline's module is loaded by whoever runs the pipeline, and must not run it itself. */
const FOR_PROGRAMS = [
  "run",
  "start",
  "state",
  "openAt",
  "lineage",
  "replay",
  "whatIf",
  "resumeReplay",
] as const;

/** What a pipeline's module gets when it imports "headwater": what is for programs says there that it is. */
export const moduleLibrary: Readonly<Record<string, unknown>> = {
  ...Object.fromEntries(FOR_PROGRAMS.map((name) => [name, () => refuse(name)])),
  ...library,
};

function refuse(name: string): never {
  throw new HeadwaterError(
    "BadPipeline",
    `a pipeline's module only makes the pipeline, and cannot call ${name}, which is for programs`,
    { hint: 'Call it in a program of its own, which imports the module: see "In a program" in README.md.' },
  );
}
