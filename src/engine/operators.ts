import { encodeCanonical } from "../core/canonical.ts";
import { LIMITS } from "../core/limits.ts";
import { partitionOfKey } from "../core/partition.ts";
import type { StageContext } from "../pipeline/context.ts";
import type { Key, ReduceDefinition, StageDefinition } from "../pipeline/definition.ts";
import type { ReduceState } from "./reduce-state.ts";
import { badAnswer, type StageOutput } from "./stage-output.ts";

/** What an operator works on: a stage's inputs for one batch. */
export interface OperatorInput {
  readonly count: number;
  readonly records: readonly unknown[];
  /** Rows at which the stage fails because too much comes out of the segment's input that they descend from. */
  readonly refused: ReadonlySet<number> | undefined;
  contextOf(row: number): StageContext;
}

/** What a stage's function answered for one record: the value, or that it failed. */
type Answer = { readonly value: unknown } | { readonly error: unknown };

/** Functions of one record, as stages have them. */
type FunctionStage = Extract<StageDefinition, { kind: "map" | "filter" | "flatMap" }>;

/**
 * Calls the stage's function for every record. A promise is waited for together with all others of the batch.
 */
export function callFunction(
  definition: FunctionStage,
  input: OperatorInput,
): readonly Answer[] | Promise<readonly Answer[]> {
  const { fn } = definition;
  const answers: Answer[] = [];
  let waits = false;
  for (let row = 0; row < input.count; row++) {
    try {
      if (input.refused?.has(row)) throw tooManyOutputs();
      const value = fn(input.records[row], input.contextOf(row));
      waits ||= isThenable(value);
      answers.push({ value });
    } catch (error) {
      answers.push({ error });
    }
  }
  return waits ? Promise.all(answers.map(settle)) : answers;
}

async function settle(answer: Answer): Promise<Answer> {
  if ("error" in answer) return answer;
  try {
    return { value: await answer.value };
  } catch (error) {
    return { error };
  }
}

/** Hands what a stage's function answered to its output, in the order of the records. */
export function takeAnswers(
  kind: FunctionStage["kind"],
  answers: readonly Answer[],
  records: readonly unknown[],
  output: StageOutput,
): void {
  const take = TAKE[kind];
  for (const [row, answer] of answers.entries()) {
    if ("error" in answer) output.fail(answer.error);
    else take(answer.value, records[row], output);
  }
}

type Take = (answer: unknown, record: unknown, output: StageOutput) => void;

const TAKE: Readonly<Record<"map" | "filter" | "flatMap", Take>> = {
  map: (answer, _record, output) => output.one(answer),
  filter: (answer, record, output) => {
    if (answer === true) output.one(record);
    else if (answer === false) output.none();
    else output.fail(badAnswer(`a filter answered ${typeof answer}, not true or false`, "Answer a boolean."));
  },
  flatMap: (answer, _record, output) => {
    let records: unknown[];
    try {
      records = collect(answer);
    } catch (error) {
      output.fail(error);
      return;
    }
    output.many(records);
  },
};

function collect(answer: unknown): unknown[] {
  if (typeof answer !== "object" || answer === null || !(Symbol.iterator in answer)) {
    throw badAnswer(
      `a flatMap answered ${answer === null ? "null" : typeof answer}, not records`,
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

function tooManyOutputs(): Error {
  return badAnswer(
    `more than ${LIMITS.outputsPerInput} records came out of one`,
    "Fan out in two segments, with a keyBy between them.",
  );
}

function isThenable(value: unknown): boolean {
  return (
    typeof value === "object" && value !== null && typeof (value as { then?: unknown }).then === "function"
  );
}

/** Gives each record its key's partition. */
export function runKeyBy(
  keyOf: (record: unknown) => unknown,
  partitions: number,
  input: OperatorInput,
  output: StageOutput,
): void {
  for (let row = 0; row < input.count; row++) {
    const record = input.records[row];
    try {
      output.oneTo(record, partitionOfKey(checkKey(keyOf(record)), partitions));
    } catch (error) {
      output.fail(error);
    }
  }
}

/** A key as reduces and partitions take it: −0 is 0. Throws `StageFailed` for what cannot be a key. */
export function checkKey(key: unknown): Key {
  if (typeof key === "string") return key;
  if (typeof key === "number") return key === 0 ? 0 : key;
  if (typeof key === "boolean" || typeof key === "bigint" || key === null) return key;
  throw badAnswer(
    `a key function answered ${typeof key}`,
    "A key is a text, number, BigInt, boolean or null; of several, make a text.",
  );
}

/** One step of the key's total for each record. The state of a key at whose record the stage fails is unchanged. */
export function runReduce(
  definition: ReduceDefinition,
  state: ReduceState,
  input: OperatorInput & { keyOf(row: number): unknown; nOf(row: number): number },
  output: StageOutput,
): void {
  for (let row = 0; row < input.count; row++) {
    const record = input.records[row];
    try {
      const key = checkKey(input.keyOf(row));
      const n = input.nOf(row);
      const entry = state.get(key);
      const total = definition.step(
        entry === undefined ? definition.init(key) : entry.total,
        record,
        input.contextOf(row),
      );
      // A total that cannot be kept would only be found at the next snapshot, far from its cause.
      if (entry === undefined) encodeCanonical(total);
      let emitted = definition.emit(total, key, record);
      // The total goes on changing if steps change it in place; what was emitted must not.
      if (emitted === total && typeof total === "object" && total !== null) emitted = structuredClone(total);
      if (!output.oneAfter(emitted, entry === undefined ? 0 : 1 + n - entry.last)) continue;
      if (entry === undefined) state.set(key, { total, last: n });
      else {
        entry.total = total;
        entry.last = n;
      }
    } catch (error) {
      output.fail(error);
    }
  }
}
