import { Arena } from "../core/arena.ts";
import { LIMITS } from "../core/limits.ts";
import { indexElement, type Path, ROOT_PATH } from "../core/path.ts";
import { addsIndex, type PlannedStage } from "../pipeline/plan.ts";
import { badAnswer, type StageFailure } from "./failures.ts";
import { NO_BYTES } from "./rows.ts";
import { composeRows } from "./stored-rows.ts";
import type { TimedRows } from "./timed-output.ts";

/** Canonical bytes of many records, one after the other. */
export interface Packed {
  readonly bytes: Uint8Array;
  /** Of each record, in order. */
  readonly lengths: readonly number[];
}

/** What leaves a stage for one batch. Also stands for the segment's own inputs. */
export interface StageRows {
  readonly count: number;
  readonly records: readonly unknown[];
  /** Row of the stage ahead that each row comes from; `undefined`: the same row. */
  readonly parent: readonly number[] | undefined;
  /** Row of the segment's inputs that each row comes from; `undefined`: the same row. */
  readonly origin: readonly number[] | undefined;
  /** How many rows each input row gave; `undefined`: each one. */
  readonly results: readonly number[] | undefined;
  readonly failures: readonly StageFailure[];
  /** Present where the stage makes records of its own and somebody needs their bytes. */
  readonly packed: Packed | undefined;
  /** 32 bytes a row; present where the stage makes records of its own. */
  readonly digests: Uint8Array | undefined;
  /** At a keyBy: the partition of each row. */
  readonly partitions: readonly number[] | undefined;
  /** At a reduce: see `previous` in docs/format.md. */
  readonly previous: readonly number[] | undefined;
  /** At a split or route: the labels of its outputs, and the index of each row's. */
  readonly labels: readonly string[] | undefined;
  readonly label: readonly number[] | undefined;
  /** At a window or join. */
  readonly timed: TimedRows | undefined;
  /** Path of a row. */
  pathOf(row: number): Path;
}

/** How the rows of a stage are kept. */
export interface Keeping {
  /** Rows are records of the stage's own, so they are packed into the arena. */
  readonly own: boolean;
  readonly digests: boolean;
  readonly bytes: boolean;
}

/** Collects what a stage makes of its inputs, row by row and in their order. */
export class StageOutput {
  readonly #stage: PlannedStage;
  readonly #inputs: StageRows;
  #arena: Arena;
  readonly #keeping: Keeping;
  readonly #records: unknown[] = [];
  readonly #parent: number[] = [];
  readonly #results: number[] = [];
  readonly #failures: StageFailure[] = [];
  readonly #previous: number[] = [];
  readonly #partitions: number[] = [];
  readonly #label: number[] = [];
  #oneEach = true;

  constructor(stage: PlannedStage, inputs: StageRows, arena: Arena, keeping: Keeping) {
    this.#stage = stage;
    this.#inputs = inputs;
    this.#arena = arena;
    this.#keeping = keeping;
    arena.reset();
  }

  /** Throws `NotCanonical` or `RecordTooLarge` for a value that cannot be kept. */
  check(value: unknown): void {
    const packed = this.#arena.count;
    this.#arena.append(value);
    this.#arena.truncate(packed);
  }

