import type { EffectContext } from "../../src/pipeline/context.ts";
import type { PipelineDefinition, SourceDefinition, StageDefinition } from "../../src/pipeline/definition.ts";
import type { Delivery, Given } from "./harness.ts";
import {
  compareBytes,
  type FiringRow,
  type Item,
  indexOnPath,
  inLogicalOrder,
  isRecord,
  keyName,
  mustBeFew,
  mustBeKey,
  mustBeRecord,
  OUTPUTS_MOST,
  ranksOf,
  type StageOutcome,
  sinkKeyOf,
} from "./reference-items.ts";
import { runJoin, runTableJoin } from "./reference-joins.ts";
import type { TimedStage } from "./reference-timeline.ts";
import { type DoorEvent, doorSteps, mergedSteps, type Step } from "./reference-watermarks.ts";
import { runWindow } from "./reference-windows.ts";

/**
 * What a pipeline has to give, worked out with arrays and sorting alone: every stage over all its records at once.
 * Shares nothing with the engine but the pipeline's own functions.
 */
export interface Expected {
  readonly sinks: ReadonlyMap<string, readonly Delivery[]>;
  /** For each sink's outputs, by their keys, the addresses of all records of sources that they were made of. */
  readonly lineage: ReadonlyMap<string, ReadonlyMap<string, readonly string[]>>;
  /** How many records each stage has quarantined. */
  readonly quarantined: ReadonlyMap<string, number>;
  /** Ordinals and paths of the firings of each window and join. */
  readonly firings: ReadonlyMap<string, readonly string[]>;
  /** How many records came too late for each window and join. */
  readonly late: ReadonlyMap<string, number>;
  /** The steps of each source's watermark. */
  readonly watermarks: ReadonlyMap<string, readonly Step[]>;
  /** N's of the records of each source whose event times are not believed. */
  readonly ahead: ReadonlyMap<string, readonly number[]>;
  /** Indexes of the records that each door has to refuse, as duplicates or because of a function that fails. */
  readonly refused: ReadonlyMap<string, ReadonlySet<number>>;
}

/** What else happens at a door, with its ordinal. */
export type DoorMark = DoorEvent & { readonly kind: "idle" | "ended" | "resumed" };

/** A quarantined record that was put back at its stage. */
export interface RetriedItem {
  readonly item: number;
  readonly stage: string;
  /** The root and path (hex) that it had where it failed. */
  readonly root: string;
  readonly path: string;
  /** Where it came back. */
  readonly ordinal: number;
  readonly pathNow: string;
}

export interface ReferenceOptions {
  /** For each source that none comes any more, or for a while. Absent: each ends just after its last record. */
  readonly marks?: ReadonlyMap<string, readonly DoorMark[]>;
  readonly retries?: readonly RetriedItem[];
  readonly keepOpen?: boolean;
  /** Throws {@link TooMuch} where a stage would make more records than this. */
  readonly most?: number;
}

/** The pipeline makes more of its input than a test has time for. */
export class TooMuch extends Error {}

