import { decodeCanonical } from "../core/canonical.ts";
import { ColumnReader, decodeDeltas, decodePlain, decodeRuns } from "../core/columns.ts";
import type {
  OutletColumns,
  RecordsAccepted,
  RecordsStored,
  Section,
  StepsRecorded,
} from "../core/events.ts";
import type { Path } from "../core/path.ts";
import type { Key } from "../pipeline/definition.ts";
import { SEGMENT_INPUT } from "../pipeline/plan.ts";
import { originIndex } from "./origins.ts";
import { columnsDoNotFit, pick, required, StepShape } from "./step-shape.ts";
import { partedRows, type StoredRows } from "./stored-rows.ts";

/**
 * Records that an upstream event has for one reader, in logical order, as columns. Sources are indexes into the
 * ordered names of the pipeline's sources.
 */
export interface UpstreamRows {
  readonly count: number;
  readonly ordinals: readonly number[];
  /** `undefined`: all have `source`. */
  readonly sources: readonly number[] | undefined;
  readonly source: number;
  readonly roots: readonly number[];
  readonly paths: readonly Path[] | undefined;
  readonly times: readonly (number | undefined)[] | undefined;
  readonly ns: readonly number[];
  readonly ks: readonly number[] | undefined;
  /** `undefined`: they are not kept with the records. */
  readonly keys: readonly Key[] | undefined;
  /** Index of each record among those of its block, of which those in transit come after those of the payload. */
  readonly stored: readonly number[] | undefined;
  /** The block: a stage, or {@link SEGMENT_INPUT}. */
  readonly block: number;
}

const NO_ROWS = {
  count: 0,
  ordinals: [],
  sources: undefined,
  source: 0,
  roots: [],
  paths: undefined,
  times: undefined,
  ns: [],
  ks: undefined,
  keys: undefined,
  stored: undefined,
  block: SEGMENT_INPUT,
} as const satisfies UpstreamRows;

/** What all readers of an event need of it is computed once. */
const sourceColumns = new WeakMap<RecordsAccepted, SourceColumns>();
const stepRows = new WeakMap<StepsRecorded, StepRows>();
/** Of a payload in one event, which is the usual case, the block that was asked for last. */
const blocks = new WeakMap<RecordsStored, { readonly stage: number; readonly block: StoredBlock }>();

interface SourceColumns {
  readonly ordinals: readonly number[];
  /** `undefined`: the rows themselves. */
  readonly stored: readonly number[] | undefined;
  readonly times: readonly number[] | undefined;
}

/** The records of a source's event that are for `partition`; all of them if it is `undefined`. */
export function decodeAccepted(
  event: RecordsAccepted,
  source: number,
  partition: number | undefined,
): UpstreamRows {
  if (event.count === 0) return NO_ROWS;
  let columns = sourceColumns.get(event);
  if (columns === undefined) {
    columns = {
      ordinals: decodeDeltas(required(event.ordinals), event.count),
      times: event.times === undefined ? undefined : decodeDeltas(event.times, event.count),
      stored: storedIndexes(event),
    };
    sourceColumns.set(event, columns);
  }
  const { ordinals, times, stored } = columns;
  const rows = sectionRows(event.sections, partition);
  if (rows?.length === 0) return NO_ROWS;
  const ns = rows?.map((row) => event.first + row) ?? Array.from(ordinals, (_, row) => event.first + row);
  return {
    count: ns.length,
    ordinals: pick(ordinals, rows),
    sources: undefined,
    source,
    roots: ns,
    paths: undefined,
    times: times === undefined ? undefined : pick(times, rows),
    ns,
    ks: undefined,
    keys: undefined,
    stored: stored === undefined ? rows : pick(stored, rows),
    block: SEGMENT_INPUT,
  };
}

/** Where the records that a source accepted are. */
export function acceptedRows({ captured, count }: Pick<RecordsAccepted, "captured" | "count">): StoredRows {
  return partedRows(captured, SEGMENT_INPUT, undefined, count);
}

function storedIndexes(event: RecordsAccepted): number[] | undefined {
  const { payload, transit } = acceptedRows(event);
  if (payload === undefined) return undefined;
  const indexes = new Array<number>(event.count);
  for (const [index, row] of [...payload, ...transit].entries()) indexes[row] = index;
  return indexes;
}

/** The rows of a section; `undefined`: all rows. */
function sectionRows(
  sections: readonly Section[] | undefined,
  partition: number | undefined,
): number[] | undefined {
  if (sections === undefined || partition === undefined) return undefined;
  const section = sections.find(([of]) => of === partition);
  return section === undefined ? [] : decodeDeltas(section[1]);
}

/** The outputs of a partition's event at one of its outlets that are for `partition`; all if it is `undefined`. */
export function decodeOutlet(
  event: StepsRecorded,
  outletIndex: number,
  sourceNames: readonly string[],
  partition: number | undefined,
): UpstreamRows {
  const outlet = event.outlets?.[outletIndex];
  if (event.count === 0 || outlet === undefined) return NO_ROWS;
  let steps = stepRows.get(event);
  if (steps === undefined) {
    steps = new StepRows(event, sourceNames);
    stepRows.set(event, steps);
  }
  const rows = sectionRows(outlet.sections, partition);
  return rows?.length === 0 ? NO_ROWS : steps.outlet(outletIndex, rows);
}

/**
 * The results of one of a segment's stages in a partition's event, in logical order: where their records are kept, if
 * `stored` is the stage that made them.
 */
export function decodeResults(
  event: StepsRecorded,
  stage: number,
  sourceNames: readonly string[],
  stored?: number,
): UpstreamRows {
  if (event.count === 0 || event.stages?.[stage] === undefined) return NO_ROWS;
  let steps = stepRows.get(event);
  if (steps === undefined) {
    steps = new StepRows(event, sourceNames);
    stepRows.set(event, steps);
  }
  return steps.results(stage, stored);
}

