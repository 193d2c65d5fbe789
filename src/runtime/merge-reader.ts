import type { Cursors } from "../core/events.ts";
import { THROUGH_NOTHING } from "../core/ordinal.ts";
import type { Path } from "../core/path.ts";
import { type InputRows, RowsBuilder } from "../engine/rows.ts";
import type { Clock } from "../ports/clock.ts";
import type { EventLog } from "../ports/event-log.ts";
import { type UpstreamChunk, UpstreamReader, type UpstreamSelection } from "./upstream-reader.ts";

/** Decodes the canonical bytes of a record. */
export type DecodeRecord = (bytes: Uint8Array, start: number, end: number) => unknown;

export interface MergeReaderOptions {
  readonly log: EventLog;
  readonly clock: Clock;
  readonly upstreams: readonly UpstreamSelection[];
  readonly cursors: Cursors;
  /** Records are decoded with it; absent where only their places are wanted. */
  readonly decode?: DecodeRecord;
  /** How long to wait for records before saying only that `through` has risen, in milliseconds. */
  readonly tickMs: number;
  readonly through: number;
}

/** Records in logical order, and how far the upstream streams are taken with them. */
export interface MergedBatch {
  readonly rows: InputRows;
  readonly cursors: Cursors;
  readonly through: number;
}

/**
 * Merges upstream streams by (ordinal, source, path). A record is given out only when no stream can have an
 * earlier one any more, so the order does not depend on how the streams progress.
 */
export class MergeReader {
  readonly #options: MergeReaderOptions;
  readonly #readers: readonly UpstreamReader[];
  #wake: (() => void) | undefined;
  #awake = false;
  #through: number;

  constructor(options: MergeReaderOptions) {
    this.#options = options;
    this.#through = options.through;
    this.#readers = options.upstreams.map(
      (selection) =>
        new UpstreamReader(options.log, selection, options.cursors[selection.stream] ?? 0, () =>
          this.#changed(),
        ),
    );
    for (const reader of this.#readers) reader.start();
  }

  stop(): void {
    for (const reader of this.#readers) reader.stop();
    this.#changed();
  }

  /**
   * Its owner has promised this `through`, and nothing more, whatever was read by now: {@link next} does not fall
   * behind it, and says what goes beyond it.
   */
  goOnFrom(through: number): void {
    this.#through = through;
  }

  /**
   * The next records, about `most` of them: records of one ordinal and source are never parted, so that cursors
   * are whole records of the upstream streams. Without records (`rows.count` 0) when `through` has risen and no
   * record came for a tick, or after `patienceMs`. `undefined` when `signal` aborts.
   */
  async next(most: number, signal: AbortSignal, patienceMs?: number): Promise<MergedBatch | undefined> {
    const { clock, tickMs } = this.#options;
    const begun = clock.monotonic();
    const wake = () => this.#changed();
    signal.addEventListener("abort", wake);
    try {
      let risenAt: number | undefined;
      for (;;) {
        if (signal.aborted) return undefined;
        this.#awake = false;
        const rows = this.#take(most);
        const through = this.#completeUpTo();
        const now = clock.monotonic();
        if (risenAt === undefined && through > this.#through) risenAt = now;
        const untilTick = risenAt === undefined ? Number.POSITIVE_INFINITY : risenAt + tickMs - now;
        const untilPatience = patienceMs === undefined ? Number.POSITIVE_INFINITY : begun + patienceMs - now;
        const wait = Math.min(untilTick, untilPatience);
        if (rows.count > 0 || wait <= 0) {
          this.#through = Math.max(this.#through, through);
          return { rows, cursors: this.#cursors(), through: this.#through };
        }
        await this.#wait(wait);
      }
    } finally {
      signal.removeEventListener("abort", wake);
    }
  }

  /** Until something changes, or for `ms`. */
  #wait(ms: number): Promise<void> {
    if (this.#awake) return Promise.resolve();
    return new Promise((resolve) => {
      const cancel = Number.isFinite(ms)
        ? this.#options.clock.setTimeout(() => this.#changed(), ms)
        : undefined;
      this.#wake = () => {
        cancel?.();
        resolve();
      };
    });
  }

  #changed(): void {
    this.#awake = true;
    const wake = this.#wake;
    this.#wake = undefined;
    wake?.();
  }

  #cursors(): Cursors {
    return Object.fromEntries(this.#readers.map((reader) => [reader.selection.stream, reader.cursor]));
  }

  /** No record at or below this ordinal will be given out any more. */
  #completeUpTo(): number {
    let through = Number.MAX_SAFE_INTEGER;
    for (const reader of this.#readers) {
      const { head } = reader;
      const complete = head === undefined ? reader.through : (head.chunk.ordinals[head.row] as number) - 1;
      through = Math.min(through, complete);
    }
    return this.#readers.length === 0 ? THROUGH_NOTHING : through;
  }

