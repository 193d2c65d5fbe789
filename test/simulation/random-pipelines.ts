import fc from "fast-check";
import { isHeadwaterError } from "../../src/core/errors.ts";
import { type CaptureOptions, captureOptions, capturesOf } from "../../src/pipeline/capture.ts";
import type { EffectContext, StageContext } from "../../src/pipeline/context.ts";
import type {
  Key,
  PipelineDefinition,
  SourceDefinition,
  StageDefinition,
} from "../../src/pipeline/definition.ts";
import type { Circumstances, Given, Interruption } from "./harness.ts";
import { joinStage, tableJoinStage, windowStage } from "./random-timed-stages.ts";
import { failing, type Item, type PipelineWords, type SourceWords, type StageWords } from "./random-words.ts";

const TIME_BASE = 1_700_000_000_000;

const capture: fc.Arbitrary<CaptureOptions> = fc.constantFrom<CaptureOptions>(
  {},
  {},
  {},
  {},
  { capture: "all" },
  { capture: "none" },
  { sample: 0.5 },
  { capture: "all", sample: 0.4 },
);

const stageWords: fc.Arbitrary<StageWords> = fc.record({
  kind: fc.oneof(
    fc.constantFrom<StageWords["kind"]>(
      "map",
      "filter",
      "flatMap",
      "keyBy",
      "reduce",
      "union",
      "split",
      "route",
    ),
    fc.constantFrom<StageWords["kind"]>("window", "window", "join", "tableJoin", "late", "union"),
  ),
  inputs: fc.array(fc.oneof(fc.constant(-1), fc.integer({ min: -4, max: -1 }), fc.nat(20)), {
    minLength: 3,
    maxLength: 3,
  }),
  name: fc.constantFrom("a", "b", "b-a", "z9", "0"),
  variant: fc.nat(11),
  fails: fc.constantFrom(0, 0, 0, 0, 3, 5),
  how: fc.nat(2),
  bounds: fc.nat(11),
  lateness: fc.constantFrom(0, 1, 2_000, 20_000, 20_000),
  early: fc.nat(5),
  capture,
});

export const pipelineWords: fc.Arbitrary<PipelineWords> = fc.record({
  partitions: fc.constantFrom(1, 2, 8),
  sources: fc.array(
    fc.record({
      keyed: fc.constantFrom(true, true, false),
      timed: fc.constantFrom(true, true, true, false),
      identified: fc.constantFrom(false, false, true),
      outOfOrdernessMs: fc.constantFrom(0, 0, 1, 1_500, 10_000, 100_000),
      aheadMs: fc.constantFrom(86_400_000, 86_400_000, 10_000),
      capture,
    }),
    { minLength: 1, maxLength: 3 },
  ),
  stages: fc.array(stageWords, { maxLength: 9, size: "+1" }),
  sinks: fc.array(fc.nat(20), { maxLength: 3 }),
});

/** The same, of which all records are kept that leave their segments. */
export function withoutSamples(words: PipelineWords): PipelineWords {
  const plain = <T extends { readonly capture?: CaptureOptions }>(part: T): T => ({
    ...part,
    capture: part.capture?.capture === "all" && part.capture.sample === undefined ? part.capture : {},
  });
  return { ...words, sources: words.sources.map(plain), stages: words.stages.map(plain) };
}

/** Names of sources in an order that is not that of their definition. */
const SOURCE_NAMES = ["m", "c", "x-c"];

/** For each source its records, each with what is added to the ordinal and time of the one before it in any source. */
export type InputWords = readonly {
  readonly source: number;
  readonly gap: number;
  readonly k: number;
  readonly v: number;
  readonly pass: number;
  /** How far it is away from where time has come to. */
  readonly apart: number;
}[];

export const inputWords: fc.Arbitrary<InputWords> = fc.array(
  fc.record({
    source: fc.nat(2),
    // 0: the same ordinal as a record of another source.
    gap: fc.constantFrom(0, 0, 1, 1, 2, 5_000),
    k: fc.oneof(fc.nat(1), fc.nat(1), fc.integer({ min: -1, max: 6 })),
    v: fc.integer({ min: -20, max: 60 }),
    pass: fc.constantFrom(0, 1, 300, 1_000, 1_001, 2_500, 12_000),
    apart: fc.oneof(
      fc.constant(0),
      fc.constantFrom(0, -1, -2, -700, -3_000, -9_000, -30_000, 2_000, 15_000),
      fc.constantFrom(0, 0, 0, -3_000, -3_000, -9_000, -9_000, -9_000, 172_800_000),
    ),
  }),
  { maxLength: 60, size: "+2" },
);