  /** Goes on with an arena of its own: what was packed so far is kept. */
  leaveArena(): void {
    const own = new Arena();
    for (let row = 0; row < this.#arena.count; row++) own.appendBytes(this.#arena.bytes(row));
    this.#arena = own;
  }

  /** The next input gave one record. */
  one(record: unknown): void {
    if (this.#keeping.own) {
      try {
        this.#arena.append(record);
      } catch (error) {
        this.fail(error);
        return;
      }
    }
    this.#parent.push(this.#results.length);
    this.#results.push(1);
    this.#records.push(record);
  }

  /** The next input gave these records, or none of them if one is no record. */
  many(records: readonly unknown[]): void {
    const packedBefore = this.#arena.count;
    try {
      const begun = this.#arena.end(packedBefore - 1);
      for (const record of records) {
        this.#arena.append(record);
        if (this.#arena.end(this.#arena.count - 1) - begun > LIMITS.outputBytesPerInput) {
          throw badAnswer(
            `more than ${LIMITS.outputBytesPerInput} bytes of records came out of one`,
            "Fan out in two segments, with a keyBy between them.",
          );
        }
      }
    } catch (error) {
      this.#arena.truncate(packedBefore);
      this.fail(error);
      return;
    }
    const row = this.#results.length;
    for (const record of records) {
      this.#parent.push(row);
      this.#records.push(record);
    }
    if (records.length !== 1) this.#oneEach = false;
    this.#results.push(records.length);
  }

  /** The next input gave nothing. */
  none(): void {
    this.#oneEach = false;
    this.#results.push(0);
  }

  /** The stage failed at the next input; `attempts` is how often its function was called, if that is to be told. */
  fail(error: unknown, attempts?: number): void {
    const row = this.#results.length;
    this.#failures.push({ row, error, ...(attempts !== undefined && { attempts }) });
    this.none();
  }

  /** {@link one}, and the partition that the record goes to. */
  oneTo(record: unknown, partition: number): void {
    this.one(record);
    this.#partitions.push(partition);
  }

  /** {@link one}, to the output with this label. */
  oneLabelled(record: unknown, label: number): void {
    this.one(record);
    this.#label.push(label);
  }

  /** {@link many}, each to the output with its label. */
  manyLabelled(records: readonly unknown[], labels: readonly number[]): void {
    const before = this.#records.length;
    this.many(records);
    if (this.#records.length > before) for (const label of labels) this.#label.push(label);
  }

  /** {@link one} of a reduce; answers whether the record was taken. */
  oneAfter(record: unknown, previous: number): boolean {
    const before = this.#records.length;
    this.one(record);
    if (this.#records.length === before) return false;
    this.#previous.push(previous);
    return true;
  }

  #labels(): Pick<StageRows, "labels" | "label"> {
    const { definition } = this.#stage;
    const labelled = definition.kind === "split" || definition.kind === "route";
    return labelled
      ? { labels: definition.labels, label: this.#label }
      : { labels: undefined, label: undefined };
  }

  finish(): StageRows {
    const inputs = this.#inputs;
    const { own, digests, bytes } = this.#keeping;
    const parent = this.#oneEach ? undefined : this.#parent;
    return {
      count: this.#records.length,
      records: this.#records,
      parent,
      origin: composeRows(parent, inputs.origin),
      results: this.#oneEach ? undefined : this.#results,
      failures: this.#failures,
      packed: own && bytes ? packedOf(this.#arena) : undefined,
      digests: own && digests ? this.#arena.digests() : undefined,
      partitions: this.#stage.definition.kind === "keyBy" ? this.#partitions : undefined,
      previous: this.#stage.definition.kind === "reduce" ? this.#previous : undefined,
      ...this.#labels(),
      timed: undefined,
      pathOf: pathsOf(this.#stage, inputs, parent),
    };
  }
}

/** The rows of the window or join that a segment begins with. */
export function timedStageRows(
  stage: PlannedStage,
  inputs: StageRows,
  timed: TimedRows,
  { own, bytes, digests }: Keeping,
): StageRows {
  const parent = timed.results.flatMap((count, row) => new Array<number>(count).fill(row));
  return {
    count: timed.records.length,
    records: timed.records,
    parent,
    origin: parent,
    results: timed.results,
    failures: timed.failures,
    packed: own && bytes ? packedOf(timed.arena) : undefined,
    digests: own && digests ? timed.arena.digests() : undefined,
    partitions: undefined,
    previous: undefined,
    labels: undefined,
    label: undefined,
    timed,
    pathOf: pathsOf(stage, inputs, parent),
  };
}

/** The rows of a stage to which nothing comes. */
export function noStageRows(
  { definition }: PlannedStage,
  inputs: StageRows,
  { own, bytes, digests }: Keeping,
): StageRows {
  const none = inputs.count === 0 ? undefined : [];
  const labelled = definition.kind === "split" || definition.kind === "route";
  return {
    count: 0,
    records: [],
    parent: none,
    origin: [],
    results: none && new Array<number>(inputs.count).fill(0),
    failures: [],
    packed: own && bytes ? { bytes: NO_BYTES, lengths: [] } : undefined,
    digests: own && digests ? NO_BYTES : undefined,
    partitions: definition.kind === "keyBy" ? [] : undefined,
    previous: definition.kind === "reduce" ? [] : undefined,
    labels: labelled ? definition.labels : undefined,
    label: labelled ? [] : undefined,
    timed: undefined,
    pathOf: () => ROOT_PATH,
  };
}

function packedOf(arena: Arena): Packed {
  const lengths: number[] = [];
  for (let row = 0; row < arena.count; row++) lengths.push(arena.end(row) - arena.start(row));
  return { bytes: arena.all().slice(), lengths };
}

function pathsOf(
  stage: PlannedStage,
  inputs: StageRows,
  parent: readonly number[] | undefined,
): (row: number) => Path {
  if (!addsIndex(stage.definition)) {
    if (stage.branch === "") return (row) => inputs.pathOf(parent?.[row] ?? row);
    return (row) => inputs.pathOf(parent?.[row] ?? row) + stage.branch;
  }
  return (row) => {
    const input = parent?.[row] ?? row;
    let index = 0;
    while (parent !== undefined && row - index > 0 && parent[row - index - 1] === input) index++;
    return inputs.pathOf(input) + stage.branch + indexElement(index);
  };
}
