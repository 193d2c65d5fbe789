import { decodeCanonical, encodeCanonical } from "../core/canonical.ts";
import { LIMITS } from "../core/limits.ts";
import type { StageDefinition } from "../pipeline/definition.ts";
import { badAnswer } from "./failures.ts";
import type { StageOutput } from "./stage-output.ts";

/** Functions of one record, as stages have them. */
export type FunctionStage = Extract<StageDefinition, { kind: "map" | "filter" | "flatMap" | "route" }>;

type Take = (answer: unknown, record: unknown, output: StageOutput, definition: FunctionStage) => void;

/** Hands a function's answer to the stage's output, or says why it is none. */
export const TAKE: Readonly<Record<FunctionStage["kind"], Take>> = {
  map: (answer, _record, output) => output.one(answer),
  filter: (answer, record, output) => {
    if (answer === true) output.one(record);
    else if (answer === false) output.none();
    else output.fail(badAnswer(`a filter answered ${typeof answer}, not true or false`, "Answer a boolean."));
  },
  flatMap: (answer, _record, output) => {
    let records: unknown[];
    try {
      records = collect(answer, "flatMap");
    } catch (error) {
      output.fail(error);
      return;
    }
    output.many(records);
  },
  route: (answer, _record, output, definition) => {
    const records: unknown[] = [];
    const labels: number[] = [];
    try {
      for (const routed of collect(answer, "route")) {
        const { to, value } = mustBeRouted(routed);
        labels.push(mustBeLabel(to, "labels" in definition ? definition.labels : []));
        records.push(value);
      }
    } catch (error) {
      output.fail(error);
      return;
    }
    output.manyLabelled(records, labels);
  },
};

/**
 * An answer as it is now, for one that is taken later: a function may use an object again. Throws where it cannot be
 * read; what is no record stays as it is, to be refused when it is taken.
 */
export function keepAnswer(kind: FunctionStage["kind"], answer: unknown): unknown {
  switch (kind) {
    case "filter":
      return answer;
    case "map":
      return copyOf(answer);
    case "flatMap":
      return collect(answer, kind).map(copyOf);
    case "route":
      return collect(answer, kind).map((routed) => {
        const { to, value } = mustBeRouted(routed);
        return { to, value: copyOf(value) };
      });
  }
}

function copyOf(record: unknown): unknown {
  if (typeof record !== "object" || record === null) return record;
  try {
    return decodeCanonical(encodeCanonical(record));
  } catch {
    return record;
  }
}

function mustBeRouted(routed: unknown): { readonly to: unknown; readonly value: unknown } {
  if (typeof routed === "object" && routed !== null && "to" in routed && "value" in routed) return routed;
  throw badAnswer("a route answered something without `to` and `value`", "Answer [{ to, value }, …].");
}

function mustBeLabel(to: unknown, labels: readonly string[]): number {
  const label = labels.indexOf(to as string);
  if (label >= 0) return label;
  throw badAnswer(
    `a route answered for an output that it does not have: ${String(to)}`,
    `It has: ${labels.join(", ")}.`,
  );
}

function collect(answer: unknown, kind: string): unknown[] {
  if (typeof answer !== "object" || answer === null || !(Symbol.iterator in answer)) {
    throw badAnswer(
      `a ${kind} answered ${answer === null ? "null" : typeof answer}, not records`,
      "Answer an array.",
    );
  }
  const records: unknown[] = [];
  for (const record of answer as Iterable<unknown>) {
    if (records.length === LIMITS.outputsPerInput) throw tooManyOutputs();
    records.push(record);
  }
  return records;
}

export function tooManyOutputs(): Error {
  return badAnswer(
    `more than ${LIMITS.outputsPerInput} records came out of one`,
    "Fan out in two segments, with a keyBy between them.",
  );
}
