import type { StandardSchemaV1 } from "@standard-schema/spec";
import { HeadwaterError } from "../core/errors.ts";
import { LIMITS } from "../core/limits.ts";
import type { Value } from "../core/value.ts";
import { takeValue } from "./parameter-values.ts";

/** A parameter as a stage declares it. Made by {@link parameter}. */
export interface Parameter<T extends Value = Value> {
  readonly schema: StandardSchemaV1<unknown, T>;
  readonly default: T;
}

/** The parameters that a stage declares, by name. */
export type ParameterDeclarations = Readonly<Record<string, Parameter>>;

/** Of a stage that declares none. */
export type NoParameters = Readonly<Record<never, never>>;

/** What functions get for the parameters that a stage declares. */
export type ParameterValues<P extends ParameterDeclarations> = {
  readonly [Name in keyof P]: P[Name] extends Parameter<infer T> ? Frozen<T> : never;
};

/** A value all parts of which are read-only. */
type Frozen<T> = T extends string | number | bigint | boolean | null | undefined | Uint8Array
  ? T
  : { readonly [Key in keyof T]: Frozen<T[Key]> };

/**
 * Declares a parameter of a stage: a value that its functions get as `ctx.parameters.<name>`, and that may be given
 * when the pipeline is started, without a change to its code.
 *
 * `schema` is a Standard Schema of any vendor. It has to answer at once, with a value that a record may hold, and to
 * take what it answers: the value is kept in the log as the schema answers it. What does not fit is refused with
 * `BadParameter`: `byDefault` when the stage is defined, a given value before anything runs.
 *
 * ```ts
 * orders.filter("large", (order, ctx) => order.sum >= ctx.parameters.least, {
 *   parameters: { least: parameter(z.number().positive(), 100) },
 * })
 * ```
 */
export function parameter<S extends StandardSchemaV1<unknown, Value>>(
  schema: S,
  byDefault: NoInfer<StandardSchemaV1.InferOutput<S>>,
): Parameter<StandardSchemaV1.InferOutput<S>> {
  return { schema, default: byDefault };
}

/** The parameters of a stage as data. */
export interface StageParameters {
  /** By name; the defaults are as their schemas answer them. */
  readonly declared: ReadonlyMap<string, Parameter>;
  /** The values in force: what the stage's functions get. Frozen; without a prototype, so that any name may be asked for. */
  readonly values: StageValues;
}

/** Values of a stage's parameters, by name. */
export type StageValues = Readonly<Record<string, Value>>;

export const NO_VALUES: StageValues = stageValues(new Map());

const PARAMETER_NAME = /^[A-Za-z][A-Za-z0-9_]*$/;

/**
 * The parameters of the stage `stage` from what its options say, with their defaults in force: the part of its
 * definition that holds them, empty if there are none. Throws `BadParameter`.
 */
export function declareParameters(stage: string, given: unknown): { readonly parameters?: StageParameters } {
  if (given === undefined) return {};
  if (!isPlainObject(given)) {
    throw new HeadwaterError("BadParameter", "the stage's parameters are not an object", {
      where: `stage ${stage}`,
      hint: DECLARE,
    });
  }
  const declared = new Map<string, Parameter>();
  for (const [name, one] of Object.entries(given)) {
    if (name.length > LIMITS.nameChars || !PARAMETER_NAME.test(name)) {
      throw new HeadwaterError(
        "BadParameter",
        `not a name that a parameter can have: ${JSON.stringify(name)}`,
        {
          where: `stage ${stage}`,
          hint: `Use 1 to ${LIMITS.nameChars} letters, digits and underscores, a letter first, such as "least".`,
        },
      );
    }
    const where = whereOf(stage, name);
    if (!isParameter(one)) {
      throw new HeadwaterError("BadParameter", "not made by parameter()", { where, hint: DECLARE });
    }
    const taken = takeValue(one.schema, one.default);
    if ("problem" in taken) {
      throw new HeadwaterError("BadParameter", `the default does not fit: ${taken.problem}`, {
        where,
        hint: "Mend the default or the schema.",
      });
    }
    declared.set(name, { schema: one.schema, default: taken.value });
  }
  if (declared.size === 0) return {};
  const defaults = new Map([...declared].map(([name, { default: value }]) => [name, value]));
  return { parameters: { declared, values: stageValues(defaults) } };
}

const DECLARE = "Declare each like parameters: { least: parameter(z.number(), 100) }.";

/** Refuses parameters where a stage has no function that could get them. Throws `BadParameter`. */
export function refuseParameters(stage: string, kind: string, given: unknown): void {
  if (given === undefined) return;
  throw new HeadwaterError("BadParameter", `a ${kind} has no parameters`, {
    where: `stage ${stage}`,
    hint: "Stages whose functions get a context have them, such as map, filter, flatMap and reduce.",
  });
}

/** How messages name a parameter. */
export function whereOf(stage: string, name: string): string {
  return `stage ${stage}, parameter ${name}`;
}

/** Values as functions get them. */
export function stageValues(values: ReadonlyMap<string, Value>): StageValues {
  const own: Record<string, Value> = Object.create(null);
  for (const [name, value] of values) own[name] = value;
  return Object.freeze(own);
}

function isPlainObject(value: unknown): value is object {
  if (typeof value !== "object" || value === null) return false;
  const prototype: unknown = Object.getPrototypeOf(value);
  return prototype === Object.prototype || prototype === null;
}

function isParameter(value: unknown): value is Parameter {
  if (!isPlainObject(value)) return false;
  const schema: unknown = "schema" in value ? value.schema : undefined;
  // Some vendors' schemas are functions.
  if ((typeof schema !== "object" && typeof schema !== "function") || schema === null) return false;
  const standard: unknown = "~standard" in schema ? schema["~standard"] : undefined;
  return typeof (standard as { validate?: unknown } | undefined)?.validate === "function";
}
