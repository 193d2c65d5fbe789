import fc from "fast-check";
import type { StageContext } from "../../src/pipeline/context.ts";
import type {
  Key,
  PipelineDefinition,
  SourceDefinition,
  StageDefinition,
} from "../../src/pipeline/definition.ts";
import type { Circumstances, Given, Interruption } from "./harness.ts";

/** The records of random pipelines. Functions decide by `k` and `v` only. */
export interface Item {
  readonly k: number;
  readonly v: number;
}

/** A pipeline in few words, so that what fast-check reports can be read. */
export interface PipelineWords {
  readonly partitions: number;
  readonly sources: readonly SourceWords[];
  readonly stages: readonly StageWords[];
  readonly sinks: readonly number[];
}

interface SourceWords {
  readonly keyed: boolean;
  readonly timed: boolean;
  readonly identified: boolean;
}

interface StageWords {
  readonly kind: StageDefinition["kind"];
  /** Which of what is there already it reads, modulo their number. */
  readonly inputs: readonly number[];
  /** Beginning of its name: some are prefixes of others. */
  readonly name: string;
  readonly variant: number;
  /** It fails at records whose `v` this divides; 0: at none. */
  readonly fails: number;
  readonly how: number;
}

const stageWords: fc.Arbitrary<StageWords> = fc.record({
  kind: fc.constantFrom<StageDefinition["kind"]>(
    "map",
    "filter",
    "flatMap",
    "flatMap",
    "keyBy",
    "reduce",
    "reduce",
    "union",
    "union",
  ),
  inputs: fc.array(fc.oneof(fc.constant(-1), fc.integer({ min: -4, max: -1 }), fc.nat(20)), {
    minLength: 3,
    maxLength: 3,
  }),
  name: fc.constantFrom("a", "b", "b-a", "z9", "0"),
  variant: fc.nat(11),
  fails: fc.constantFrom(0, 0, 3, 5),
  how: fc.nat(2),
});

export const pipelineWords: fc.Arbitrary<PipelineWords> = fc.record({
  partitions: fc.constantFrom(1, 2, 8),
  sources: fc.array(fc.record({ keyed: fc.boolean(), timed: fc.boolean(), identified: fc.boolean() }), {
    minLength: 1,
    maxLength: 3,
  }),
  stages: fc.array(stageWords, { maxLength: 9 }),
  sinks: fc.array(fc.nat(20), { maxLength: 3 }),
});

/** Names of sources in an order that is not that of their definition. */
const SOURCE_NAMES = ["m", "c", "x-c"];

/** For each source its records, each with what is added to the ordinal of the one before it in any source. */
export type InputWords = readonly {
  readonly source: number;
  readonly gap: number;
  readonly k: number;
  readonly v: number;
}[];

export const inputWords: fc.Arbitrary<InputWords> = fc.array(
  fc.record({
    source: fc.nat(2),
    // 0: the same ordinal as a record of another source.
    gap: fc.constantFrom(0, 0, 1, 1, 2, 5_000),
    k: fc.integer({ min: -1, max: 6 }),
    v: fc.integer({ min: -20, max: 60 }),
  }),
  { maxLength: 60 },
);

/** The records of `words` for each source. */
export function inputsOf(
  definition: PipelineDefinition,
  words: InputWords,
  withOrdinals: boolean,
): Map<string, readonly Given[]> {
  const given = new Map<string, Given[]>(definition.sources.map(({ name }) => [name, []]));
  const used = new Map<string, number>();
  let ordinal = 0;
  for (const { source, gap, k, v } of words) {
    const { name } = definition.sources[source % definition.sources.length] as SourceDefinition;
    ordinal = Math.max(ordinal + gap, (used.get(name) ?? 0) + 1);
    used.set(name, ordinal);
    const value = v === 59 ? { k, v, bad: new Date(0) } : { k, v };
    given.get(name)?.push(withOrdinals ? { value, ordinal } : { value });
  }
  return given;
}

