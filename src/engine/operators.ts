import { countedKey, partitionOfKey } from "../core/partition.ts";
import type { StageContext } from "../pipeline/context.ts";
import type { Key, ReduceDefinition, SplitDefinition } from "../pipeline/definition.ts";
import { badAnswer } from "./failures.ts";
import { answered } from "./promises.ts";
import type { ReduceState } from "./reduce-state.ts";
import type { StageOutput } from "./stage-output.ts";

/** What an operator works on: a stage's inputs for one batch. */
export interface OperatorInput {
  readonly count: number;
  readonly records: readonly unknown[];
  /** Called before the stage's functions are for a row; throws why they are not to be. */
  enter(row: number): void;
  contextOf(row: number): StageContext;
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
  answered(answer, "a predicate");
  throw badAnswer(`a predicate answered ${typeof answer}, not true or false`, "Answer a boolean.");
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
  if (typeof key === "number") return countedKey(key);
  if (typeof key === "boolean" || typeof key === "bigint" || key === null) return key;
  answered(key, "a key function");
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
      const before = entry === undefined ? answered(definition.init(key), "a reduce's init") : entry.total;
      const total = answered(definition.step(before, record, input.contextOf(row)), "a reduce's step");
      // A total that cannot be kept would only be found at the next snapshot, far from its cause.
      output.check(total);
      const emitted = answered(definition.emit(total, key, record), "a reduce's emit");
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