export async function reference(
  definition: PipelineDefinition,
  inputs: ReadonlyMap<string, readonly Given[]>,
  { marks, retries = [], keepOpen = false, most = Number.POSITIVE_INFINITY }: ReferenceOptions = {},
): Promise<Expected> {
  const ranks = ranksOf(definition);
  const streams = new Map<string, readonly Item[]>();
  const refused = new Map<string, ReadonlySet<number>>();
  const steps = new Map<string, readonly Step[]>();
  const ahead = new Map<string, readonly number[]>();
  const quarantined = new Map<string, number>();
  const watched = definition.stages.some(({ kind }) => isTimed(kind));
  for (const source of definition.sources) {
    const door = passDoor(definition, source, inputs.get(source.name) ?? [], ranks.get(source.name) ?? 0);
    streams.set(source.name, door.items);
    refused.set(source.name, door.refused);
    const last = door.items.at(-1)?.ordinal ?? -1;
    const ends = keepOpen || !watched ? [] : [{ ordinal: last + 1, kind: "ended" } as const];
    const events: DoorEvent[] = [
      ...door.items.map(({ ordinal, time }) => ({ ordinal, kind: "record" as const, time })),
      ...(marks === undefined ? ends : (marks.get(source.name) ?? [])),
    ];
    const seen = doorSteps(
      source.watermark,
      events.toSorted((a, b) => a.ordinal - b.ordinal),
    );
    steps.set(source.name, seen.steps);
    ahead.set(source.name, seen.ahead);
  }
  const watermarks = new Map(definition.sources.map(({ name }) => [name, steps.get(name) ?? []]));

  const kinds = new Map(definition.stages.map((stage) => [stage.name, stage.kind]));
  const late = new Map<string, readonly Item[]>();
  const firings = new Map<string, readonly FiringRow[]>();
  for (const stage of definition.stages) {
    const { name } = stage;
    steps.set(name, mergedSteps(stage.inputs.map((input) => steps.get(input) ?? [])));
    const readers = new Map(stage.inputs.map((input) => [input, readersOf(definition, input)]));
    const twice = new Set(stage.inputs).size < stage.inputs.length;
    const kind = kinds.get(stage.inputs[0] ?? "");
    const begins = stage.kind === "union" || isTimed(stage.kind) || kind === undefined || kind === "keyBy";
    const items = stage.inputs.flatMap((input, side) => {
      const from = stage.kind === "late" ? late.get(input) : streams.get(input);
      const branched = stage.kind === "late" || (readers.get(input) ?? 0) > 1;
      const branch = twice ? `${name}.${side}\0` : branched ? `${name}\0` : "";
      return (from ?? []).map((item) => {
        const path = item.path + branch;
        const there = begins ? path : item.path;
        return { ...item, side, path, there, entry: begins ? `${item.root} ${path}` : item.entry };
      });
    });
    const back = retries
      .filter((other) => other.stage === name)
      .map((other) => {
        const there = Buffer.from(other.pathNow, "hex").toString("latin1");
        const branched = !begins && (readers.get(stage.inputs[0] ?? "") ?? 0) > 1;
        return { ...other, there, place: branched ? `${there}${name}\0` : there };
      });
    const outcome = await runStage(stage, items.sort(inLogicalOrder), back, {
      pipeline: definition.name,
      name,
      rank: ranks.get(name) ?? 0,
      firingRanks: ranks.size - definition.sources.length,
      steps: steps.get(name) ?? [],
    });
    if (outcome.outputs.length > most)
      throw new TooMuch(`stage ${name} makes ${outcome.outputs.length} records`);
    streams.set(name, outcome.outputs);
    quarantined.set(name, outcome.failures);
    if (!isTimed(stage.kind)) continue;
    // A side output has what came in, and its own name on its path alone.
    late.set(name, outcome.late);
    firings.set(name, outcome.firings);
  }

  const outputs = new Map(
    definition.sinks.map(({ name, input }) => [name, [...(streams.get(input) ?? [])].sort(inLogicalOrder)]),
  );
  return {
    sinks: mapValues(outputs, (items) =>
      items.map((item) => ({ key: sinkKeyOf(item), ordinal: item.ordinal, value: item.value })),
    ),
    lineage: mapValues(
      outputs,
      (items) => new Map(items.map((item) => [sinkKeyOf(item), [...item.lineage].sort()])),
    ),
    quarantined,
    firings: mapValues(firings, (rows) =>
      rows.map(({ ordinal, path }) => `${ordinal} ${Buffer.from(path, "latin1").toString("hex")}`).sort(),
    ),
    late: mapValues(late, (items) => items.length),
    watermarks,
    ahead,
    refused,
  };
}

function mapValues<T, U>(map: ReadonlyMap<string, T>, of: (value: T) => U): Map<string, U> {
  return new Map(Array.from(map, ([name, value]) => [name, of(value)]));
}

function isTimed(kind: StageDefinition["kind"]): boolean {
  return kind === "window" || kind === "join" || kind === "tableJoin";
}

