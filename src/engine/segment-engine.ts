import type { Arena } from "../core/arena.ts";
import type { Cursors } from "../core/events.ts";
import { LIMITS } from "../core/limits.ts";
import { type Path, ROOT_PATH } from "../core/path.ts";
import { SEGMENT_INPUT, type Segment } from "../pipeline/plan.ts";
import { RowContext, type StageScope } from "./context.ts";
import { callFunction, type OperatorInput, runKeyBy, runReduce, takeAnswers } from "./operators.ts";
import { ReduceState, type StateSnapshot } from "./reduce-state.ts";
import type { InputRows } from "./rows.ts";
import { type Keeping, StageOutput, type StageRows } from "./stage-output.ts";

export interface SegmentEngineOptions {
  readonly pipeline: string;
  readonly segment: Segment;
  /** Names of the pipeline's sources, ordered. */
  readonly sources: readonly string[];
  readonly partitions: number;
  /** Shared by all engines of a thread: it is used only during `process`, up to where that waits. */
  readonly arena: Arena;
  /** `off`: no digests are made. */
  readonly provenance: "full" | "off";
}

/** What a segment made of a batch: the rows of each of its stages. */
export interface SegmentResult {
  readonly stages: readonly StageRows[];
}

/**
 * Runs the stages of a segment over batches of one partition, stage by stage. Pure but for the state of its
 * reduces: the same batches in the same order, however they are cut, give the same rows.
 */
export class SegmentEngine {
  readonly #options: SegmentEngineOptions;
  readonly #states = new Map<number, ReduceState>();
  readonly #keeping: readonly Keeping[];

  constructor(options: SegmentEngineOptions) {
    this.#options = options;
    const { segment, provenance } = options;
    const stored = new Set(segment.outlets.map((outlet) => outlet.stored));
    this.#keeping = segment.stages.map(({ definition: { kind } }, stage) => {
      const own = kind === "map" || kind === "flatMap" || kind === "reduce";
      const bytes = stored.has(stage);
      return { own: own && (bytes || provenance === "full"), digests: provenance === "full", bytes };
    });
    for (const [stage, { definition }] of segment.stages.entries()) {
      if (definition.kind === "reduce") this.#states.set(stage, new ReduceState());
    }
  }

  /** Entries of all states together. */
  get stateEntries(): number {
    let entries = 0;
    for (const state of this.#states.values()) entries += state.size;
    return entries;
  }

  /** Runs one batch whose first input is N = `first`. Answers at once unless a stage's function is asynchronous. */
  process(rows: InputRows, first: number): SegmentResult | Promise<SegmentResult> {
    return this.#runFrom(0, rows, first, []);
  }

  /** The state as of after the last batch. Throws `NotCanonical` for a total that no record may hold. */
  snapshot(next: number, cursors: Cursors, through: number): StateSnapshot {
    const stages = [...this.#states].map(([stage, state]) => state.snapshot(this.#nameOf(stage)));
    return { v: 1, next, cursors, through, stages };
  }

  /** Takes over the state of the stages that still have the names they had. */
  restore(snapshot: StateSnapshot): void {
    for (const [stage, state] of this.#states) {
      const kept = snapshot.stages.find((other) => other.stage === this.#nameOf(stage));
      if (kept !== undefined) state.restore(kept);
    }
  }

  #nameOf(stage: number): string {
    return this.#options.segment.stages[stage]?.definition.name ?? "";
  }

  #runFrom(
    stage: number,
    rows: InputRows,
    first: number,
    done: StageRows[],
  ): SegmentResult | Promise<SegmentResult> {
    for (let at = stage; at < this.#options.segment.stages.length; at++) {
      const output = this.#runStage(at, rows, first, done);
      if (output instanceof Promise) {
        return output.then((finished) => this.#runFrom(at + 1, rows, first, [...done, finished]));
      }
      done.push(output);
    }
    return { stages: done };
  }

  #runStage(
    at: number,
    rows: InputRows,
    first: number,
    done: readonly StageRows[],
    refused?: ReadonlySet<number>,
  ): StageRows | Promise<StageRows> {
    const { segment, arena, partitions, pipeline, sources } = this.#options;
    const planned = segment.stages[at];
    const keeping = this.#keeping[at];
    if (planned === undefined || keeping === undefined) throw new Error(`no stage ${at}`);
    const { definition } = planned;
    const inputs = planned.input === SEGMENT_INPUT ? inputsAsRows(rows) : (done[planned.input] as StageRows);
    // Made only when the stage's functions have answered: while they are waited for, others use the arena.
    const newOutput = () => new StageOutput(planned, inputs, arena, keeping);
    const { origin } = inputs;
    const scope: StageScope = {
      pipeline,
      stage: definition.name,
      sources,
      rows,
      pathOf: (row) => inputs.pathOf(row) + planned.branch,
    };
    const input: OperatorInput = {
      count: inputs.count,
      records: inputs.records,
      refused,
      contextOf: (row) => new RowContext(scope, origin?.[row] ?? row, row),
    };

    switch (definition.kind) {
      case "union": {
        const output = newOutput();
        for (let row = 0; row < inputs.count; row++) output.one(inputs.records[row]);
        return output.finish();
      }
      case "keyBy": {
        const output = newOutput();
        runKeyBy(definition.fn, partitions, input, output);
        return output.finish();
      }
      case "reduce": {
        const output = newOutput();
        const state = this.#states.get(at) as ReduceState;
        const { upstreams } = segment;
        const keyOf = (row: number) => {
          const from = origin?.[row] ?? row;
          const upstream = this.#upstreamOfStream(rows.upstreams?.[from] ?? 0);
          return upstreams[upstream]?.key?.(rows.records[from]);
        };
        runReduce(
          definition,
          state,
          { ...input, keyOf, nOf: (row) => first + (origin?.[row] ?? row) },
          output,
        );
        return output.finish();
      }
      case "map":
      case "filter":
      case "flatMap":
        return whenDone(callFunction(definition, input), (answers) => {
          const output = newOutput();
          takeAnswers(definition.kind, answers, inputs.records, output);
          const finished = output.finish();
          const tooMany = refused === undefined ? rowsOverLimit(inputs, finished) : undefined;
          return tooMany === undefined ? finished : this.#runStage(at, rows, first, done, tooMany);
        });
    }
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

function whenDone<A, T>(waiting: A | Promise<A>, then: (value: A) => T | Promise<T>): T | Promise<T> {
  return waiting instanceof Promise ? waiting.then(then) : then(waiting);
}
