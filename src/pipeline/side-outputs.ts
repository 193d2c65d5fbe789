import { HeadwaterError } from "../core/errors.ts";
import type { RouteDefinition, SplitDefinition } from "./definition.ts";
import type { Output } from "./output.ts";

/** The label of what no predicate of a split takes. */
export const REST = "rest";

const LABEL = /^[a-z](?:[a-z0-9-]*[a-z0-9])?$/;

/** Adds a stage with labelled outputs, and for each label the stage that selects it. Throws `BadPipeline`. */
export function labelled(
  input: Output,
  labels: readonly string[],
  stage: SplitDefinition | RouteDefinition,
): [string, Output][] {
  const where = `stage ${stage.name}`;
  if (labels.length < (stage.kind === "split" ? 2 : 1)) {
    throw new HeadwaterError("BadPipeline", "the stage has no outputs", {
      where,
      hint: "Name one at least.",
    });
  }
  for (const [at, label] of labels.entries()) {
    if (typeof label !== "string" || !LABEL.test(label)) {
      throw new HeadwaterError(
        "BadPipeline",
        `not a label that an output can have: ${JSON.stringify(label)}`,
        {
          where,
          hint: "Use lower-case letters, digits and inner hyphens, a letter first.",
        },
      );
    }
    if (labels.indexOf(label) !== at) {
      throw new HeadwaterError("BadPipeline", `two outputs have the label ${JSON.stringify(label)}`, {
        where,
        ...(label === REST && { hint: `"${REST}" is what no predicate takes.` }),
      });
    }
  }
  const output = input.addStage(stage);
  return labels.map((label) => [
    label,
    output.addStage({
      kind: "select",
      name: `${stage.name}-${label}`,
      inputs: [stage.name],
      onError: "skip",
      label,
    }),
  ]);
}
