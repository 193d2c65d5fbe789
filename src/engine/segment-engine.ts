import type { Arena } from "../core/arena.ts";
import type { Cursors } from "../core/events.ts";
import { LIMITS } from "../core/limits.ts";
import { type Path, ROOT_PATH } from "../core/path.ts";
import { encodeWatermarks, lastWatermark, type WatermarkStep } from "../core/watermark.ts";
import { isTimed } from "../pipeline/definition.ts";
import { entryAt, type SegmentEntry } from "../pipeline/entry.ts";
import { NO_VALUES } from "../pipeline/parameters.ts";
import { makesRecords, type PlannedStage, recordsOf, SEGMENT_INPUT, type Segment } from "../pipeline/plan.ts";
import { RowContext, type StageScope } from "./context.ts";
import { badAnswer } from "./failures.ts";
import { runFunction } from "./function-runner.ts";
import { type OperatorInput, runKeyBy, runReduce, runSplit } from "./operators.ts";
import { type Origins, rootName } from "./origins.ts";
import { NO_OUTSIDE, type Outside } from "./outside.ts";
import { ReduceState } from "./reduce-state.ts";
import type { InputRows, RowsBuilder } from "./rows.ts";
import { StageEffects } from "./stage-effects.ts";
import { type Keeping, noStageRows, StageOutput, type StageRows, timedStageRows } from "./stage-output.ts";
import type { StateSnapshot } from "./state-snapshot.ts";
import { rowsInStored } from "./stored-rows.ts";
import { TimedHead } from "./timed-head.ts";
import type { TimedRows } from "./timed-output.ts";
import { Refusals, type RefusedInput, type StageWatch } from "./watch.ts";

export interface SegmentEngineOptions {
  readonly pipeline: string;
  readonly segment: Segment;
  readonly origins: Origins;
  readonly partitions: number;
  /** Shared by all engines of a thread: it is used only during `process`, up to where that waits. */
  readonly arena: Arena;
  /** Decodes canonical bytes. */
  readonly decode: (bytes: Uint8Array, start: number, end: number) => unknown;
  /** `off`: no digests are made. */
  readonly provenance: "full" | "off";
  /** Told where the engine is while functions of stages are called. */
  readonly watch?: StageWatch | undefined;
  /** Inputs at which a stage fails without being called. */
  readonly refused?: readonly RefusedInput[];
}

/** A batch under way. */
interface Batch {
  readonly rows: InputRows;
  /** N of its first input. */
  readonly first: number;
  /** Answer, or throw, the key of each input; empty if no stage needs keys. */
  readonly keys: readonly (() => unknown)[];
  /** What the window or join that the segment begins with made of it. */
  readonly timed: TimedRows | undefined;
  /** The segment, as it is for these inputs. */
  readonly segment: Segment;
  /** Of each stage whether anything comes to it; `undefined`: to all. */
  readonly reached: readonly boolean[] | undefined;
  /** The stage that may take the segment's inputs as they are: the first to read them. */
  readonly firstReader: number;
  readonly outside: Outside;
}

/** A stage that is run again over a batch, because it made too much of some rows. */
interface Again {
  readonly refused: ReadonlySet<number>;
  /** What its rows were given the first time. */
  readonly effects: StageEffects;
}

/** What a segment made of a batch: the rows of each of its stages. */
export interface SegmentResult {
  readonly stages: readonly StageRows[];
  /** Answers the key of each input; `undefined` where it is not known. Throws what its function threw. */
  keyOf(row: number): unknown;
  /** Which of the segment's inputs (edges into it) an input came in by. */
  edgeOf(row: number): number;
}

/**
 * Runs the stages of a segment over batches of one partition, stage by stage. Pure but for the state of its
 * reduces: the same batches in the same order, however they are cut, give the same rows.
 *
 * With provenance, every stage gets records of its own, decoded from the very bytes that were hashed: what one
 * stage does to an object is not seen by another, and running a stage from kept records gives the same.
 */
