import { LIMITS } from "../core/limits.ts";
import { partitionOfKey } from "../core/partition.ts";
import type { StageContext } from "../pipeline/context.ts";
import type { Key, ReduceDefinition, SplitDefinition, StageDefinition } from "../pipeline/definition.ts";
import { badAnswer } from "./failures.ts";
import type { ReduceState } from "./reduce-state.ts";
import type { StageOutput } from "./stage-output.ts";

/** What an operator works on: a stage's inputs for one batch. */
export interface OperatorInput {
  readonly count: number;
  readonly records: readonly unknown[];
  /** Rows at which the stage fails because too much comes out of the segment's input that they descend from. */
  readonly refused: ReadonlySet<number> | undefined;
  /** Called before the stage's functions are for a row; throws why they are not to be. */
  enter(row: number): void;
  contextOf(row: number): StageContext;
}

/** Functions of one record, as stages have them. */
type FunctionStage = Extract<StageDefinition, { kind: "map" | "filter" | "flatMap" | "route" }>;

/**
 * Calls the stage's function for every record and hands each answer to `output` before the next call, so that an
 * object that a function uses again is taken as it was. A promise is waited for together with those of all
 * records after it; the order of records stays.
 */
export function runFunction(
  definition: FunctionStage,
  input: OperatorInput,
  output: StageOutput,
): Promise<void> | undefined {
  const take = TAKE[definition.kind];
  for (let row = 0; row < input.count; row++) {
    let answer: unknown;
    try {
      answer = call(definition, input, row);
    } catch (error) {
      output.fail(error);
      continue;
    }
    if (isThenable(answer)) {
      // Others use the arena while this is waited for.
      output.leaveArena();
      return finishLater(definition, input, output, row, answer);
    }
    take(answer, input.records[row], output, definition);
  }
  return undefined;
}

function call(definition: FunctionStage, input: OperatorInput, row: number): unknown {
  input.enter(row);
  if (input.refused?.has(row)) throw tooManyOutputs();
  return definition.fn(input.records[row], input.contextOf(row));
}

/** The batch from the row on whose function answered a promise, `begun`. */
async function finishLater(
  definition: FunctionStage,
  input: OperatorInput,
  output: StageOutput,
  from: number,
  begun: unknown,
): Promise<void> {
  const answers: unknown[] = [begun];
  for (let row = from + 1; row < input.count; row++) {
    try {
      answers.push(call(definition, input, row));
    } catch (error) {
      answers.push(Promise.reject(error));
    }
  }
  const take = TAKE[definition.kind];
  for (const [index, result] of (await Promise.allSettled(answers)).entries()) {
    if (result.status === "rejected") output.fail(result.reason);
    else take(result.value, input.records[from + index], output, definition);
  }
}

type Take = (answer: unknown, record: unknown, output: StageOutput, definition: FunctionStage) => void;

const TAKE: Readonly<Record<FunctionStage["kind"], Take>> = {
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

/** Sends each record to the output of the first predicate that answers `true`, else to the last one. */
export function runSplit(definition: SplitDefinition, input: OperatorInput, output: StageOutput): void {
  const { predicates } = definition;
  for (let row = 0; row < input.count; row++) {
    const record = input.records[row];
    try {
      input.enter(row);
      const ctx = input.contextOf(row);
      let label = 0;
      while (label < predicates.length && !mustBeBoolean(predicates[label]?.(record, ctx))) label++;
      output.oneLabelled(record, label);
    } catch (error) {
      output.fail(error);
    }
  }
}

function mustBeBoolean(answer: unknown): boolean {
  if (typeof answer === "boolean") return answer;
  throw badAnswer(`a predicate answered ${typeof answer}, not true or false`, "Answer a boolean.");
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
      input.enter(row);
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
      input.enter(row);
      const key = checkKey(input.keyOf(row));
      const n = input.nOf(row);
      const entry = state.get(key);
      const total = definition.step(
        entry === undefined ? definition.init(key) : entry.total,
        record,
        input.contextOf(row),
      );
      // A total that cannot be kept would only be found at the next snapshot, far from its cause.
      output.check(total);
      const emitted = definition.emit(total, key, record);
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
