import { DIGEST_BYTES } from "../core/digest.ts";
import { HeadwaterError } from "../core/errors.ts";
import { decodeEvent, decodeEventAs } from "../core/event-codec.ts";
import type { EventRange, RecordsStored, StepsRecorded, TypedEvent } from "../core/events.ts";
import { LIMITS } from "../core/limits.ts";
import { THROUGH_NOTHING } from "../core/ordinal.ts";
import type { Path } from "../core/path.ts";
import { besideStream } from "../core/streams.ts";
import { decodeWatermarks, type WatermarkColumns, type WatermarkStep } from "../core/watermark.ts";
import {
  acceptedRows,
  decodeAccepted,
  decodeBlock,
  decodeOutlet,
  decodeResults,
  pickRows,
  type UpstreamRows,
} from "../engine/outlet-decoder.ts";
import { StepShape } from "../engine/step-shape.ts";
import type { EventLog, RecordedEvent } from "../ports/event-log.ts";
import { mapAhead } from "./map-ahead.ts";
import type { Pace } from "./pace.ts";
import { seekRecord, seekThrough } from "./seek.ts";

/** Which records of one upstream stream a reader wants. */
export interface UpstreamSelection {
  readonly stream: string;
  /** See `Plan.origins`. */
  readonly origins: readonly string[];
  /**
   * For a source's stream its index in `origins`; for a partition's the outlet, or a stage of which the results are
   * wanted: their records as they are kept of the stage `stored`, or where that is not given the digests in the place of
   * records, and nothing of a stage that has none.
   */
  readonly from:
    | { readonly source: number }
    | { readonly outlet: number }
    | { readonly results: number; readonly stored?: number };
  /** The section to read; `undefined`: all of them. */
  readonly partition: number | undefined;
  /** Added to all paths: see `Upstream.branch`. */
  readonly branch: string;
  /** Whether the records themselves are wanted. */
  readonly payload: boolean;
  /** Whether the steps of the stream's watermark are wanted. */
  readonly watched: boolean;
  /** Nothing beyond this ordinal is wanted of what the log holds, and nothing else is waited for. */
  readonly upTo?: number;
  /**
   * What is done about records that were let go of: they are left out (`skip`), or their digests stand in their place
   * (`digest`: see {@link UpstreamChunk.digested}). Absent: that is an error.
   */
  readonly gone?: "skip" | "digest";
}

/** Where a reader begins and ends. */
export interface UpstreamBounds {
  /** N of the first record that is wanted. */
  readonly cursor: number;
  /** Steps of the watermark are wanted from here on: those up to this ordinal have been worked off. */
  readonly through: number;
  /** It reads what the log holds up to this ordinal, and then counts as complete up to it. Absent: it goes on. */
  readonly upTo?: number | undefined;
  /** Holds back what is read of a source's recorded stream. */
  readonly pace?: Pace | undefined;
}

/** The records of one upstream event, and where to find their bytes. */
export interface UpstreamChunk extends UpstreamRows {
  readonly buffers: readonly Uint8Array[];
  readonly starts: readonly number[];
  readonly ends: readonly number[];
  /** Which rows have a digest in the place of a record, or nothing where none was made; absent: none. */
  readonly digested?: readonly boolean[];
}

/** One event of the upstream stream. */
interface Received {
  readonly typed: ReturnType<typeof decodeEvent>;
  readonly chunk: UpstreamChunk | undefined;
  /** N of the first record that is beyond what is wanted of the stream; `undefined`: there is none. */
  readonly beyond: number | undefined;
  /** Whether it was the last of those that came together. */
  readonly last: boolean;
}

/**
 * Follows one upstream stream from the record N = `cursor` on and queues the chosen records. Knows up to which
 * ordinal the stream is complete.
 */
export class UpstreamReader {
  readonly selection: UpstreamSelection;
  readonly #log: EventLog;
  readonly #bounds: UpstreamBounds;
  readonly #changed: () => void;
  readonly #queue: UpstreamChunk[] = [];
  readonly #stop = new AbortController();
  readonly #steps: WatermarkStep[] = [];
  #lastStep = THROUGH_NOTHING - 1;
  /** The N after what has been received; before that the cursor. */
  #received: number;
  #begun = false;
  #queued = 0;
  #queuedBytes = 0;
  /** Row of the first queued chunk that is next. */
  #row = 0;
  #through = THROUGH_NOTHING;
  #end: number;
  #failure: { readonly error: unknown } | undefined;
  #room: (() => void) | undefined;