/** Sixtieths of the way through a run's records. */
const SHARES = 60;

/** Where a window may begin: at the record that is so many sixtieths of the way in; 0 is the beginning. */
export function beginningAt(given: ReadonlyMap<string, readonly Given[]>, sixtieths: number): number {
  const ordinals = [...given.values()].flat().map(({ ordinal = 0 }) => ordinal);
  return sixtieths === 0 ? 0 : (ordinals[Math.floor((ordinals.length * sixtieths) / SHARES)] ?? 0);
}

/** The records of `words` for each source. */
export function inputsOf(
  definition: PipelineDefinition,
  words: InputWords,
  withOrdinals: boolean,
): Map<string, readonly Given[]> {
  const given = new Map<string, Given[]>(definition.sources.map(({ name }) => [name, []]));
  const used = new Map<string, number>();
  let ordinal = 0;
  let time = 0;
  for (const { source, gap, k, v, pass, apart } of words) {
    const { name } = definition.sources[source % definition.sources.length] as SourceDefinition;
    ordinal = Math.max(ordinal + gap, (used.get(name) ?? 0) + 1);
    used.set(name, ordinal);
    time += pass;
    const t = time + apart;
    const value = v === 59 ? { k, v, t, bad: new Date(0) } : { k, v, t };
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
  keepOpen: fc.constantFrom(false, false, false, true),
  interruptions: fc.constant([]),
  losses: fc.constant([]),
  failures: fc.constant([]),
});

/** What a stage's output is, for those that read it. */
interface Output {
  readonly keyed: boolean;
  /** Whether all sources that it descends from have event times. */
  readonly timed: boolean;
}

/** The pipeline that the words stand for. */
export function definitionOf(words: PipelineWords): PipelineDefinition {
  const sources = words.sources.map(sourceOf);
  const stages: StageDefinition[] = [];
  const outputs = new Map<string, Output>(
    sources.map(({ name, key, eventTime }) => [
      name,
      { keyed: key !== undefined, timed: eventTime !== undefined },
    ]),
  );
  for (const [index, stage] of words.stages.entries()) {
    for (const plain of stagesOf(stage, `${stage.name}${index}`, outputs, stages)) {
      const made = captured(plain, stage.capture, { sources, stages });
      const inputs = made.inputs.map((input) => outputs.get(input) as Output);
      stages.push(made);
      outputs.set(made.name, {
        keyed: made.kind === "keyBy" || inputs.every(({ keyed }) => keyed),
        timed: inputs.every(({ timed }) => timed),
      });
    }
  }
  const names = [...outputs.keys()];
  const sinks = [-1, ...words.sinks].map((which, index) => ({
    kind: "sink" as const,
    name: `out${index}`,
    input: names.at(which % names.length) as string,
  }));
  return { name: "p", partitions: words.partitions, batchRecords: 512, tickMs: 10, sources, stages, sinks };
}

function sourceOf(words: SourceWords, index: number): SourceDefinition {
  const { keyed, timed, identified, outOfOrdernessMs, aheadMs, idleAfterMs } = words;
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
    eventTime: timed ? (record) => TIME_BASE + ((record as Item).t ?? 0) : undefined,
    id: identified ? (record) => `${(record as Item).k}/${(record as Item).v}` : undefined,
    watermark: { outOfOrdernessMs, aheadMs, idleAfterMs },
    ...words.capture,
  };
}

/** The stage with what is kept of its records, where that can be said of it. */
function captured(
  stage: StageDefinition,
  capture: CaptureOptions = {},
  before: Pick<PipelineDefinition, "sources" | "stages">,
): StageDefinition {
  try {
    const made = { ...stage, ...captureOptions(capture, stage.kind, stage.name) };
    capturesOf({ ...before, stages: [...before.stages, made] });
    return made;
  } catch (error) {
    if (isHeadwaterError(error, "BadPipeline")) return stage;
    throw error;
  }
}