/** Some of the rows, in the order given; where their records are stays as it was. */
export function pickRows(all: UpstreamRows, rows: readonly number[]): UpstreamRows {
  const { sources, paths, times, ks, keys, stored } = all;
  return {
    ...all,
    count: rows.length,
    ordinals: pick(all.ordinals, rows),
    sources: sources && pick(sources, rows),
    roots: pick(all.roots, rows),
    paths: paths && pick(paths, rows),
    times: times && pick(times, rows),
    ns: pick(all.ns, rows),
    ks: ks && pick(ks, rows),
    keys: keys && pick(keys, rows),
    stored: stored === undefined ? rows : pick(stored, rows),
  };
}

/** The columns of a StepsRecorded event, decoded as far as they are asked for. */
class StepRows {
  readonly #event: StepsRecorded;
  readonly #shape: StepShape;
  readonly #ordinals: readonly number[];
  readonly #roots: readonly number[];
  readonly #sources: readonly number[] | undefined;
  readonly #source: number;
  readonly #times: readonly (number | undefined)[] | undefined;
  readonly #outlets = new Map<number, UpstreamRows>();

  constructor(event: StepsRecorded, sourceNames: readonly string[]) {
    const { count } = event;
    this.#event = event;
    this.#shape = new StepShape(event);
    this.#ordinals = decodeDeltas(required(event.ordinals), count);
    this.#roots = decodeDeltas(required(event.roots ?? event.parents), count);
    const known = (event.sources ?? []).map((name) => originIndex(sourceNames, name));
    this.#source = known[0] ?? 0;
    this.#sources =
      event.source === undefined ? undefined : decodeRuns(event.source, count).map((at) => known[at] ?? 0);
    this.#times = decodeTimes(event);
  }

  outlet(index: number, rows: readonly number[] | undefined): UpstreamRows {
    let all = this.#outlets.get(index);
    if (all === undefined) {
      all = this.#decodeOutlet(index);
      this.#outlets.set(index, all);
    }
    if (rows === undefined) return all;
    return pickRows(all, rows);
  }

  #decodeOutlet(index: number): UpstreamRows {
    const shape = this.#shape;
    const outlet = shape.outlets[index] as OutletColumns;
    const { count } = shape.stage(outlet.stage);
    return {
      ...this.#rowsOf(outlet.stage),
      ks: shape.outputNumbers(index),
      keys: outlet.keys === undefined ? undefined : decodeKeys(outlet.keys, count),
      stored: shape.storedIndexes(outlet),
      block: outlet.stored,
    };
  }

  results(stage: number, stored: number | undefined): UpstreamRows {
    const origin = this.#shape.origin(stage);
    let last = -1;
    let k = 0;
    const ks = origin?.map((input) => {
      k = input === last ? k + 1 : 0;
      last = input;
      return k;
    });
    const at = stored === undefined ? undefined : this.#shape.storedIndexes({ stage, stored });
    return { ...this.#rowsOf(stage), ks, keys: undefined, stored: at, block: stored ?? stage };
  }

  #rowsOf(stage: number): Omit<UpstreamRows, "ks" | "keys" | "stored" | "block"> {
    const event = this.#event;
    const shape = this.#shape;
    const origin = shape.origin(stage);
    const at = <T>(column: readonly T[]): readonly T[] => pick(column, origin);
    const hasPaths = event.paths !== undefined || shape.addsToPaths(stage);
    const { count } = shape.stage(stage);
    return {
      count,
      ordinals: at(this.#ordinals),
      sources: this.#sources && at(this.#sources),
      source: this.#source,
      roots: at(this.#roots),
      paths: hasPaths ? shape.paths(stage) : undefined,
      times: this.#times && at(this.#times),
      ns: Array.from({ length: count }, (_, row) => event.first + (origin?.[row] ?? row)),
    };
  }
}

function decodeKeys(bytes: Uint8Array, count: number): Key[] {
  const input = new ColumnReader(bytes);
  return Array.from({ length: count }, () => decodeCanonical(input.raw(input.uvarint())) as Key);
}

export function decodeTimes(event: StepsRecorded): readonly (number | undefined)[] | undefined {
  if (event.times === undefined) return undefined;
  const times: (number | undefined)[] = decodeDeltas(event.times, event.count);
  for (const row of event.timeless === undefined ? [] : decodeDeltas(event.timeless)) times[row] = undefined;
  return times;
}

/** One block: where each record's canonical bytes are. */
export interface StoredBlock {
  readonly buffers: readonly Uint8Array[];
  readonly starts: readonly number[];
  readonly ends: readonly number[];
}

/** The block of `stage` in the events of one payload, or of it and then of what is in transit. */
export function decodeBlock(events: readonly RecordsStored[], stage: number): StoredBlock {
  const [only] = events;
  if (only === undefined || events.length > 1) return decodeBlocks(events, stage);
  const known = blocks.get(only);
  if (known?.stage === stage) return known.block;
  const block = decodeBlocks(events, stage);
  blocks.set(only, { stage, block });
  return block;
}

function decodeBlocks(events: readonly RecordsStored[], stage: number): StoredBlock {
  const buffers: Uint8Array[] = [];
  const starts: number[] = [];
  const ends: number[] = [];
  for (const event of events) {
    for (const block of event.blocks) {
      if (block.stage !== stage) continue;
      let at = 0;
      for (const length of decodePlain(block.lengths)) {
        buffers.push(block.bytes);
        starts.push(at);
        at += length;
        ends.push(at);
      }
      if (at !== block.bytes.length) throw columnsDoNotFit();
    }
  }
  return { buffers, starts, ends };
}
