import { HeadwaterError } from "../core/errors.ts";
import { type Cursors, TAKEN_OF_GROUP } from "../core/events.ts";
import { LIMITS } from "../core/limits.ts";
import { THROUGH_NOTHING } from "../core/ordinal.ts";
import type { Path } from "../core/path.ts";
import type { WatermarkStep } from "../core/watermark.ts";
import { type InputRows, RowsBuilder } from "../engine/rows.ts";
import type { TimedHead } from "../engine/timed-head.ts";
import type { Clock } from "../ports/clock.ts";
import type { EventLog } from "../ports/event-log.ts";
import type { Pace } from "./pace.ts";
import {
  areAlike,
  bytesOf,
  joinChunks,
  type UpstreamChunk,
  UpstreamReader,
  type UpstreamSelection,
} from "./upstream-reader.ts";
import { WatermarkMerge } from "./watermark-merge.ts";

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
  /** Everything up to this ordinal has been taken. */
  readonly through: number;
  /** The last step of the watermark that was worked off; `undefined` if there was none. */
  readonly watermark?: WatermarkStep | undefined;
  /** Takes part in the merging: its firings stand among the records. */
  readonly head?: TimedHead | undefined;
  /**
   * Nothing beyond this ordinal is given out, and what the log holds up to it is all that is waited for: `through`
   * comes to it when that has been given out. Absent: whatever comes.
   */
  readonly upTo?: number;
  /** How many of the origins are windows and joins: see `Plan.firingOrigins`. */
  readonly firingOrigins: number;
  /** Holds back what is read of recorded history; absent: it is read as fast as it is wanted. */
  readonly pace?: Pace;
}

/** Records in logical order, and how far the upstream streams are taken with them. */
export interface MergedBatch {
  readonly rows: InputRows;
  readonly cursors: Cursors;
  readonly through: number;
  /** The steps that the watermark of all upstream streams has made up to `through`, after those of the batch before. */
  readonly steps: readonly WatermarkStep[];
}

/**
 * Merges upstream streams by (ordinal, source, path). A record is given out only when no stream can have an
 * earlier one any more, so the order does not depend on how the streams progress. Steps of the watermark have their
 * place, too: before the records of their ordinal, but after firings that have it, which are older than the step.
 */
export class MergeReader {
  readonly #options: MergeReaderOptions;
  readonly #readers: readonly UpstreamReader[];
  #wake: (() => void) | undefined;
  #awake = false;
  #through: number;
  readonly #group = new Group();
  /** Records that were taken before, of those that the cursors begin with. */
  #skip: number;
  readonly #watermarks: WatermarkMerge;
  /** The step that is being worked off: firings that it makes due are still to come. */
  #pending: WatermarkStep | undefined;
  #steps: WatermarkStep[] = [];
  /** Cursors below which its owner had come before: a reader may not have read that far yet, where it has no records. */
  #floor: Cursors = {};
  /** Steps up to this ordinal are not said again. */
  #said = THROUGH_NOTHING;
  /** The highest ordinal of what was given out, and of the steps that were taken. */
  #reached = THROUGH_NOTHING;
  /** The ordinal of the last step of the watermark that was taken, whether it changed something or not. */
  #stepped: number;
  #nudged = false;

  constructor(options: MergeReaderOptions) {
    this.#options = options;
    this.#through = options.through;
    this.#stepped = options.watermark?.ordinal ?? THROUGH_NOTHING;
    this.#skip = options.cursors[TAKEN_OF_GROUP] ?? 0;
    this.#readers = options.upstreams.map(
      (selection) =>
        new UpstreamReader(
          options.log,
          selection,
          {
            cursor: options.cursors[selection.stream] ?? 0,
            through: options.through,
            upTo: options.upTo,
            pace: options.pace,
          },
          () => this.#changed(),
        ),
    );
    this.#watermarks = new WatermarkMerge(this.#readers, options.watermark);
    for (const reader of this.#readers) reader.start();
  }