export class SegmentEngine {
  readonly #options: SegmentEngineOptions;
  readonly #states = new Map<number, ReduceState>();
  /** The window or join that the segment begins with: it takes records as they are merged. */
  readonly head: TimedHead | undefined;
  readonly #keeping: readonly Keeping[];
  /** See `Batch.firstReader`. */
  readonly #firstReader: number;
  readonly #entries = new Map<string, SegmentEntry>();
  readonly #refusals: Refusals;

  constructor(options: SegmentEngineOptions) {
    this.#options = options;
    this.#refusals = new Refusals(options.refused ?? []);
    const { segment, provenance } = options;
    const stored = new Set(segment.outlets.map((outlet) => outlet.stored));
    const full = provenance === "full";
    const read = new Set(full ? segment.stages.map((stage) => recordsOf(segment, stage.input)) : []);
    this.#keeping = segment.stages.map((_, stage) => {
      const all = segment.captures?.stages[stage]?.level === "all";
      const bytes = stored.has(stage) || read.has(stage) || all;
      return { own: makesRecords(segment, stage) && (bytes || full), digests: full, bytes };
    });
    this.#firstReader = segment.stages.findIndex((stage) => stage.input === SEGMENT_INPUT);
    for (const [stage, { definition }] of segment.stages.entries()) {
      if (definition.kind === "reduce") this.#states.set(stage, new ReduceState());
    }
    if (segment.timed !== undefined) {
      this.head = new TimedHead({
        pipeline: options.pipeline,
        stage: segment.timed,
        origins: options.origins,
        decode: options.decode,
        watch: options.watch,
        refusals: this.#refusals,
        keyOf: (rows, row) => this.#keyOf(rows, row),
        sideOf: (rows, row) => this.#upstreamOfStream(rows.upstreams[row] ?? 0),
      });
    }
  }

  /** Entries of all states together. */
  get stateEntries(): number {
    let entries = this.head?.size ?? 0;
    for (const state of this.#states.values()) entries += state.size;
    return entries;
  }

  /**
   * Runs one batch whose first input is N = `first`. Answers at once unless a stage's function is asynchronous, or is
   * tried again. Rejects with what `outside` cannot go on for.
   */
  process(
    rows: InputRows,
    first: number,
    outside: Outside = NO_OUTSIDE,
  ): SegmentResult | Promise<SegmentResult> {
    // Before any stage can have changed a record.
    const { segment } = this.#options;
    const keys = segment.keyed ? this.#keysOf(rows) : [];
    const timed = this.head?.finish();
    const firstReader = this.#firstReader;
    const batch = { rows, first, keys, timed, segment, reached: undefined, firstReader, outside };
    return this.#runFrom(0, batch, []);
  }

  /** What the segment is for inputs that come in at the stage `name`. */
  entryAt(name: string): SegmentEntry {
    let entry = this.#entries.get(name);
    if (entry === undefined) {
      entry = entryAt(this.#options.segment, name);
      this.#entries.set(name, entry);
    }
    return entry;
  }

  /**
   * {@link process}, of inputs that were put back from quarantine and come in at the stage `name`. A window or join at
   * the head takes them now. Where the segment has no such stage, they come in nowhere.
   */
  processAt(
    name: string,
    rows: RowsBuilder,
    first: number,
    outside: Outside = NO_OUTSIDE,
  ): SegmentResult | Promise<SegmentResult> {
    const { stage, segment, reached } = this.entryAt(name);
    // With other keys than the records had, they would be in the wrong partition.
    const keys = segment.keyed && stage !== undefined ? this.#keysOf(rows, stage) : [];
    const { head } = this;
    if (stage === 0) {
      head?.goOnAt(first);
      for (let row = 0; row < rows.count; row++) head?.take(rows, row);
    } else head?.goOnAt(first + rows.count);
    const timed = head?.finish();
    const batch = { rows, first, keys, timed, segment, reached, firstReader: stage ?? 0, outside };
    return this.#runFrom(0, batch, []);
  }

  /** The state as of after the last batch. Throws `NotCanonical` for a total that no record may hold. */
  snapshot(
    next: number,
    cursors: Cursors,
    through: number,
    watermark: WatermarkStep | undefined,
  ): StateSnapshot {
    const stages = [...this.#states].map(([stage, state]) => state.snapshot(this.#nameOf(stage)));
    return {
      v: 2,
      next,
      cursors,
      through,
      ...(watermark !== undefined && { watermark: encodeWatermarks([watermark]) }),
      stages: [...(this.head === undefined ? [] : [this.head.snapshot()]), ...stages],
    };
  }

  /** Takes over the state of the stages that still have the names they had. */
  restore(snapshot: StateSnapshot): void {
    const keptOf = (name: string) => snapshot.stages.find((other) => other.stage === name);
    for (const [stage, state] of this.#states) {
      const kept = keptOf(this.#nameOf(stage));
      if (kept !== undefined) state.restore(kept);
    }
    const kept = keptOf(this.#options.segment.timed?.name ?? "");
    if (kept !== undefined) this.head?.restore(kept, lastWatermark(snapshot.watermark)?.watermark);
  }

  #nameOf(stage: number): string {
    return this.#options.segment.stages[stage]?.definition.name ?? "";
  }

  #runFrom(stage: number, batch: Batch, done: StageRows[]): SegmentResult | Promise<SegmentResult> {
    try {
      for (let at = stage; at < batch.segment.stages.length; at++) {
        const output = this.#runStage(at, batch, done);
        if (output instanceof Promise) {
          return output.then((finished) => this.#runFrom(at + 1, batch, [...done, finished]));
        }
        done.push(output);
      }
    } finally {
      // Also while promises are waited for: others work then.
      this.#options.watch?.leave();
    }
    const { keys, rows } = batch;
    return {
      stages: done,
      keyOf: (row) => (keys.length > 0 ? keys[row]?.() : this.#keyOf(rows, row, this.#recordOf(rows, row))),
      edgeOf: (row) => this.#upstreamOfStream(rows.upstreams?.[row] ?? 0),
    };
  }

  #runStage(
    at: number,
    batch: Batch,
    done: readonly StageRows[],
    again?: Again,
  ): StageRows | Promise<StageRows> {
    const { arena, partitions, pipeline, origins } = this.#options;
    const planned = batch.segment.stages[at];
    const keeping = this.#keeping[at];
    if (planned === undefined || keeping === undefined) throw new Error(`no stage ${at}`);
    const { definition } = planned;
    const { rows, first, keys, timed } = batch;
    const inputs = planned.input === SEGMENT_INPUT ? inputsAsRows(rows) : (done[planned.input] as StageRows);
    if (batch.reached?.[at] === false) return noStageRows(planned, inputs, keeping);
    if (isTimed(definition)) return timedStageRows(planned, inputs, timed as TimedRows, keeping);
    const output = new StageOutput(planned, inputs, arena, keeping);
    const { origin } = inputs;
    const scope: StageScope = {
      pipeline,
      stage: definition.name,
      kind: definition.kind,
      origins,
      parameters: definition.parameters?.values ?? NO_VALUES,
      rows,
      pathOf: (row) => inputs.pathOf(row) + planned.branch,
    };
    const input: OperatorInput = {
      count: inputs.count,
      records: this.#recordsFor(at, batch, inputs, done, again),
      enter: this.#entering(at, definition.name, first, origin),
      contextOf: (row) => new RowContext(scope, origin?.[row] ?? row, row),
    };

    switch (definition.kind) {
      case "union":
        for (let row = 0; row < input.count; row++) output.one(input.records[row]);
        return output.finish();
      case "late": {
        const late = new Set(timed?.late);
        for (let row = 0; row < input.count; row++) {
          if (late.has(row)) output.one(this.#recordOf(rows, row));
          else output.none();
        }
        return output.finish();
      }
      case "select": {
        const { labels = [], label = [] } = inputs;
        const wanted = labels.indexOf(definition.label);
        for (let row = 0; row < input.count; row++) {
          if (label[row] === wanted) output.one(input.records[row]);
          else output.none();
        }
        return output.finish();
      }
      case "split":
        runSplit(definition, input, output);
        return output.finish();
      case "keyBy":
        runKeyBy(definition.fn, partitions, input, output);
        return output.finish();
      case "reduce": {
        const keyOf = (row: number) => keys[origin?.[row] ?? row]?.();
        const nOf = (row: number) => first + (origin?.[row] ?? row);
        runReduce(definition, this.#states.get(at) as ReduceState, { ...input, keyOf, nOf }, output);
        return output.finish();
      }
      case "map":
      case "filter":
      case "flatMap":
      case "route": {
        const effects = again?.effects ?? this.#effectsOf(batch, planned, inputs, scope);
        const waiting = { ...scope, effects };
        let decoder: ((row: number) => unknown) | undefined;
        const functionInput = {
          count: inputs.count,
          records: input.records,
          recordAgain: (row: number) => {
            decoder ??= this.#decoderFor(at, batch, inputs, done);
            return decoder(row);
          },
          refused: again?.refused,
          effects,
          enter: input.enter,
          leave: () => this.#options.watch?.leave(),
          contextOf: (row: number, before?: RowContext) =>
            new RowContext(waiting, origin?.[row] ?? row, row, before),
        };
        const finish = () => {
          const finished = output.finish();
          const refused = again === undefined ? rowsOverLimit(inputs, finished) : undefined;
          return refused === undefined ? finished : this.#runStage(at, batch, done, { refused, effects });
        };
        const running = runFunction(definition, functionInput, output);
        return running === undefined ? finish() : running.finally(() => effects.close()).then(finish);
      }
    }
  }

  #effectsOf(
    { rows, first, outside }: Batch,
    { input, branch }: PlannedStage,
    { origin }: StageRows,
    scope: StageScope,
  ): StageEffects {
    const { pipeline, stage, origins, pathOf } = scope;
    return new StageEffects({
      pipeline,
      stage,
      outside,
      numberOf: (row) => {
        const from = origin?.[row] ?? row;
        let k = 0;
        while (origin !== undefined && row > k && origin[row - k - 1] === from) k++;
        return { n: first + from, k, ordinal: rows.ordinals[from] as number };
      },
      placeOf: (row) => {
        const from = origin?.[row] ?? row;
        // What a record calls is known outside by the place that it had before it was put back.
        const before = input === SEGMENT_INPUT ? rows.before?.[from] : undefined;
        if (before !== undefined) return { root: before.root, path: before.path + branch };
        const root = rootName(pipeline, origins, rows.sources?.[from] ?? 0, rows.roots[from] as number);
        return { root, path: pathOf(row) };
      },
    });
  }

  /** What is done before a stage's functions are called for a row. */
  #entering(
    at: number,
    stage: string,
    first: number,
    origin: readonly number[] | undefined,
  ): (row: number) => void {
    const { watch } = this.#options;
    const refusals = this.#refusals;
    if (watch === undefined && refusals.size === 0) return () => {};
    return (row) => {
      const from = origin?.[row] ?? row;
      watch?.enter(at, first + from, row);
      if (refusals.size > 0) refusals.check(stage, first + from, () => placeAmongSiblings(origin, row));
    };
  }

  /** From now on a stage is not called at this input. */
  refuse(input: RefusedInput): void {
    this.#refusals.add(input);
  }

  /** The key of each input, or what its key function threw. */
  #keysOf(rows: InputRows, entry = 0): (() => unknown)[] {
    const { segment } = this.#options;
    // What comes in behind a map is not what the key was made of.
    const input = segment.stages[entry]?.input ?? SEGMENT_INPUT;
    const made = recordsOf(segment, input) !== SEGMENT_INPUT;
    return Array.from({ length: rows.count }, (_, row) => {
      try {
        if (made && rows.keys?.[row] === undefined) throw keyNotKept();
        const key = this.#keyOf(rows, row);
        return () => key;
      } catch (error) {
        return () => {
          throw error;
        };
      }
    });
  }

  #keyOf(rows: InputRows, row: number, record = rows.records[row]): unknown {
    const kept = rows.keys?.[row];
    if (kept !== undefined) return kept;
    const { key } = this.#options.segment.upstreams[this.#upstreamOfStream(rows.upstreams?.[row] ?? 0)] ?? {};
    return typeof key === "function" ? key(record) : undefined;
  }

  #recordsFor(
    at: number,
    batch: Batch,
    inputs: StageRows,
    done: readonly StageRows[],
    again: Again | undefined,
  ): readonly unknown[] {
    const { provenance } = this.#options;
    if (provenance === "off" || (at === batch.firstReader && again === undefined)) return inputs.records;
    // Few records come too late; they are decoded one by one.
    if (batch.segment.stages[at]?.definition.kind === "late") return [];
    const decoder = this.#decoderFor(at, batch, inputs, done);
    return Array.from({ length: inputs.count }, (_, row) => decoder(row));
  }

  /** Gives a stage's inputs as they came to it, each time as a new object, where their bytes are there. */
  #decoderFor(
    at: number,
    { rows, segment }: Batch,
    inputs: StageRows,
    done: readonly StageRows[],
  ): (row: number) => unknown {
    const { decode } = this.#options;
    const input = segment.stages[at]?.input ?? SEGMENT_INPUT;
    const owner = recordsOf(segment, input);
    const rowsThere = rowsInStored(
      { stage: input, stored: owner },
      (stage) => done[stage]?.parent,
      (stage) => segment.stages[stage]?.input ?? SEGMENT_INPUT,
    );
    if (owner === SEGMENT_INPUT) return (row) => this.#recordOf(rows, rowsThere?.[row] ?? row);
    const packed = done[owner]?.packed;
    if (packed === undefined) return (row) => inputs.records[row];
    const { bytes, lengths } = packed;
    const ends: number[] = [];
    let end = 0;
    for (const length of lengths) {
      end += length;
      ends.push(end);
    }
    return (row) => {
      const there = rowsThere?.[row] ?? row;
      return decode(bytes, (ends[there] as number) - (lengths[there] as number), ends[there] as number);
    };
  }

  /** A record of its own of an input. */
  #recordOf(rows: InputRows, row: number): unknown {
    const { decode, provenance } = this.#options;
    if (provenance === "off") return rows.records[row];
    return decode(rows.buffers[row] as Uint8Array, rows.starts[row] as number, rows.ends[row] as number);
  }

  /** Which upstream edge a stream belongs to: several streams come over one edge where it re-keys. */
  #upstreamOfStream(stream: number): number {
    const { segment, partitions } = this.#options;
    let from = 0;
    for (const [index, upstream] of segment.upstreams.entries()) {
      from += upstream.route === "sections" ? partitions : 1;
      if (stream < from) return index;
    }
    return 0;
  }
}

