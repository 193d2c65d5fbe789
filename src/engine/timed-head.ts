import { branchElement, numberElement } from "../core/path.ts";
import type { Watermark } from "../core/watermark.ts";
import type { Key, TimedDefinition } from "../pipeline/definition.ts";
import { NO_VALUES } from "../pipeline/parameters.ts";
import { RowContext, type StageScope } from "./context.ts";
import { JoinOperator } from "./join-operator.ts";
import { checkKey } from "./operators.ts";
import { type Origins, originName } from "./origins.ts";
import { NO_BYTES, type RowsBuilder } from "./rows.ts";
import type { StageSnapshot } from "./state-snapshot.ts";
import { TableJoinOperator } from "./table-join-operator.ts";
import type { DecodeBytes, TimedOperator } from "./timed-operator.ts";
import { TimedOutput, type TimedRows } from "./timed-output.ts";
import type { Refusals, StageWatch } from "./watch.ts";
import { WindowOperator } from "./window-operator.ts";

export interface TimedHeadOptions {
  readonly pipeline: string;
  readonly stage: TimedDefinition;
  readonly origins: Origins;
  readonly decode: DecodeBytes;
  readonly watch?: StageWatch | undefined;
  readonly refusals: Refusals;
  /** The key of a row, and which of the stage's inputs it comes from. May throw. */
  keyOf(rows: RowsBuilder, row: number): unknown;
  sideOf(rows: RowsBuilder, row: number): number;
}

/**
 * The window or join that a segment begins with. It works while its inputs are being merged, because its firings are
 * inputs of the segment in their own right, each with its N and its place among the records.
 */
export class TimedHead {
  readonly #options: TimedHeadOptions;
  readonly #operator: TimedOperator;
  readonly #origin: number;
  #output: TimedOutput;
  #next = 0;
  /** The rows being built, and what the contexts of their records have in common. */
  #scope: StageScope | undefined;

  constructor(options: TimedHeadOptions) {
    this.#options = options;
    this.#output = this.#newOutput();
    const { stage, decode } = options;
    if (stage.kind === "window") this.#operator = new WindowOperator(stage);
    else if (stage.kind === "join") this.#operator = new JoinOperator(stage, decode);
    else this.#operator = new TableJoinOperator(stage, decode);
    this.#origin = options.origins.names.indexOf(stage.name);
  }

  /** Entries of its state. */
  get size(): number {
    return this.#operator.size;
  }

  /** Whether so much has come out that the batch should be closed. */
  get full(): boolean {
    return this.#output.full;
  }

  /** The N of the input that comes next. */
  goOnAt(next: number): void {
    this.#next = next;
  }

  /** Takes in a row of `rows`: the last one, unless another is named. */
  take(rows: RowsBuilder, row = rows.count - 1): void {
    try {
      this.#take(rows, row);
    } finally {
      this.#options.watch?.leaveHead();
    }
  }

  #take(rows: RowsBuilder, row: number): void {
    const n = this.#next++;
    let key: Key;
    try {
      this.#enter(n);
      key = checkKey(this.#options.keyOf(rows, row));
    } catch (error) {
      this.#output.fail(error);
      return;
    }
    rows.keys[row] = key;
    const bytes = (rows.buffers[row] as Uint8Array).subarray(rows.starts[row], rows.ends[row]);
    this.#operator.take(
      {
        record: rows.records[row],
        bytes,
        key,
        time: rows.times[row],
        n,
        side: this.#options.sideOf(rows, row),
        place: this.#options.stage.kind === "window" ? "" : this.#placeOf(rows, row),
        ctx: new RowContext(this.#scopeOf(rows), row, row),
      },
      this.#output,
    );
  }

  advance(watermark: Watermark): void {
    this.#operator.advance(watermark);
  }

  /** Adds the next firing that is due at `ordinal` to `rows`; answers whether there was one. */
  fire(rows: RowsBuilder, ordinal: number): boolean {
    const firing = this.#operator.fire(this.#output);
    this.#options.watch?.leaveHead();
    if (firing === undefined) return false;
    this.#next++;
    rows.firings.push(rows.count);
    rows.records.push(undefined);
    rows.buffers.push(NO_BYTES);
    rows.starts.push(0);
    rows.ends.push(0);
    rows.sources.push(this.#origin);
    rows.roots.push(ordinal);
    rows.paths.push(firing.path);
    rows.times.push(firing.time);
    // Nothing upstream is the parent; what stands before costs least in the columns.
    rows.upstreams.push(rows.upstreams.at(-1) ?? 0);
    rows.parents.push(rows.parents.at(-1) ?? 0);
    rows.parentKs.push(0);
    rows.keys.push(firing.key);
    rows.ordinals.push(ordinal);
    return true;
  }

  /** What came out since the last call. */
  finish(): TimedRows {
    const output = this.#output;
    this.#output = this.#newOutput();
    return output;
  }

  #newOutput(): TimedOutput {
    // A firing takes the next N, after it was made.
    return new TimedOutput(() => this.#enter(this.#next));
  }

  #enter(n: number): void {
    const { watch, refusals, stage } = this.#options;
    watch?.enterHead(n);
    refusals.check(stage.name, n, () => 0);
  }

  snapshot(): StageSnapshot {
    return this.#operator.snapshot(this.#options.stage.name);
  }

  restore(snapshot: StageSnapshot, watermark: Watermark | undefined): void {
    this.#operator.restore(snapshot, watermark);
  }

  #scopeOf(rows: RowsBuilder): StageScope {
    if (this.#scope?.rows !== rows) {
      const { pipeline, stage, origins } = this.#options;
      this.#scope = {
        pipeline,
        stage: stage.name,
        kind: stage.kind === "window" ? "window" : "join",
        parameters: NO_VALUES,
        origins,
        rows,
        pathOf: (row) => rows.paths[row] as string,
      };
    }
    return this.#scope;
  }

  /** What orders a record among all: ordinal, origin and path. */
  #placeOf(rows: RowsBuilder, row: number): string {
    const origin = branchElement(originName(this.#options.origins, rows.sources[row] as number));
    return numberElement(rows.ordinals[row] as number) + origin + (rows.paths[row] as string);
  }
}