export const interruptions: fc.Arbitrary<readonly Interruption[]> = fc.array(
  fc.oneof(
    fc.record({ kind: fc.constant("stop" as const), at: fc.integer({ min: 1, max: 120 }) }),
    fc.record({
      kind: fc.constant("crash" as const),
      at: fc.integer({ min: 1, max: 120 }),
      made: fc.boolean(),
    }),
  ),
  { maxLength: 3 },
);

const someAppend = fc.oneof(fc.integer({ min: 1, max: 30 }), fc.integer({ min: 1, max: 150 }));

/** What goes wrong inside of runs. */
export const mishaps: fc.Arbitrary<Pick<Circumstances, "losses" | "failures">> = fc.record({
  losses: fc.array(someAppend, { maxLength: 3 }),
  failures: fc.array(fc.record({ at: someAppend, made: fc.boolean() }), { maxLength: 4 }),
});

export const circumstances: fc.Arbitrary<Circumstances> = fc.record({
  seed: fc.integer(),
  nodes: fc.integer({ min: 1, max: 4 }),
  batchRecords: fc.oneof(fc.constantFrom(1, 2, 3), fc.integer({ min: 1, max: 64 })),
  tickMs: fc.constantFrom(1, 10, 50),
  delayMs: fc.constantFrom(0, 3, 30),
  interruptions: fc.constant([]),
  losses: fc.constant([]),
  failures: fc.constant([]),
});

/** The pipeline that the words stand for. */
export function definitionOf(words: PipelineWords): PipelineDefinition {
  const sources = words.sources.map(sourceOf);
  const stages: StageDefinition[] = [];
  const keyed = new Map(sources.map(({ name, key }) => [name, key !== undefined]));
  for (const [index, stage] of words.stages.entries()) {
    const there = [...keyed.keys()];
    const pick = (which: number | undefined) => there.at((which ?? 0) % there.length) as string;
    const [input] = [stage.inputs[0]].map(pick) as [string];
    const inputs = [...new Set(stage.inputs.map(pick))];
    const made = stageOf(stage, `${stage.name}${index}`, input, inputs, keyed.get(input) ?? false);
    stages.push(made);
    keyed.set(made.name, made.kind === "keyBy" || (made.kind !== "union" && keyed.get(input) === true));
  }
  const outputs = [...keyed.keys()];
  const sinks = [-1, ...words.sinks].map((which, index) => ({
    kind: "sink" as const,
    name: `out${index}`,
    input: outputs.at(which % outputs.length) as string,
  }));
  return { name: "p", partitions: words.partitions, batchRecords: 512, tickMs: 10, sources, stages, sinks };
}

function sourceOf({ keyed, timed, identified }: SourceWords, index: number): SourceDefinition {
  return {
    kind: "source",
    name: SOURCE_NAMES[index] as string,
    schema: undefined,
    key: keyed
      ? (record) => {
          const { k } = record as Item;
          // No key: the door refuses the record.
          return (k < 0 ? undefined : k) as Key;
        }
      : undefined,
    eventTime: timed ? (record) => 1_700_000_000_000 + 777 * (record as Item).v : undefined,
    id: identified ? (record) => `${(record as Item).k}/${(record as Item).v}` : undefined,
  };
}

function stageOf(
  words: StageWords,
  name: string,
  input: string,
  inputs: readonly string[],
  keyed: boolean,
): StageDefinition {
  const base = { name, inputs: [input], onError: "skip" as const };
  const { kind } = words;
  if (kind === "union" && inputs.length > 1) return { ...base, kind, inputs };
  if (kind === "union" || kind === "map") return { ...base, kind: "map", fn: mapFunction(words) };
  if (kind === "filter") return { ...base, kind, fn: filterFunction(words) };
  if (kind === "flatMap") return { ...base, kind, fn: flatMapFunction(words) };
  if (kind === "keyBy" || !keyed) return { ...base, kind: "keyBy", fn: keyFunction(words) };
  return { ...base, kind, ...reduceFunctions(words) };
}