  /** `changed` is called whenever there is more to read, or `through` has risen, or reading has failed. */
  constructor(log: EventLog, selection: UpstreamSelection, bounds: UpstreamBounds, changed: () => void) {
    this.#log = log;
    this.selection = selection;
    this.#bounds = bounds;
    this.#end = bounds.cursor;
    this.#received = bounds.cursor;
    this.#changed = changed;
  }

  /** Begins to read. */
  start(): void {
    this.#pump().catch((error: unknown) => {
      if (this.#stop.signal.aborted) return;
      this.#failure = { error };
      this.#changed();
    });
  }

  stop(): void {
    this.#stop.abort();
    this.#room?.();
  }

  /** The queued records that are next; `undefined` if there are none now. Throws what reading failed with. */
  get head(): { readonly chunk: UpstreamChunk; readonly row: number } | undefined {
    if (this.#failure !== undefined) throw this.#failure.error;
    const chunk = this.#queue[0];
    return chunk === undefined ? undefined : { chunk, row: this.#row };
  }

  /** Takes `rows` records from the chunk at the head. */
  take(rows: number): void {
    const chunk = this.#queue[0];
    if (chunk === undefined) return;
    this.#row += rows;
    this.#queued -= rows;
    if (this.#row < chunk.count) return;
    this.#queue.shift();
    this.#queuedBytes -= bytesOf(chunk);
    this.#row = 0;
    if (!this.#full) this.#room?.();
  }

  /** The step of the watermark that is next; `undefined` if there is none now. */
  get step(): WatermarkStep | undefined {
    return this.#steps[0];
  }

  takeStep(): void {
    const wasFull = this.#full;
    this.#steps.shift();
    if (wasFull && !this.#full) this.#room?.();
  }

  /** The N that is next: below it everything has been taken. */
  get cursor(): number {
    const chunk = this.#queue[0];
    return chunk === undefined ? this.#end : (chunk.ns[this.#row] as number);
  }

  /** Complete up to this ordinal, as far as it has been read: no later event has a record at or below it. */
  get through(): number {
    return this.#through;
  }

  get #full(): boolean {
    return (
      this.#queued + this.#steps.length >= LIMITS.queuedRecords || this.#queuedBytes >= LIMITS.queuedBytes
    );
  }

  async #pump(): Promise<void> {
    const { signal } = this.#stop;
    const upTo = this.selection.upTo ?? this.#bounds.upTo;
    const revision = await this.#seek();
    const received = mapAhead(this.#messages(revision), LIMITS.payloadReadsAhead, async (message) =>
      message === "caught-up" ? message : await this.#receive(message),
    );
    for await (const next of received) {
      if (next === "caught-up") {
        if (upTo !== undefined) this.#through = Math.max(this.#through, upTo);
      } else {
        await this.#heldBack(next);
        this.#enqueue(next);
        while (this.#full && !signal.aborted) {
          this.#changed();
          await new Promise<void>((resolve) => {
            this.#room = resolve;
          });
        }
      }
      if (signal.aborted) return;
      if (upTo !== undefined && this.#through >= upTo) {
        this.#changed();
        this.#stop.abort();
        return;
      }
      if (next === "caught-up" || next.last) this.#changed();
    }
  }

  /** Events one by one, and whenever nothing more is there for now. */
  async *#messages(revision: number) {
    const { signal } = this.#stop;
    const { stream, payload: along } = this.selection;
    for await (const message of this.#log.subscribe(stream, revision, { along, signal })) {
      if (message.kind === "caught-up") yield "caught-up" as const;
      if (message.kind !== "events") continue;
      const { events } = message;
      for (const [at, event] of events.entries()) yield { event, last: at === events.length - 1 };
    }
  }

  /** The revision to begin at. Events without records may have steps of the watermark that are still to be taken. */
  async #seek(): Promise<number> {
    const { stream, watched } = this.selection;
    const { cursor, through } = this.#bounds;
    const revision = await seekRecord(this.#log, stream, cursor);
    if (!watched || revision === 0) return revision;
    return Math.min(revision, (await seekThrough(this.#log, stream, through)) ?? 0);
  }

  /** What an event says, and the records that it has for this reader. */
  async #receive({
    event,
    last,
  }: {
    readonly event: RecordedEvent;
    readonly last: boolean;
  }): Promise<Received> {
    const typed = decodeEvent(event);
    this.#mustNotSkip(typed, event);
    this.#mustNotSkipSteps(typed, event);
    const { from, origins, partition } = this.selection;
    let rows: UpstreamRows | undefined;
    if (typed.type === "RecordsAccepted" && "source" in from) {
      rows = decodeAccepted(typed.data, from.source, partition);
    } else if (typed.type === "StepsRecorded" && "outlet" in from) {
      rows = decodeOutlet(typed.data, from.outlet, origins, partition);
    } else if (typed.type === "StepsRecorded" && "results" in from) {
      rows = decodeResults(typed.data, from.results, origins, from.stored);
    }
    if (rows === undefined || rows.count === 0) return { typed, chunk: undefined, beyond: undefined, last };
    const within = this.#within(rows);
    const wanted = this.#trim(within);
    const chunk =
      typed.type === "StepsRecorded" && "results" in from && from.stored === undefined
        ? withDigests(wanted, typed.data, from.results)
        : await this.#load(wanted, typed);
    return { typed, chunk, beyond: rows.ns[within.count], last };
  }

  /** An event has to go on where the one before it ended, the first one where reading begins, or before. */
  #mustNotSkip({ data }: TypedEvent, { stream, revision }: RecordedEvent): void {
    if (!("first" in data)) return;
    const cursor = this.#received;
    this.#received = Math.max(cursor, data.first + ("count" in data ? data.count : 0));
    if (data.first <= cursor) return;
    throw new HeadwaterError("RecordGone", "records that are to be read were let go of", {
      where: `${stream}@${cursor}`,
      hint: `The stream begins with its event ${revision} now: see "How long history is kept" in the README.`,
    });
  }

  /**
   * Where recorded history is read, steps of the watermark must not be missing before the first event: the one that was
   * in force before it is one that is known, or the next.
   */
  #mustNotSkipSteps({ data }: TypedEvent, { stream, revision }: RecordedEvent): void {
    const isFirst = !this.#begun;
    this.#begun = true;
    const { watched, gone, upTo = this.#bounds.upTo } = this.selection;
    if (!isFirst || revision === 0 || !watched || gone !== undefined || upTo === undefined) return;
    const { through } = this.#bounds;
    const [inForce] = "watermark" in data && data.watermark ? decodeWatermarks(data.watermark) : [];
    if (inForce === undefined || inForce.ordinal <= through + 1) return;
    throw new HeadwaterError("RecordGone", "steps of event time that are to be taken again were let go of", {
      where: `${stream}@${revision - 1}`,
      hint: `The stream begins with its event ${revision} now: see "How long history is kept" in the README.`,
    });
  }

  #enqueue({ typed, chunk, beyond }: Received): void {
    if (chunk !== undefined && chunk.count > 0) {
      this.#queue.push(chunk);
      this.#queued += chunk.count;
      this.#queuedBytes += bytesOf(chunk);
    }
    if (this.selection.watched && "watermark" in typed.data) this.#observe(typed.data.watermark);
    if ("through" in typed.data) {
      const count = "count" in typed.data ? typed.data.count : 0;
      this.#end = Math.max(this.#end, beyond ?? typed.data.first + count);
      const through = Math.min(typed.data.through, this.selection.upTo ?? typed.data.through);
      this.#through = Math.max(this.#through, through);
    }
  }

  async #heldBack({ chunk }: Received): Promise<void> {
    const { pace } = this.#bounds;
    const recorded = this.selection.upTo !== undefined && "source" in this.selection.from;
    const from = chunk?.ordinals[0];
    if (pace === undefined || !recorded || chunk === undefined || from === undefined) return;
    // What has been read by now goes on meanwhile.
    this.#changed();
    await pace.take(chunk.count, from, this.#stop.signal);
  }

  /** Each event begins with the step that is in force; those known already are passed over. */
  #observe(watermark: WatermarkColumns | undefined): void {
    if (watermark === undefined) return;
    for (const step of decodeWatermarks(watermark)) {
      if (step.ordinal <= this.#lastStep || step.ordinal > (this.selection.upTo ?? step.ordinal)) continue;
      this.#steps.push(step);
      this.#lastStep = step.ordinal;
    }
  }

  /** Without the records below the cursor at which reading began. */
  #trim(rows: UpstreamRows): UpstreamRows {
    let skip = 0;
    while (skip < rows.count && (rows.ns[skip] as number) < this.#bounds.cursor) skip++;
    return skip === 0 ? rows : sliceRows(rows, skip);
  }

  /** Without the records beyond what is wanted of the stream. */
  #within(rows: UpstreamRows): UpstreamRows {
    const { upTo } = this.selection;
    if (upTo === undefined || (rows.ordinals.at(-1) ?? upTo) <= upTo) return rows;
    return sliceRows(
      rows,
      0,
      rows.ordinals.findIndex((ordinal) => ordinal > upTo),
    );
  }

  async #load(rows: UpstreamRows, typed: TypedEvent): Promise<UpstreamChunk> {
    const { payload, transit } = typed.data as RecordRanges;
    const { branch } = this.selection;
    const paths =
      branch === "" ? rows.paths : Array.from(rows.ns, (_, row): Path => (rows.paths?.[row] ?? "") + branch);
    const none = payload === undefined && transit === undefined;
    if (!this.selection.payload || none || rows.count === 0) {
      return { ...rows, paths, buffers: [], starts: [], ends: [] };
    }
    const kept = payload === undefined ? [] : await this.#read("payload", payload);
    const passing = transit === undefined ? [] : await this.#read("transit", transit);
    if (kept === undefined || passing === undefined)
      return this.#loadRest({ ...rows, paths }, typed, kept, passing);
    const block = decodeBlock([...kept, ...passing], rows.block);
    const { stored } = rows;
    if (stored === undefined) return { ...rows, paths, ...block };
    const at = <T>(column: readonly T[]) => stored.map((index) => column[index] as T);
    return { ...rows, paths, buffers: at(block.buffers), starts: at(block.starts), ends: at(block.ends) };
  }

  /** What is still there of an event's records, where a part of them was let go of (`undefined`). */
  #loadRest(
    rows: UpstreamRows,
    typed: TypedEvent,
    kept: readonly RecordsStored[] | undefined,
    passing: readonly RecordsStored[] | undefined,
  ): UpstreamChunk {
    const inPayload = payloadRecords(typed, rows.block);
    const block = decodeBlock([...(kept ?? []), ...(passing ?? [])], rows.block);
    // Records of the payload stand first; those that are gone have left no place.
    const placeOf = (row: number): number | undefined => {
      const index = rows.stored?.[row] ?? row;
      if (index < inPayload) return kept === undefined ? undefined : index;
      return passing === undefined ? undefined : index - (kept === undefined ? inPayload : 0);
    };
    const places = Array.from({ length: rows.count }, (_, row) => placeOf(row));
    if (this.selection.gone === "skip") {
      const left = [...places.keys()].filter((row) => places[row] !== undefined);
      const at = <T>(column: readonly T[]) => left.map((row) => column[places[row] as number] as T);
      const columns = { buffers: at(block.buffers), starts: at(block.starts), ends: at(block.ends) };
      return { ...pickRows(rows, left), stored: undefined, ...columns };
    }
    const digests = digestsOf(typed, rows);
    const records = places.map((place, row) => {
      if (place === undefined)
        return { bytes: digests[row] ?? NO_BYTES, start: 0, end: digests[row]?.length ?? 0 };
      const [bytes = NO_BYTES, start = 0, end = 0] = [
        block.buffers[place],
        block.starts[place],
        block.ends[place],
      ];
      return { bytes, start, end };
    });
    return {
      ...rows,
      buffers: records.map(({ bytes }) => bytes),
      starts: records.map(({ start }) => start),
      ends: records.map(({ end }) => end),
      digested: places.map((place) => place === undefined),
    };
  }

  /** Throws `RecordGone` where not all of it is there any more, unless that is expected; then `undefined`. */
  async #read(
    beside: "payload" | "transit",
    { revision, events }: EventRange,
  ): Promise<RecordsStored[] | undefined> {
    const stream = besideStream(this.selection.stream, beside);
    const read: RecordsStored[] = [];
    for await (const event of this.#log.read(stream, { from: revision, limit: events, referred: true })) {
      if (event.revision !== revision + read.length) break;
      read.push(decodeEventAs(event, "RecordsStored"));
    }
    if (read.length === events) return read;
    if (this.selection.gone !== undefined) return undefined;
    throw new HeadwaterError("RecordGone", "records that are to be run again were let go of", {
      where: `${stream}@${revision}`,
      hint: 'Retention, or a sample, has let them go: see "How long history is kept" in the README.',
    });
  }
}

