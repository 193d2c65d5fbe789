import { encodeCanonical } from "../core/canonical.ts";
import { equalBytes } from "../core/digest.ts";
import { HeadwaterError } from "../core/errors.ts";
import { findJsonFault } from "../core/json-check.ts";
import { LIMITS } from "../core/limits.ts";
import type { Value } from "../core/value.ts";
import type { PipelineDefinition, StageDefinition } from "./definition.ts";
import { takeValue } from "./parameter-values.ts";
import { type StageParameters, type StageValues, stageValues, whereOf } from "./parameters.ts";

/** Values of parameters: stage → parameter → value. Those that are not named keep their default. */
export type ParameterSettings = Readonly<Record<string, Readonly<Record<string, unknown>>>>;

/** A value for one parameter of a pipeline. */
export interface ParameterOverride {
  readonly stage: string;
  readonly name: string;
  /** What may be meant, the likeliest first: the first that the parameter's schema takes is the value. */
  readonly readings: readonly [Reading, ...Reading[]];
}

type Reading = { readonly value: unknown } | { readonly problem: string };

/** Settings as overrides. Throws `BadParameter` for what has another shape. */
export function overridesOf(settings: ParameterSettings = {}): ParameterOverride[] {
  return Object.entries(settings).flatMap(([stage, values]) => {
    if (typeof values !== "object" || values === null) {
      throw new HeadwaterError("BadParameter", "the values of a stage's parameters are not an object", {
        where: `stage ${stage}`,
        hint: "Give them like { stage: { parameter: value } }.",
      });
    }
    return Object.entries(values).map(([name, value]) => ({ stage, name, readings: [{ value }] }) as const);
  });
}

/** `STAGE.PARAM` → text as overrides: a text is read as JSON if the parameter takes that, else as it is. */
export function overridesOfTexts(texts: ReadonlyMap<string, string> = new Map()): ParameterOverride[] {
  return [...texts].map(([place, text]) => {
    const [stage = "", ...names] = place.split(".");
    return { stage, name: names.join("."), readings: readingsOf(text) };
  });
}

function readingsOf(text: string): ParameterOverride["readings"] {
  const asText = { value: text };
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch {
    return [asText];
  }
  // JSON.parse rounds integers beyond 2^53 silently.
  const fault = findJsonFault(text);
  return [fault === undefined ? { value } : { problem: fault.message }, asText];
}

/**
 * The pipeline with other values of its parameters; of several for one, the last counts. Throws `BadParameter`,
 * which names stage and parameter, for one that is not declared, and for a value that does not fit.
 */
export function withParameters(
  definition: PipelineDefinition,
  overrides: readonly ParameterOverride[],
): PipelineDefinition {
  const values = new Map<string, Map<string, Value>>();
  for (const override of overrides) {
    const declared = declaredIn(definition, override.stage);
    const value = fittingValue(declared, override);
    const ofStage = values.get(override.stage) ?? new Map(Object.entries(declared.values));
    values.set(override.stage, ofStage.set(override.name, value));
  }
  const stages = definition.stages.map((stage): StageDefinition => {
    const own = values.get(stage.name);
    if (stage.parameters === undefined || own === undefined) return stage;
    return { ...stage, parameters: { ...stage.parameters, values: stageValues(own) } };
  });
  const changed = { ...definition, stages };
  const { length } = encodeCanonical(parametersOf(changed), Number.POSITIVE_INFINITY);
  if (length > LIMITS.parametersBytes) {
    throw new HeadwaterError("BadParameter", `the parameters have ${length} bytes together`, {
      where: `pipeline ${definition.name}`,
      hint: `They may have ${LIMITS.parametersBytes}. What is larger belongs into a source.`,
    });
  }
  return changed;
}

/** The values in force of all parameters of a pipeline, of the stages that have some. */
export function parametersOf(definition: PipelineDefinition): Readonly<Record<string, StageValues>> {
  return Object.fromEntries(
    definition.stages.flatMap(({ name, parameters }) =>
      parameters === undefined ? [] : [[name, parameters.values]],
    ),
  );
}

/** A parameter and the value in force. */
export interface ParameterInForce {
  readonly stage: string;
  readonly name: string;
  readonly value: Value;
  /** Whether that is its default. */
  readonly isDefault: boolean;
}

/**
 * The parameters of a pipeline whose value is not their default, or was another one in `before`: what somebody should
 * hear of when it is deployed.
 */
export function notableParameters(
  definition: PipelineDefinition,
  before: Readonly<Record<string, StageValues>> = {},
): ParameterInForce[] {
  return definition.stages.flatMap(({ name: stage, parameters }) =>
    Object.entries(parameters?.values ?? {}).flatMap(([name, value]): ParameterInForce[] => {
      const byDefault = parameters?.declared.get(name)?.default;
      const isDefault = byDefault !== undefined && same(byDefault, value);
      const old = ownOf(ownOf(before, stage), name);
      return isDefault && (old === undefined || same(old, value)) ? [] : [{ stage, name, value, isDefault }];
    }),
  );
}

function ownOf<T>(map: Readonly<Record<string, T>> | undefined, key: string): T | undefined {
  return map !== undefined && Object.hasOwn(map, key) ? map[key] : undefined;
}

function same(a: Value, b: Value): boolean {
  return equalBytes(encodeCanonical(a), encodeCanonical(b));
}

function declaredIn(definition: PipelineDefinition, stage: string): StageParameters {
  const found = definition.stages.find((other) => other.name === stage);
  if (found?.parameters !== undefined) return found.parameters;
  const others = definition.stages.flatMap(({ name, parameters }) =>
    parameters === undefined ? [] : [`${name} (${[...parameters.declared.keys()].join(", ")})`],
  );
  throw new HeadwaterError(
    "BadParameter",
    found === undefined
      ? `there is no stage ${JSON.stringify(stage)} whose parameter could be set`
      : `the stage ${JSON.stringify(stage)} has no parameters`,
    {
      where: `pipeline ${definition.name}`,
      hint:
        others.length === 0
          ? "The pipeline has no parameters."
          : `Stages with parameters: ${others.join(", ")}.`,
    },
  );
}

function fittingValue({ declared }: StageParameters, { stage, name, readings }: ParameterOverride): Value {
  const parameter = declared.get(name);
  if (parameter === undefined) {
    throw new HeadwaterError("BadParameter", `the stage has no parameter ${JSON.stringify(name)}`, {
      where: `stage ${stage}`,
      hint: `It has: ${[...declared.keys()].join(", ")}.`,
    });
  }
  let problem: string | undefined;
  for (const reading of readings) {
    const taken = "problem" in reading ? reading : takeValue(parameter.schema, reading.value);
    if ("value" in taken) return taken.value;
    problem ??= taken.problem;
  }
  throw new HeadwaterError("BadParameter", `the value does not fit: ${problem}`, {
    where: whereOf(stage, name),
    hint: `Give one like its default, which is ${shown(parameter.default)}.`,
  });
}

/** Characters of a default that a hint shows. */
const SHOWN_CHARS = 80;

function shown(value: Value): string {
  const text = JSON.stringify(value, (_, part: unknown) =>
    typeof part === "bigint" || (typeof part === "number" && !Number.isFinite(part)) ? String(part) : part,
  );
  return text.length > SHOWN_CHARS ? `${text.slice(0, SHOWN_CHARS)}…` : text;
}