/** How many stages read an output; what came too late is none. */
function readersOf({ stages }: PipelineDefinition, input: string): number {
  return stages
    .filter(({ kind }) => kind !== "late")
    .flatMap(({ inputs }) => inputs)
    .filter((name) => name === input).length;
}

/** The records of a source that are accepted, and the indexes of those that are not. */
function passDoor(
  { name: pipeline }: PipelineDefinition,
  source: SourceDefinition,
  given: readonly Given[],
  rank: number,
): { readonly items: readonly Item[]; readonly refused: ReadonlySet<number> } {
  const items: Item[] = [];
  const refused = new Set<number>();
  const ids = new Set<unknown>();
  for (const [index, { value, ordinal = 0 }] of given.entries()) {
    try {
      const id = source.id?.(value);
      const time = source.eventTime?.(value);
      const key = mustBeKey(source.key === undefined ? null : source.key(value));
      if (!isRecord(value) || (source.id !== undefined && ids.has(id))) throw new Error("refused");
      ids.add(id);
      const root = `source_${pipeline}.${source.name}@${items.length}`;
      items.push({
        value,
        ordinal,
        origin: source.name,
        rank,
        root,
        path: "",
        key,
        time: time === undefined ? undefined : Number(time),
        entry: "",
        lineage: new Set([root]),
      });
    } catch {
      refused.add(index);
    }
  }
  return { items, refused };
}

/** `there`: its path where the stage begins, without what the stage adds to it. */
type StageItem = Item & { readonly side: number; readonly there: string };

/** What comes back at the stage, and its paths there. */
type BackItem = RetriedItem & { readonly there: string; readonly place: string };

/** Where an item stood that failed, and stands for what it was. */
function failedKey(root: string, there: string): string {
  return `${root}~${Buffer.from(there, "latin1").toString("hex")}`;
}

/** Runs the items in order; what comes back is what failed before, at its place among the others. */
async function runOneByOne(
  stage: OneByOne,
  given: readonly StageItem[],
  back: readonly BackItem[],
): Promise<{ readonly inputs: StageItem[]; readonly results: (Item[] | undefined)[] }> {
  const totals = new Map<string, Total>();
  const failed = new Map<string, StageItem>();
  const inputs: StageItem[] = [];
  const results: (Item[] | undefined)[] = [];
  const waiting = [...back].sort((a, b) => a.ordinal - b.ordinal || compareBytes(a.there, b.there));
  const run = async (item: StageItem, before?: { readonly root: string; readonly path: string }) => {
    inputs.push(item);
    try {
      results.push(await runOne(stage, item, totals));
    } catch {
      results.push(undefined);
    }
    const { root, there } = item;
    const path = before === undefined ? there : Buffer.from(before.path, "hex").toString("latin1");
    failed.set(failedKey(before?.root ?? root, path), item);
  };
  const comeBack = async (until: StageItem | undefined) => {
    for (let [next] = waiting; next !== undefined && isBefore(next, until); [next] = waiting) {
      waiting.shift();
      const was = failed.get(`${next.root}~${next.path}`);
      if (was === undefined) throw new Error(`retry_p@${next.item} never failed at ${next.stage}`);
      const root = `retry_p@${next.item}`;
      const place = { ordinal: next.ordinal, path: next.place, there: next.there, root, entry: root };
      const again = { ...was, ...place, origin: "", rank: -1, before: was.before ?? was.origin };
      await run(again, next);
    }
  };
  for (const item of given) {
    await comeBack(item);
    await run(item);
  }
  await comeBack(undefined);
  return { inputs, results };
}

/** What was put back ahead of here, with the same ordinal, comes after what is put back here: its path says so. */
function isBefore(back: BackItem, item: StageItem | undefined): boolean {
  if (item === undefined || back.ordinal !== item.ordinal) return back.ordinal < (item?.ordinal ?? Infinity);
  return item.rank > -1 || compareBytes(back.there, item.there) < 0;
}