/** Where an upstream event says that its records are. */
interface RecordRanges {
  readonly payload?: EventRange;
  readonly transit?: EventRange;
}

/** Results of a stage, each with its digest in the place of the record. */
function withDigests(rows: UpstreamRows, event: StepsRecorded, stage: number): UpstreamChunk {
  const digests = event.stages?.[stage]?.digests;
  const at = Array.from({ length: rows.count }, (_, row) => DIGEST_BYTES * (rows.stored?.[row] ?? row));
  const none = new Array<number>(rows.count).fill(0);
  return {
    ...rows,
    buffers: new Array<Uint8Array>(rows.count).fill(digests ?? NO_BYTES),
    starts: digests === undefined ? none : at,
    ends: digests === undefined ? none : at.map((start) => start + DIGEST_BYTES),
  };
}

const NO_BYTES = new Uint8Array(0);

/** How many of the records of a block are in the payload, where others are in transit. */
function payloadRecords({ type, data }: TypedEvent, block: number): number {
  if (type === "RecordsAccepted") return acceptedRows(data).payload?.length ?? data.count;
  if (type !== "StepsRecorded") return 0;
  const shape = new StepShape(data);
  return shape.storedRows(block).payload?.length ?? shape.stage(block).count;
}

/** The digests of the records of rows, as far as the event has them. */
function digestsOf({ type, data }: TypedEvent, rows: UpstreamRows): readonly (Uint8Array | undefined)[] {
  const at = (digests: Uint8Array | undefined, row: number) =>
    digests?.subarray(row * DIGEST_BYTES, (row + 1) * DIGEST_BYTES);
  if (type === "RecordsAccepted") return rows.ns.map((n) => at(data.digests, n - data.first));
  if (type !== "StepsRecorded" || rows.block < 0) return rows.ns.map(() => undefined);
  const { payload, transit } = new StepShape(data).storedRows(rows.block);
  const all = payload === undefined ? undefined : [...payload, ...transit];
  const digests = data.stages?.[rows.block]?.digests;
  return rows.ns.map((_, row) => {
    const stored = rows.stored?.[row] ?? row;
    return at(digests, all?.[stored] ?? stored);
  });
}

