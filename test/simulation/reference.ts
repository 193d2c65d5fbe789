import type { StageContext } from "../../src/pipeline/context.ts";
import type { PipelineDefinition, StageDefinition } from "../../src/pipeline/definition.ts";
import type { Delivery, Given } from "./harness.ts";

/**
 * What a pipeline has to give, worked out with arrays and sorting alone: every stage over all its records at once.
 * Shares nothing with the engine but the pipeline's own functions.
 */
export interface Expected {
  readonly sinks: ReadonlyMap<string, readonly Delivery[]>;
  /** How many records each stage has quarantined. */
  readonly quarantined: ReadonlyMap<string, number>;
  /** Indexes of the records that each door has to refuse, as duplicates or because of a function that fails. */
  readonly refused: ReadonlyMap<string, ReadonlySet<number>>;
  readonly accepted: ReadonlyMap<string, number>;
}

interface Item {
  readonly value: unknown;
  readonly ordinal: number;
  readonly source: string;
  /** Address of the root. */
  readonly root: string;
  /** One character a byte. */
  readonly path: string;
  readonly key: unknown;
  readonly time: number | undefined;
  /** Tells the input of the segment that the record descends from. */
  readonly entry: string;
}

/** Outputs of one input of a segment at one stage, at most. */
const OUTPUTS_MOST = 1_024;

export async function reference(
  definition: PipelineDefinition,
  inputs: ReadonlyMap<string, readonly Given[]>,
): Promise<Expected> {
  const streams = new Map<string, readonly Item[]>();
  const refused = new Map<string, ReadonlySet<number>>();
  const accepted = new Map<string, number>();
  const quarantined = new Map<string, number>();
  for (const source of definition.sources) {
    const items: Item[] = [];
    const refusedHere = new Set<number>();
    const ids = new Set<unknown>();
    for (const [index, { value, ordinal }] of (inputs.get(source.name) ?? []).entries()) {
      try {
        const id = source.id?.(value);
        const time = source.eventTime?.(value);
        const key = mustBeKey(source.key === undefined ? null : source.key(value));
        if (!isRecord(value) || (source.id !== undefined && ids.has(id))) throw new Error("refused");
        ids.add(id);
        const root = `source_${definition.name}.${source.name}@${items.length}`;
        items.push({
          value,
          ordinal: ordinal ?? 0,
          source: source.name,
          root,
          path: "",
          key,
          time: time === undefined ? undefined : Number(time),
          entry: "",
        });
      } catch {
        refusedHere.add(index);
      }
    }
    streams.set(source.name, items);
    refused.set(source.name, refusedHere);
    accepted.set(source.name, items.length);
  }

  const kinds = new Map(definition.stages.map((stage) => [stage.name, stage.kind]));
  for (const stage of definition.stages) {
    const [first] = stage.inputs;
    const kind = kinds.get(first ?? "");
    const begins = stage.kind === "union" || kind === undefined || kind === "keyBy";
    const items = stage.inputs.flatMap((input) => {
      const readers = definition.stages.filter((other) => other.inputs.includes(input)).length;
      return (streams.get(input) ?? []).map((item) => {
        const path = readers > 1 ? `${item.path}${stage.name}\0` : item.path;
        return { ...item, path, entry: begins ? `${item.root} ${path}` : item.entry };
      });
    });
    const { outputs, failures } = await runStage(stage, items.sort(inLogicalOrder));
    streams.set(stage.name, outputs);
    quarantined.set(stage.name, failures);
  }

  const sinks = new Map(
    definition.sinks.map(({ name, input }) => [
      name,
      [...(streams.get(input) ?? [])].sort(inLogicalOrder).map(({ root, path, ordinal, value }) => ({
        key: path === "" ? root : `${root}~${Buffer.from(path, "latin1").toString("hex")}`,
        ordinal,
        value,
      })),
    ]),
  );
  return { sinks, quarantined, refused, accepted };
}