/** Throws, or answers what a stage may not, for the records at which the stage is to fail. */
function failing<T>(
  { fails, how }: StageWords,
  record: unknown,
  wrong: readonly unknown[],
  right: () => T,
): T {
  if (fails === 0 || (record as Item).v % fails !== 0) return right();
  if (how === 0) throw new Error("as the test wants it");
  return wrong[how - 1] as T;
}

type WithContext<T> = (record: unknown, ctx: StageContext) => T;

function mapFunction(words: StageWords): WithContext<unknown> {
  const map: WithContext<unknown> = (record, ctx) => {
    const item = record as Item;
    switch (words.variant % 6) {
      case 0:
        return { ...item, v: item.v + 1 };
      case 1:
        return { ...item, v: (item.v * 3) % 1_000, absent: undefined };
      case 2:
        return { ...item, k: (item.k + 1) % 5, random: ctx.random(), uuid: ctx.uuid() };
      case 3:
        return {
          ...item,
          time: ctx.eventTime ?? null,
          ordinal: ctx.ordinal,
          root: ctx.root,
          source: ctx.source,
        };
      case 4:
        return item;
      default:
        return { v: item.v, k: item.k };
    }
  };
  const checked: WithContext<unknown> = (record, ctx) =>
    failing(words, record, [undefined, { when: new Date(0) }], () => map(record, ctx));
  if (words.variant < 9) return checked;
  return async (record, ctx) => {
    const answer = checked(record, ctx);
    await null;
    return answer;
  };
}

function filterFunction(words: StageWords): WithContext<boolean> {
  return (record) =>
    failing(words, record, ["yes", undefined], () => (record as Item).v % (2 + (words.variant % 3)) !== 0);
}

function flatMapFunction(words: StageWords): WithContext<Iterable<unknown>> {
  const times = (item: Item) => {
    const few = Math.abs(item.v) % 4;
    // So many that indexes on paths take a byte more, and some more than may come out of one input.
    if (words.variant === 0 && item.v % 7 === 0) return 250 + few * 3;
    if (words.variant === 1 && item.v % 11 === 0) return 400 * few;
    return words.variant < 6 ? few : 1;
  };
  return (record) =>
    failing(words, record, [7, [record, undefined]], () =>
      Array.from({ length: times(record as Item) }, (_, index) => ({
        ...(record as Item),
        v: (record as Item).v + index,
        k: (record as Item).k + (index % 2),
      })),
    );
}

function keyFunction(words: StageWords): (record: unknown) => Key {
  const keys: ((item: Item) => Key)[] = [
    ({ k }) => k,
    ({ k }) => `k${k % 3}`,
    ({ k }) => k % 2 === 0,
    ({ k }) => (k === 0 ? -0 : k === 1 ? 0 : Number.NaN),
    ({ v }) => BigInt(v % 3),
    () => null,
  ];
  const key = keys[words.variant % keys.length] as (item: Item) => Key;
  return (record) => failing(words, record, [undefined, {}], () => key(record as Item));
}

function reduceFunctions(words: StageWords) {
  type Total = { readonly count: number; readonly sum: number };
  return {
    init: () => ({ count: 0, sum: 0 }),
    step: (total: unknown, record: unknown) =>
      failing({ ...words, how: 0 }, words.how === 0 ? record : { v: 1 }, [], () => ({
        count: (total as Total).count + 1,
        sum: (total as Total).sum + (record as Item).v,
      })),
    emit: (total: unknown, _key: Key, record: unknown) =>
      failing(words, words.how === 0 ? { v: 1 } : record, [undefined, new Date(0)], () =>
        words.variant < 3
          ? { ...(total as Total), k: (record as Item).k, v: (total as Total).sum % 100 }
          : { ...(record as Item), v: (total as Total).sum % 100, count: (total as Total).count },
      ),
  };
}