  #take(most: number): InputRows {
    const [only] = this.#readers;
    if (this.#readers.length === 1 && only !== undefined) {
      const { head } = only;
      // The usual case: one upstream, and a chunk of it that fits. Its columns are taken as they are.
      if (head !== undefined && head.row === 0 && head.chunk.count <= most) {
        only.take(head.chunk.count);
        return this.#wholeChunk(head.chunk);
      }
    }
    const rows = new RowsBuilder();
    for (;;) {
      const next = this.#earliest();
      if (next === undefined) break;
      const { reader, chunk, row, index } = next;
      const full = rows.count >= most;
      if (full && !sameGroup(rows, chunk, row)) break;
      this.#push(rows, chunk, row, index);
      reader.take(1);
    }
    return this.#finish(rows);
  }

  /** The record that is next in logical order, if it is certain that none comes before it. */
  #earliest(): { reader: UpstreamReader; chunk: UpstreamChunk; row: number; index: number } | undefined {
    let best: { reader: UpstreamReader; chunk: UpstreamChunk; row: number; index: number } | undefined;
    let silent = Number.MAX_SAFE_INTEGER;
    for (const [index, reader] of this.#readers.entries()) {
      const { head } = reader;
      if (head === undefined) silent = Math.min(silent, reader.through);
      else if (best === undefined || isBefore(head.chunk, head.row, best.chunk, best.row)) {
        best = { reader, ...head, index };
      }
    }
    return best !== undefined && (best.chunk.ordinals[best.row] as number) <= silent ? best : undefined;
  }

  #wholeChunk(chunk: UpstreamChunk): InputRows {
    const { decode } = this.#options;
    const { buffers, starts, ends } = chunk;
    const records: unknown[] = [];
    if (decode !== undefined) {
      for (let row = 0; row < chunk.count; row++) {
        records.push(decode(buffers[row] as Uint8Array, starts[row] as number, ends[row] as number));
      }
    }
    return {
      count: chunk.count,
      records,
      buffers,
      starts,
      ends,
      ordinals: chunk.ordinals,
      sources: chunk.sources ?? constant(chunk.source, chunk.count),
      roots: chunk.roots,
      paths: chunk.paths,
      times: chunk.times,
      upstreams: undefined,
      parents: chunk.ns,
      parentKs: chunk.ks,
    };
  }

  #push(rows: RowsBuilder, chunk: UpstreamChunk, row: number, upstream: number): void {
    const { decode } = this.#options;
    if (decode !== undefined) {
      const buffer = chunk.buffers[row] as Uint8Array;
      const start = chunk.starts[row] as number;
      const end = chunk.ends[row] as number;
      rows.records.push(decode(buffer, start, end));
      rows.buffers.push(buffer);
      rows.starts.push(start);
      rows.ends.push(end);
    }
    rows.ordinals.push(chunk.ordinals[row] as number);
    rows.sources.push(chunk.sources?.[row] ?? chunk.source);
    rows.roots.push(chunk.roots[row] as number);
    rows.paths.push(chunk.paths?.[row] ?? "");
    rows.times.push(chunk.times?.[row]);
    rows.upstreams.push(upstream);
    rows.parents.push(chunk.ns[row] as number);
    rows.parentKs.push(chunk.ks?.[row] ?? 0);
  }

  #finish(rows: RowsBuilder): InputRows {
    return this.#readers.length > 1 ? rows : { ...rows, count: rows.count, upstreams: undefined };
  }
}

function sameGroup(rows: RowsBuilder, chunk: UpstreamChunk, row: number): boolean {
  const last = rows.count - 1;
  return (
    rows.ordinals[last] === chunk.ordinals[row] &&
    rows.sources[last] === (chunk.sources?.[row] ?? chunk.source)
  );
}

function isBefore(a: UpstreamChunk, rowA: number, b: UpstreamChunk, rowB: number): boolean {
  const byOrdinal = (a.ordinals[rowA] as number) - (b.ordinals[rowB] as number);
  if (byOrdinal !== 0) return byOrdinal < 0;
  const bySource = (a.sources?.[rowA] ?? a.source) - (b.sources?.[rowB] ?? b.source);
  if (bySource !== 0) return bySource < 0;
  const pathA: Path = a.paths?.[rowA] ?? "";
  const pathB: Path = b.paths?.[rowB] ?? "";
  return pathA < pathB;
}

function constant(value: number, count: number): readonly number[] | undefined {
  return value === 0 ? undefined : new Array<number>(count).fill(value);
}