async function runStage(
  stage: StageDefinition,
  inputs: readonly Item[],
): Promise<{ outputs: Item[]; failures: number }> {
  const totals = new Map<string, unknown>();
  const results: (Item[] | undefined)[] = [];
  for (const item of inputs) {
    try {
      results.push(await runOne(stage, item, totals));
    } catch {
      results.push(undefined);
    }
  }
  if (stage.kind === "flatMap") {
    const ofEntry = new Map<string, number[]>();
    for (const [row, { entry }] of inputs.entries()) ofEntry.set(entry, [...(ofEntry.get(entry) ?? []), row]);
    for (const rows of ofEntry.values()) {
      const count = rows.reduce((sum, row) => sum + (results[row]?.length ?? 0), 0);
      if (count > OUTPUTS_MOST) for (const row of rows) results[row] = undefined;
    }
  }
  return {
    outputs: results.flatMap((result) => result ?? []),
    failures: results.filter((result) => result === undefined).length,
  };
}

async function runOne(stage: StageDefinition, item: Item, totals: Map<string, unknown>): Promise<Item[]> {
  const ctx: StageContext = {
    parameters: {},
    eventTime: item.time,
    ordinal: item.ordinal,
    source: item.source,
    root: item.root,
    random: () => 0,
    uuid: () => "",
  };
  const { value } = item;
  switch (stage.kind) {
    case "union":
      return [{ ...item, key: null }];
    case "map":
      return [{ ...item, value: mustBeRecord(await stage.fn(value, ctx)) }];
    case "filter": {
      const answer: unknown = await stage.fn(value, ctx);
      if (typeof answer !== "boolean") throw new Error("not a boolean");
      return answer ? [item] : [];
    }
    case "flatMap":
      return mustBeFew([...(await stage.fn(value, ctx))]).map((each, index) => ({
        ...item,
        value: mustBeRecord(each),
        path: item.path + indexOnPath(index),
      }));
    case "keyBy":
      return [{ ...item, key: mustBeKey(stage.fn(value)) }];
    case "reduce": {
      const key = item.key as never;
      const name = `${typeof key}:${String(key)}`;
      const total = stage.step(totals.has(name) ? totals.get(name) : stage.init(key), value, ctx);
      const emitted = mustBeRecord(stage.emit(total, key, value));
      totals.set(name, total);
      return [{ ...item, value: emitted }];
    }
  }
}

/** One byte below 0xf8, else how many bytes follow, from 0xf8 for one on, and those, the high one first. */
function indexOnPath(index: number): string {
  if (index < 0xf8) return String.fromCharCode(index);
  if (index < 0x100) return String.fromCharCode(0xf8, index);
  return String.fromCharCode(0xf9, index >> 8, index & 0xff);
}

function inLogicalOrder(a: Item, b: Item): number {
  if (a.ordinal !== b.ordinal) return a.ordinal - b.ordinal;
  return Buffer.compare(Buffer.from(a.source), Buffer.from(b.source)) || compareBytes(a.path, b.path);
}

function compareBytes(a: string, b: string): number {
  return Buffer.compare(Buffer.from(a, "latin1"), Buffer.from(b, "latin1"));
}

function mustBeKey(key: unknown): unknown {
  if (key === undefined || typeof key === "object" ? key !== null : typeof key === "function") {
    throw new Error("not a key");
  }
  return key === 0 ? 0 : key;
}

function mustBeFew<T>(results: readonly T[]): readonly T[] {
  if (results.length > OUTPUTS_MOST) throw new Error("too many");
  return results;
}

function mustBeRecord(value: unknown): unknown {
  if (!isRecord(value)) throw new Error("not a record");
  return value;
}

/** As far as the functions of the tests go. */
function isRecord(value: unknown): boolean {
  if (value === undefined || typeof value === "function" || value instanceof Date) return false;
  return (
    typeof value !== "object" ||
    value === null ||
    Object.values(value).every((part) => !(part instanceof Date))
  );
}
