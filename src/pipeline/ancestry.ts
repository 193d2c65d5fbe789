import { HeadwaterError } from "../core/errors.ts";
import {
  isTimed,
  type PipelineDefinition,
  type SourceDefinition,
  type StageDefinition,
} from "./definition.ts";

/** Sources and stages, as far as they are defined. */
export type Defined = Pick<PipelineDefinition, "sources" | "stages">;

/** Throws `BadPipeline` for a window or join whose inputs lack a key, or an event time that it needs. */
export function checkStage(stage: StageDefinition, defined: Defined): void {
  if (!isTimed(stage)) return;
  const where = `stage ${stage.name}`;
  for (const input of stage.inputs) {
    if (!hasKey(input, defined)) {
      throw new HeadwaterError("BadPipeline", `the records of ${input} have no key`, {
        where,
        hint: "Give their source a key, or put a keyBy before the stage.",
      });
    }
    if (stage.kind === "window" && stage.windows.kind === "global") continue;
    const timeless = sourcesOf(input, defined).find((source) => source.eventTime === undefined);
    if (timeless !== undefined) {
      throw new HeadwaterError("BadPipeline", `the source ${timeless.name} has no event time`, {
        where,
        hint: "Windows and joins go by event time: give the source an eventTime.",
      });
    }
  }
}

/** Whether records of a source or stage have a key. */
export function hasKey(name: string, defined: Defined): boolean {
  const source = defined.sources.find((other) => other.name === name);
  if (source !== undefined) return source.key !== undefined;
  const stage = defined.stages.find((other) => other.name === name);
  return (
    stage !== undefined && (stage.kind === "keyBy" || stage.inputs.every((input) => hasKey(input, defined)))
  );
}

/** The sources that records of a source or stage descend from. */
function sourcesOf(name: string, defined: Defined): SourceDefinition[] {
  const source = defined.sources.find((other) => other.name === name);
  if (source !== undefined) return [source];
  const stage = defined.stages.find((other) => other.name === name);
  return (stage?.inputs ?? []).flatMap((input) => sourcesOf(input, defined));
}