function sliceRows(rows: UpstreamRows, from: number, end: number = rows.count): UpstreamRows {
  const { sources, paths, times, ks, keys, stored } = rows;
  return {
    ...rows,
    count: end - from,
    ordinals: rows.ordinals.slice(from, end),
    sources: sources?.slice(from, end),
    roots: rows.roots.slice(from, end),
    paths: paths?.slice(from, end),
    times: times?.slice(from, end),
    ns: rows.ns.slice(from, end),
    ks: ks?.slice(from, end),
    keys: keys?.slice(from, end),
    stored: stored?.slice(from, end) ?? Array.from({ length: end - from }, (_, row) => row + from),
  };
}

/** Columns that a chunk may be without. */
const OPTIONAL_COLUMNS = ["sources", "paths", "times", "ks", "keys"] as const;

/** Whether two chunks have the same columns, so that they can be joined. */
export function areAlike(a: UpstreamChunk, b: UpstreamChunk): boolean {
  return (
    a.source === b.source &&
    OPTIONAL_COLUMNS.every((column) => (a[column] === undefined) === (b[column] === undefined))
  );
}

/** At least one chunk, and others behind it that are {@link areAlike alike}, as one. */
export function joinChunks(chunks: readonly UpstreamChunk[]): UpstreamChunk {
  const first = chunks[0] as UpstreamChunk;
  if (chunks.length === 1) return first;
  const joined = <Column extends keyof UpstreamChunk>(column: Column) =>
    (first[column] === undefined
      ? undefined
      : chunks.flatMap((chunk) => chunk[column] as readonly unknown[])) as UpstreamChunk[Column];
  return {
    ...first,
    count: chunks.reduce((sum, { count }) => sum + count, 0),
    ordinals: joined("ordinals"),
    sources: joined("sources"),
    roots: joined("roots"),
    paths: joined("paths"),
    times: joined("times"),
    ns: joined("ns"),
    ks: joined("ks"),
    keys: joined("keys"),
    stored: undefined,
    buffers: joined("buffers"),
    starts: joined("starts"),
    ends: joined("ends"),
  };
}

/** Canonical bytes of the records of a chunk. */
export function bytesOf(chunk: UpstreamChunk): number {
  let bytes = 0;
  for (let row = 0; row < chunk.ends.length; row++) {
    bytes += (chunk.ends[row] as number) - (chunk.starts[row] as number);
  }
  return bytes;
}