/** The stage, and those that select its outputs. */
function stagesOf(
  words: StageWords,
  name: string,
  outputs: ReadonlyMap<string, Output>,
  stages: readonly StageDefinition[],
): StageDefinition[] {
  const there = [...outputs.keys()];
  const picked = words.inputs.map((which) => there.at(which % there.length) as string);
  const [input = "", other = input] = picked;
  const inputs = [...new Set(picked)];
  const { keyed, timed } = outputs.get(input) as Output;
  const base = { name, inputs: [input], onError: "skip" as const };
  switch (words.kind) {
    case "union":
      return [
        inputs.length > 1
          ? { ...base, kind: "union", inputs }
          : { ...base, kind: "map", fn: mapFunction(words) },
      ];
    case "map":
      return [{ ...base, kind: "map", fn: mapFunction(words) }];
    case "filter":
      return [{ ...base, kind: "filter", fn: filterFunction(words) }];
    case "flatMap":
      return [{ ...base, kind: "flatMap", fn: flatMapFunction(words) }];
    case "split":
      return withSelects({ ...base, kind: "split", ...splitFunctions(words) });
    case "route":
      return withSelects({ ...base, kind: "route", ...routeFunction(words) });
    case "late": {
      const all = stages.filter(({ kind }) => kind === "window" || kind === "join" || kind === "tableJoin");
      const late = all.at((words.inputs[0] ?? 0) % all.length);
      if (late !== undefined) return [{ ...base, kind: "late", inputs: [late.name] }];
      return [{ ...base, kind: "map", fn: mapFunction(words) }];
    }
    case "keyBy":
    case "reduce":
      if (keyed && words.kind === "reduce") return [{ ...base, kind: "reduce", ...reduceFunctions(words) }];
      return [{ ...base, kind: "keyBy", fn: keyFunction(words) }];
    case "window":
      if (keyed) return [windowStage(words, base, timed)];
      return [{ ...base, kind: "keyBy", fn: keyFunction(words) }];
    case "join":
    case "tableJoin": {
      if (!keyed) return [{ ...base, kind: "keyBy", fn: keyFunction(words) }];
      if (!timed) return [windowStage(words, base, timed)];
      const right = outputs.get(other) as Output;
      const sides = { ...base, inputs: [input, right.keyed && right.timed ? other : input] };
      return [words.kind === "join" ? joinStage(words, sides) : tableJoinStage(words, sides)];
    }
  }
}

function withSelects(
  stage: Extract<StageDefinition, { readonly kind: "split" | "route" }>,
): StageDefinition[] {
  const selects = stage.labels.map((label) => ({
    kind: "select" as const,
    name: `${stage.name}-${label}`,
    inputs: [stage.name],
    onError: "skip" as const,
    label,
  }));
  return [stage, ...selects];
}

type WithContext<T> = (record: unknown, ctx: EffectContext) => T;

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
          now: ctx.now(),
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
    failing(words, record, [undefined, { when: new Date(0) }], () => map(record, ctx), ctx);
  if (words.variant < 9) return checked;
  return async (record, ctx) => {
    const answer = checked(record, ctx);
    if (words.variant === 9) await null;
    else await ctx.effect("outside", () => (record as Item).v);
    return answer;
  };
}

function filterFunction(words: StageWords): WithContext<boolean> {
  return (record, ctx) =>
    failing(
      words,
      record,
      ["yes", undefined],
      () => (record as Item).v % (2 + (words.variant % 3)) !== 0,
      ctx,
    );
}

function splitFunctions(words: StageWords) {
  const predicates = [2, 3]
    .slice(0, 1 + (words.variant % 2))
    .map(
      (by) => (record: unknown, ctx: StageContext) =>
        failing(words, record, ["yes" as never, undefined], () => (record as Item).v % by === 0, ctx),
    );
  return { labels: [...predicates.map((_, index) => `by${index}`), "rest"], predicates };
}

function routeFunction(words: StageWords) {
  const labels = ["main", "b", "b-a"].slice(0, 1 + (words.variant % 3));
  const wrong = [[{ to: "nowhere", value: 1 }], [{ to: "main", value: undefined }]];
  const route = (item: Item) =>
    Array.from({ length: Math.abs(item.v) % 4 }, (_, index) => ({
      to: labels[(item.k + 1 + index) % labels.length] as string,
      value: { ...item, v: item.v + index },
    }));
  const fn = (record: unknown, ctx: StageContext) =>
    failing(words, record, wrong, () => route(record as Item), ctx);
  return { labels, fn };
}

function flatMapFunction(words: StageWords): WithContext<Iterable<unknown>> {
  const times = (item: Item) => {
    const few = Math.abs(item.v) % 4;
    // So many that indexes on paths take a byte more, and some more than may come out of one input.
    if (words.variant === 0 && item.v % 7 === 0) return 250 + few * 3;
    if (words.variant === 1 && item.v % 11 === 0) return 400 * few;
    return words.variant < 6 ? few : 1;
  };
  return (record, ctx) =>
    failing(
      words,
      record,
      [7, [record, undefined]],
      () =>
        Array.from({ length: times(record as Item) }, (_, index) => ({
          ...(record as Item),
          v: (record as Item).v + index,
          k: (record as Item).k + (index % 2),
        })),
      ctx,
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