/** How many rows before this one come from the same input. */
function placeAmongSiblings(origin: readonly number[] | undefined, row: number): number {
  let place = 0;
  while (origin !== undefined && place < row && origin[row - place - 1] === origin[row]) place++;
  return place;
}

/** The segment's inputs in the form of a stage's rows. */
function inputsAsRows(rows: InputRows): StageRows {
  return {
    count: rows.count,
    records: rows.records,
    parent: undefined,
    origin: undefined,
    results: undefined,
    failures: [],
    packed: undefined,
    digests: undefined,
    partitions: undefined,
    previous: undefined,
    labels: undefined,
    label: undefined,
    timed: undefined,
    pathOf: (row): Path => rows.paths?.[row] ?? ROOT_PATH,
  };
}

/**
 * Input rows of a flatMap that descend from a segment's input of which too many came out in all, because of a
 * flatMap further up: all of them fail together. `undefined` if there are none.
 */
function rowsOverLimit(inputs: StageRows, outputs: StageRows): ReadonlySet<number> | undefined {
  const { origin } = inputs;
  if (origin === undefined || outputs.count <= LIMITS.outputsPerInput) return undefined;
  const totals = new Map<number, number>();
  for (const from of outputs.origin ?? []) totals.set(from, (totals.get(from) ?? 0) + 1);
  const rows = new Set<number>();
  for (const [row, from] of origin.entries()) {
    if ((totals.get(from) ?? 0) > LIMITS.outputsPerInput) rows.add(row);
  }
  return rows.size === 0 ? undefined : rows;
}

function keyNotKept(): Error {
  return badAnswer(
    "the record was put back without its key: it was not kept when the record was quarantined",
    "Take its source in once more with --again, where that is right.",
  );
}