async function runStage(
  stage: StageDefinition,
  given: readonly StageItem[],
  back: readonly BackItem[],
  timed: TimedStage,
): Promise<StageOutcome> {
  if (stage.kind === "window") return runWindow(stage, given, timed, contextOf);
  if (stage.kind === "join") return runJoin(stage, given, timed);
  if (stage.kind === "tableJoin") return runTableJoin(stage, given, timed);
  const { inputs, results } = await runOneByOne(stage, given, back);
  if (stage.kind === "flatMap" || stage.kind === "route") {
    const ofEntry = new Map<string, number[]>();
    for (const [row, { entry }] of inputs.entries()) {
      const rows = ofEntry.get(entry) ?? [];
      rows.push(row);
      ofEntry.set(entry, rows);
    }
    for (const rows of ofEntry.values()) {
      const count = rows.reduce((sum, row) => sum + (results[row]?.length ?? 0), 0);
      if (count > OUTPUTS_MOST) for (const row of rows) results[row] = undefined;
    }
  }
  return {
    outputs: results.flatMap((result) => result ?? []),
    failures: results.filter((result) => result === undefined).length,
    late: [],
    firings: [],
  };
}

/** Ordinals count 4,096ths of milliseconds from 2020 on. */
const YEAR_2020 = Date.UTC(2020, 0, 1);

function contextOf({ time, ordinal, origin, root, before }: Item): EffectContext {
  return {
    eventTime: time,
    ordinal,
    source: before ?? origin,
    root,
    random: () => 0,
    uuid: () => "",
    now: () => YEAR_2020 + Math.floor(ordinal / 4_096),
    effect: async (_name, fn) => fn({ key: "", signal: new AbortController().signal, attempt: 1 }),
    parameters: {},
  };
}

/** What a reduce keeps of a key. */
interface Total {
  readonly total: unknown;
  readonly lineage: ReadonlySet<string>;
}

/** Labels are kept beside the records of a split or route. */
type Labelled = Item & { readonly label?: string };

type OneByOne = Exclude<StageDefinition, { readonly kind: "window" | "join" | "tableJoin" }>;

async function runOne(stage: OneByOne, item: Labelled, totals: Map<string, Total>): Promise<Labelled[]> {
  const ctx = contextOf(item);
  const { value } = item;
  switch (stage.kind) {
    case "union":
    case "late":
      return [item];
    case "map":
      return [{ ...item, value: mustBeRecord(await stage.fn(value, ctx)) }];
    case "filter":
      return mustBeBoolean(await stage.fn(value, ctx)) ? [item] : [];
    case "flatMap":
      return mustBeFew([...(await stage.fn(value, ctx))]).map((each, index) => ({
        ...item,
        value: mustBeRecord(each),
        path: item.path + indexOnPath(index),
      }));
    case "split": {
      const { predicates, labels } = stage;
      const first = predicates.findIndex((predicate) => mustBeBoolean(predicate(value, ctx)));
      return [{ ...item, label: labels.at(first) as string }];
    }
    case "route":
      return mustBeFew([...(await stage.fn(value, ctx))]).map(({ to, value: each }, index) => {
        if (!stage.labels.includes(to)) throw new Error("not an output");
        return { ...item, value: mustBeRecord(each), path: item.path + indexOnPath(index), label: to };
      });
    case "select":
      return item.label === stage.label ? [item] : [];
    case "keyBy":
      return [{ ...item, key: mustBeKey(stage.fn(value)) }];
    case "reduce": {
      const key = item.key as never;
      const before = totals.get(keyName(key));
      const total = stage.step(before === undefined ? stage.init(key) : before.total, value, ctx);
      const emitted = mustBeRecord(stage.emit(total, key, value));
      const lineage = new Set([...(before?.lineage ?? []), ...item.lineage]);
      totals.set(keyName(key), { total, lineage });
      return [{ ...item, value: emitted, lineage }];
    }
  }
}

function mustBeBoolean(answer: unknown): boolean {
  if (typeof answer !== "boolean") throw new Error("not a boolean");
  return answer;
}