  stop(): void {
    for (const reader of this.#readers) reader.stop();
    this.#changed();
  }

  /**
   * Its owner has come to this place: it has promised `through` and said the steps up to `watermark`, and nothing more,
   * whatever was read by now. {@link next} does not fall behind it, and says what goes beyond it. `taken` are the steps
   * that came with records which the owner had recorded before.
   */
  goOnFrom(
    {
      cursors,
      through,
      watermark,
    }: {
      readonly cursors: Cursors;
      readonly through: number;
      readonly watermark: WatermarkStep | undefined;
    },
    taken: readonly WatermarkStep[],
  ): void {
    this.#through = through;
    this.#said = watermark?.ordinal ?? THROUGH_NOTHING;
    this.#steps.unshift(...taken);
    this.#floor = cursors;
    // Records of one ordinal that the owner had not seen to be parted are not, though more of them are there by now.
    if (cursors[TAKEN_OF_GROUP] === undefined) this.#group.clear();
  }

  /** Whether nothing has been taken that is later than what {@link next} said last to be complete. */
  get between(): boolean {
    return this.#pending === undefined && this.#reached <= this.#through;
  }

  /** Makes {@link next} answer at once, with or without records: its owner has something else to do. */
  nudge(): void {
    this.#nudged = true;
    this.#changed();
  }

  /**
   * Takes the steps of the watermark up to `step`, which has been said before, at a place where nothing else comes
   * before it. Returns early when `signal` aborts.
   */
  async comeTo(step: WatermarkStep, signal: AbortSignal): Promise<void> {
    const wake = () => this.#changed();
    signal.addEventListener("abort", wake);
    try {
      while (!signal.aborted) {
        this.#awake = false;
        const rows = this.#take(Number.POSITIVE_INFINITY, step.ordinal);
        if (rows.count > 0) {
          throw new HeadwaterError(
            "LogDamaged",
            "a record comes before a step of the watermark that was said",
            {
              where: `ordinal ${step.ordinal}`,
            },
          );
        }
        if (this.#pending === undefined && this.#stepped >= step.ordinal) return;
        await this.#wait(Number.POSITIVE_INFINITY);
      }
    } finally {
      signal.removeEventListener("abort", wake);
    }
  }

  /**
   * The next records, at most `most` of them. Without records (`rows.count` 0) when `through` has risen and no
   * record came for a tick, or after `patienceMs` or a {@link nudge}. `undefined` when `signal` aborts.
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
        if (rows.count > 0 || wait <= 0 || this.#nudged) {
          this.#nudged = false;
          this.#through = Math.max(this.#through, through);
          const steps = this.#steps.filter(({ ordinal }) => ordinal > this.#said);
          this.#steps = [];
          return { rows, cursors: this.#cursors(), through: this.#through, steps };
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

  /** Where the next record begins; where records of one ordinal were parted, with how many of them are taken. */
  #cursors(): Cursors {
    // As long as what was taken before is not passed over, nothing has moved, whatever was read by now.
    if (this.#skip > 0) return this.#options.cursors;
    const group = this.#group;
    const parted = this.#readers.some(({ head }) => head !== undefined && group.holds(head.chunk, head.row));
    const cursors: Record<string, number> = {};
    for (const [index, { selection, cursor }] of this.#readers.entries()) {
      const reached = parted ? (group.begun(index) ?? cursor) : cursor;
      const at = Math.max(reached, this.#floor[selection.stream] ?? 0);
      // Two outlets of one segment are one stream: what is left of either begins at the lower N.
      cursors[selection.stream] = Math.min(cursors[selection.stream] ?? at, at);
    }
    if (parted) cursors[TAKEN_OF_GROUP] = group.taken;
    else group.clear();
    return cursors;
  }

  /** No record at or below this ordinal will be given out any more. */
  #completeUpTo(): number {
    let through = Number.MAX_SAFE_INTEGER;
    for (const reader of this.#readers) {
      const { head } = reader;
      const complete = head === undefined ? reader.through : (head.chunk.ordinals[head.row] as number) - 1;
      through = Math.min(through, complete);
    }
    // What is due at a step comes before all that follows it.
    through = Math.min(through, (this.#pending?.ordinal ?? this.#watermarks.next) - 1);
    return this.#readers.length === 0 ? THROUGH_NOTHING : through;
  }

  /** `stepsTo`: only steps of the watermark up to this ordinal, and what they make due. */
  #take(most: number, stepsTo?: number): InputRows {
    const { head: timed } = this.#options;
    const [only] = this.#readers;
    const alone = this.#readers.length === 1 && timed === undefined && this.#options.upTo === undefined;
    if (stepsTo === undefined && alone && only !== undefined && this.#group.taken === 0 && this.#skip === 0) {
      // The usual case: one upstream, and chunks of it that fit. Their columns are taken as they are.
      const chunks = this.#wholeChunks(only, most);
      if (chunks.length > 0) return this.#rowsOf(joinChunks(chunks));
    }
    const rows = new RowsBuilder();
    while (rows.count < most && !timed?.full) {
      if (this.#pending !== undefined) {
        if (timed?.fire(rows, this.#pending.ordinal)) {
          this.#reached = Math.max(this.#reached, this.#pending.ordinal);
          continue;
        }
        this.#settle(this.#pending);
      }
      const next = this.#next();
      if (next === undefined) break;
      if (stepsTo !== undefined && (next.kind !== "step" || this.#watermarks.next > stepsTo)) break;
      if (next.kind === "step") {
        this.#step();
        continue;
      }
      const { reader, chunk, row, index } = next;
      this.#group.take(chunk, row, index);
      if (this.#skip > 0) this.#skip--;
      else {
        this.#push(rows, chunk, row, index);
        timed?.take(rows);
      }
      reader.take(1);
    }
    return this.#finish(rows);
  }

  /** Takes the steps of the watermark that are next. */
  #step(): void {
    this.#stepped = Math.max(this.#stepped, this.#watermarks.next);
    this.#reached = Math.max(this.#reached, this.#stepped);
    const step = this.#watermarks.take();
    if (step === undefined) return;
    this.#pending = step;
    const { head } = this.#options;
    if (head === undefined) this.#settle(step);
    else head.advance(step.watermark);
  }

  #settle(step: WatermarkStep): void {
    this.#pending = undefined;
    this.#watermarks.settle(step);
    this.#steps.push(step);
  }

  /** What is next in logical order, if it is certain that nothing comes before it. */
  #next(): NextRecord | { readonly kind: "step" } | undefined {
    let best: NextRecord | undefined;
    let silent = this.#options.upTo ?? Number.MAX_SAFE_INTEGER;
    for (const [index, reader] of this.#readers.entries()) {
      const { head } = reader;
      if (head === undefined) silent = Math.min(silent, reader.through);
      else if (best === undefined || isBefore(head.chunk, head.row, best.chunk, best.row)) {
        best = { kind: "record", reader, ...head, index };
      }
    }
    const step = this.#watermarks.next;
    if (step <= silent && (best === undefined || this.#stepsBefore(step, best))) return { kind: "step" };
    return best !== undefined && (best.chunk.ordinals[best.row] as number) <= silent ? best : undefined;
  }

  /** Whether a step at `ordinal` comes before a record. */
  #stepsBefore(ordinal: number, { chunk, row }: Pick<NextRecord, "chunk" | "row">): boolean {
    const other = chunk.ordinals[row] as number;
    if (ordinal !== other) return ordinal < other;
    return (chunk.sources?.[row] ?? chunk.source) >= this.#options.firingOrigins;
  }

  /**
   * Takes the queued chunks of the only upstream that fit into a batch of `most` records as a whole, and the steps of
   * the watermark behind each. Where an owner cannot keep up, its batches so grow, and cost less a record.
   */
  #wholeChunks(reader: UpstreamReader, most: number): UpstreamChunk[] {
    const chunks: UpstreamChunk[] = [];
    let count = 0;
    let bytes = 0;
    for (let { head } = reader; head !== undefined && head.row === 0; { head } = reader) {
      const { chunk } = head;
      const [first = chunk] = chunks;
      count += chunk.count;
      bytes += bytesOf(chunk);
      if (count > most || !areAlike(first, chunk) || (bytes > LIMITS.batchBytes && chunk !== first)) break;
      chunks.push(chunk);
      reader.take(chunk.count);
      // A step before its last record is in force for it: who follows has to hear of it with the record at the latest.
      const last = { chunk, row: chunk.count - 1 };
      while (this.#stepsBefore(this.#watermarks.next, last)) this.#step();
      for (let next = this.#next(); next?.kind === "step"; next = this.#next()) this.#step();
    }
    return chunks;
  }

  #rowsOf(chunk: UpstreamChunk): InputRows {
    const { decode } = this.#options;
    const { buffers, starts, ends } = chunk;
    this.#reached = Math.max(this.#reached, chunk.ordinals.at(-1) ?? THROUGH_NOTHING);
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
      keys: chunk.keys,
      firings: NO_ROWS,
    };
  }

  #push(rows: RowsBuilder, chunk: UpstreamChunk, row: number, upstream: number): void {
    const { decode } = this.#options;
    this.#reached = Math.max(this.#reached, chunk.ordinals[row] as number);
    if (decode !== undefined) {
      const buffer = chunk.buffers[row] as Uint8Array;
      const start = chunk.starts[row] as number;
      const end = chunk.ends[row] as number;
      // What stands in the place of a record that was let go of is none.
      rows.records.push(chunk.digested?.[row] ? undefined : decode(buffer, start, end));
      rows.buffers.push(buffer);
      rows.starts.push(start);
      rows.ends.push(end);
    }
    if (chunk.digested?.[row]) {
      rows.digested ??= new Set();
      rows.digested.add(rows.count);
    }
    rows.keys.push(chunk.keys?.[row]);
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

const NO_ROWS: readonly number[] = [];

/** A record at the head of an upstream stream. */
interface NextRecord {
  readonly kind: "record";
  readonly reader: UpstreamReader;
  readonly chunk: UpstreamChunk;
  readonly row: number;
  readonly index: number;
}

/** The records of one ordinal and source that are being taken. */
class Group {
  #ordinal = THROUGH_NOTHING;
  #source = 0;
  /** For each reader the N of its first record in the group, and in which group that was. */
  readonly #firstN: number[] = [];
  readonly #in: number[] = [];
  #id = 0;
  #taken = 0;

  get taken(): number {
    return this.#taken;
  }

  holds(chunk: UpstreamChunk, row: number): boolean {
    return (
      this.#taken > 0 &&
      chunk.ordinals[row] === this.#ordinal &&
      (chunk.sources?.[row] ?? chunk.source) === this.#source
    );
  }

  take(chunk: UpstreamChunk, row: number, reader: number): void {
    if (!this.holds(chunk, row)) {
      this.#id++;
      this.#taken = 0;
      this.#ordinal = chunk.ordinals[row] as number;
      this.#source = chunk.sources?.[row] ?? chunk.source;
    }
    if (this.#in[reader] !== this.#id) {
      this.#in[reader] = this.#id;
      this.#firstN[reader] = chunk.ns[row] as number;
    }
    this.#taken++;
  }

  /** The N at which a reader's records of the group begin; `undefined` if it has given none. */
  begun(reader: number): number | undefined {
    return this.#in[reader] === this.#id ? this.#firstN[reader] : undefined;
  }

  clear(): void {
    this.#taken = 0;
    this.#id++;
  }
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
