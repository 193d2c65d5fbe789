import {
  BUCKETS,
  bucketOf,
  decodeState,
  encodeState,
  eventsInPage,
  eventsInState,
  type IndexPage,
  type LineageIndexState,
  lineageIndex,
  mergePages,
} from "../../projections/lineage-index.ts";
import { decodeCanonical, encodeCanonical } from "../core/canonical.ts";
import { equalBytes, sha256 } from "../core/digest.ts";
import { HeadwaterError, isHeadwaterError } from "../core/errors.ts";
import { decodeEvent } from "../core/event-codec.ts";
import type { StepsRecorded } from "../core/events.ts";
import type { Term } from "../core/index-terms.ts";
import { LIMITS } from "../core/limits.ts";
import { comparePositions, formatPosition, type Position, parsePosition, START } from "../core/position.ts";
import { besideStream } from "../core/streams.ts";
import { type EventTerms, termsOfAccepted, termsOfSteps } from "../engine/lineage-terms.ts";
import { StepGraph } from "../engine/step-graph.ts";
import type { EventLog, RecordedEvent } from "../ports/event-log.ts";
import { isSameValue, type ViewEntry, type ViewStore, viewDamaged } from "../ports/view-store.ts";
import { checkedViews } from "./checked-views.ts";
import { readChunks } from "./snapshots.ts";

/** An event that a term was found in, or is likely to be. */
export interface IndexedPlace {
  readonly stream: string;
  readonly revision: number;
}

/** How far a view has come on its way to the end of the log. */
export interface ViewProgress {
  /** Events that it has looked at in this run. */
  readonly events: number;
  /** The last one's position, and where the log ended when it was asked. */
  readonly position: Position;
  readonly end: Position;
}

/** How large its parts are, where it is not as large as usual. A view keeps those that it was begun with. */
export interface ViewSizes {
  /** Entries of a chunk of the index. */
  readonly entries?: number;
  /** Chunks that are merged into one. */
  readonly merge?: number;
}

/** The view's state as it is kept: `undefined` values stand for a view that has seen nothing. */
interface Meta {
  readonly v: number;
  readonly log: string;
  /** Of the last event that it has seen; {@link SeenEvent}s say of each stream which that was. */
  readonly position: string;
  readonly seen: readonly SeenEvent[];
  /** Events that are in it, chunks of its index so far and those of them that are merged, streams that it has met. */
  readonly events: number;
  readonly chunks: number;
  readonly merged: number;
  /** Pages that each bucket has, and entries that are in none yet. */
  readonly pages: number;
  readonly open: number;
  readonly streams: readonly string[];
  /** The highest level of blocks of members. */
  readonly level: number;
}

/** The last event of a stream that it has seen: stream, revision, position, SHA-256 of its data. */
type SeenEvent = readonly [stream: string, revision: number, position: string, digest: Uint8Array];

const INDEXED = { prefixes: ["source_", "steps_"] } as const;
const META = Uint8Array.of(0x6d);
const OPEN = Uint8Array.of(0x6f);
const PAGE = 0x70;
const EVENT = 0x65;

/**
 * The lineage view of a log: by terms (see core/index-terms.ts) the events that have something to do with them. It is a
 * projection: it follows the log in its order, is kept in a {@link ViewStore}, goes on after a kill where its last
 * commit was, and is built anew when it is not there, belongs to another log or version, or has seen events that the log
 * does not have: a log that was put back from an older copy has the same id, and may have gone on in another way. Throws
 * `ViewDamaged` where it does not have all that was written, and nothing else: then it can only be dropped.
 */
export class LineageView {
  readonly #store: ViewStore;
  readonly #log: EventLog;
  #kept: Uint8Array | undefined;
  #meta: Meta;
  #state: LineageIndexState;
  #numbers = new Map<string, number>();
  #seen = new Map<string, SeenEvent>();
  /** The log was looked through up to here. */
  #position: Position = START;
  #putBack = false;

  readonly #sizes: ViewSizes;

  private constructor(store: ViewStore, log: EventLog, sizes: ViewSizes) {
    this.#store = checkedViews(store);
    this.#log = log;
    this.#sizes = sizes;
    this.#state = lineageIndex.init(sizes.entries);
    this.#meta = { v: lineageIndex.version, log: log.id, ...NOTHING };
  }

  /** Opens the view as it is kept, as far as that is of the log's history. */
  static async open(store: ViewStore, log: EventLog, sizes: ViewSizes = {}): Promise<LineageView> {
    const view = new LineageView(store, log, sizes);
    try {
      await view.#load();
    } catch (error) {
      // Also one of a version that had no checksums.
      if (!isHeadwaterError(error, "ViewDamaged")) throw error;
      await view.drop();
    }
    const known = await view.#knownUpTo();
    if (known === undefined) await view.drop();
    else view.#position = known;
    view.#putBack = known === undefined;
    return view;
  }

  /** Up to where it has looked through the log. */
  get position(): Position {
    return this.#position;
  }

  /** Whether it had seen events that the log does not have, and has forgotten everything for it when it was opened. */
  get putBack(): boolean {
    return this.#putBack;
  }

  /** Whether the log has events that it has not seen. */
  async isBehind(): Promise<boolean> {
    for await (const event of this.#log.readAll({ ...rangeFrom(this.#position), filter: INDEXED })) {
      if (this.#isNew(event)) return true;
    }
    return false;
  }

  /** The highest level that blocks of members have in it: see `membersTerm`. */
  get memberLevel(): number {
    return this.#meta.level;
  }

  /** Forgets everything. */
  async drop(): Promise<void> {
    await this.#store.clear();
    await this.#load();
  }

  /**
   * Follows the log up to where it ends now. Rejects with `Stopped` when `signal` aborts; what was committed by then
   * is kept.
   */
  async catchUp(signal?: AbortSignal, onProgress?: (progress: ViewProgress) => void): Promise<void> {
    const { position: end } = await this.#log.size();
    for (let events = 0; comparePositions(this.#position, end) < 0; ) {
      if (signal?.aborted)
        throw new HeadwaterError("Stopped", "stopped before the index had come to the log's end");
      events += await this.#follow(end, signal);
      const { merge = LIMITS.viewChunksMerged } = this.#sizes;
      while (this.#meta.chunks - this.#meta.merged >= merge) await this.#merge(merge);
      onProgress?.({ events, position: this.position, end });
    }
  }

  /** The events that have `term`, each once, in the order of the log. */
  find(term: Term): IndexedPlace[] {
    const numbers = new Set<number>();
    for (const entries of this.#pagesOf(bucketOf(term))) {
      for (const number of eventsInPage(entries, term)) numbers.add(number);
    }
    for (const number of eventsInState(this.#state, term)) numbers.add(number);
    return [...numbers].sort((a, b) => a - b).map((number) => this.#event(number));
  }

  #pagesOf(bucket: number): readonly Uint8Array[] {
    const prefix = Uint8Array.of(PAGE, bucket);
    const found = [...this.#store.range(prefix)];
    const keys = new Set(found.map(({ key }) => Buffer.from(key).toString("hex")));
    if (keys.size === this.#meta.pages && keys.size === found.length) return found.map(({ value }) => value);
    if (this.#isCurrent) throw viewDamaged(`${keys.size} of ${this.#meta.pages} pages, bucket ${bucket}`);
    this.#read();
    return this.#pagesOf(bucket);
  }

  /** Whether no other process has taken the view further, or dropped it. */
  get #isCurrent(): boolean {
    return isSameValue(this.#store.get(META), this.#kept);
  }

  /** Reads what is kept; clears what is of another log or version. */
  async #load(): Promise<void> {
    if (this.#read()) return;
    await this.#store.clear();
    this.#read();
  }

  /** Reads what is kept. Answers whether it is of this log and version. */
  #read(): boolean {
    const kept = this.#store.get(META);
    const meta = kept && (decodeCanonical(kept, Number.MAX_SAFE_INTEGER) as unknown as Meta);
    if (meta !== undefined && (meta.v !== lineageIndex.version || meta.log !== this.#log.id)) return false;
    this.#kept = kept;
    this.#meta = meta ?? { v: lineageIndex.version, log: this.#log.id, ...NOTHING };
    this.#position = parsePosition(this.#meta.position);
    this.#seen = new Map(this.#meta.seen.map((seen) => [seen[0], seen]));
    this.#numbers = new Map(this.#meta.streams.map((stream, index) => [stream, index]));
    const open = meta && this.#store.get(OPEN);
    this.#state =
      open === undefined ? lineageIndex.init(this.#sizes.entries) : decodeState(open, this.#sizes.entries);
    if (this.#state.count === this.#meta.open) return true;
    if (this.#isCurrent) throw viewDamaged(`${this.#state.count} of ${this.#meta.open} entries`);
    // Another process has taken the view further meanwhile.
    return this.#read();
  }

  /**
   * The position of the last event that both have, `START` if all that it has seen was let go of since. `undefined`: the
   * log's history is another one.
   */
  async #knownUpTo(): Promise<Position | undefined> {
    const seen = this.#meta.seen.map((event) => ({ event, position: parsePosition(event[2]) }));
    for (const { event, position } of seen.sort((a, b) => comparePositions(b.position, a.position))) {
      const has = await this.#has(event);
      if (has === "other") return undefined;
      if (has === "same") return position;
    }
    return START;
  }

  async #has([stream, revision, position, digest]: SeenEvent): Promise<"same" | "other" | "gone"> {
    const info = await this.#log.streamInfo(stream);
    if (info === undefined || info.lastRevision < revision) return "other";
    if (info.deleted || info.tombstoned || revision < info.firstRevision) return "gone";
    for await (const event of this.#log.read(stream, { from: revision, limit: 1 })) {
      if (event.revision !== revision) break;
      const same = formatPosition(event.position) === position && equalBytes(sha256(event.data), digest);
      return same ? "same" : "other";
    }
    return "gone";
  }

  /** Where what it had seen last was let go of, it begins before that, and comes by what it has seen. */
  #isNew({ stream, revision, position }: RecordedEvent): boolean {
    const [, seen = -1] = this.#seen.get(stream) ?? [];
    return comparePositions(position, this.#position) > 0 && revision > seen;
  }

  /** Takes in what is next, and commits it. Answers how many events it has looked at. */
  async #follow(end: Position, signal: AbortSignal | undefined): Promise<number> {
    let { position } = this.#meta;
    let { events, chunks, level } = this.#meta;
    const streams = [...this.#meta.streams];
    const entries: ViewEntry[] = [];
    let looked = 0;
    let pages = 0;
    let full = false;
    const range = { ...rangeFrom(this.#position), filter: INDEXED, ...(signal && { signal }) };
    const seen = new Map<string, RecordedEvent>();
    for await (const event of this.#log.readAll(range)) {
      if (comparePositions(event.position, end) > 0) break;
      if (!this.#isNew(event)) continue;
      position = formatPosition(event.position);
      seen.set(event.stream, event);
      looked++;
      const { terms, level: highest } = await this.#termsOf(event);
      level = Math.max(level, highest);
      if (terms.size > 0) {
        entries.push({ key: eventKey(events), value: this.#placeOf(event, streams) });
        for (const chunk of lineageIndex.apply(this.#state, { number: events, terms })) {
          for (const page of chunk) entries.push(pageEntry(page, chunks));
          pages += chunk.length;
          chunks++;
        }
        events++;
      }
      full = looked >= LIMITS.viewEventsPerCommit || pages >= LIMITS.viewPagesPerCommit;
      if (full) break;
    }
    if (signal?.aborted) {
      await this.#load();
      return looked;
    }
    for (const [stream, event] of seen) this.#seen.set(stream, seenEvent(event));
    const all = [...this.#seen.values()];
    const grown = { chunks, pages: this.#meta.pages + chunks - this.#meta.chunks, open: this.#state.count };
    const next = { ...this.#meta, ...grown, position, seen: all, events, streams, level };
    const kept = looked === 0 || (await this.#commit(next, entries));
    // Where no event of ours was left, the end has been reached; what is kept is the last that was seen, which can be told.
    if (kept) this.#position = full ? parsePosition(position) : end;
    return looked;
  }

  async #commit(meta: Meta, entries: readonly ViewEntry[]): Promise<boolean> {
    const value = encodeCanonical(meta, Number.POSITIVE_INFINITY);
    const open = { key: OPEN, value: encodeState(this.#state) };
    const guard = { key: META, value: this.#kept };
    if (await this.#store.commit(guard, [...entries, open, { key: META, value }])) {
      this.#kept = value;
      this.#meta = meta;
      return true;
    }
    // Another process has taken the view further: what it has counts.
    await this.#load();
    return false;
  }

  /** Makes one page of several, bucket by bucket: a search looks into each page of a bucket. */
  async #merge(count: number): Promise<void> {
    const { merged: first } = this.#meta;
    const chunks = Array.from({ length: count }, (_, index) => first + index);
    const entries: ViewEntry[] = [];
    for (let bucket = 0; bucket < BUCKETS; bucket++) {
      const keys = chunks.map((chunk) => keyOf(PAGE, [bucket], chunk));
      const pages = keys.flatMap((key) => this.#store.get(key) ?? []);
      if (pages.length < count) {
        if (!this.#isCurrent) break;
        throw viewDamaged(`${pages.length} of ${count} pages, bucket ${bucket}`);
      }
      for (const key of keys) entries.push({ key, value: undefined });
      // Under the key of the last one it is behind all that were merged before.
      entries.push({ key: keys.at(-1) as Uint8Array, value: mergePages(pages) });
    }
    const pages = this.#meta.pages - count + 1;
    await this.#commit({ ...this.#meta, merged: first + count, pages }, entries);
  }

  async #termsOf(recorded: RecordedEvent): Promise<EventTerms> {
    const { type, data } = decodeEvent(recorded);
    if (type === "RecordsAccepted" && data.count > 0) return termsOfAccepted(recorded.stream, data);
    if (type !== "StepsRecorded" || data.count === 0) return NO_TERMS;
    return termsOfSteps(recorded.stream, new StepGraph(data), await this.#members(recorded.stream, data));
  }

  /** The members that a step event keeps beside it; what has been let go of cannot be found any more. */
  async #members(stream: string, { stages }: StepsRecorded): Promise<Uint8Array | undefined> {
    const range = stages?.[0]?.membersIn;
    if (range === undefined) return undefined;
    try {
      const beside = besideStream(stream, "members");
      return await readChunks(this.#log, beside, "MembersNamed", range.revision, range.events);
    } catch (error) {
      if (isHeadwaterError(error, "LogDamaged") || isHeadwaterError(error, "StreamNotFound"))
        return undefined;
      throw error;
    }
  }

  #placeOf({ stream, revision }: RecordedEvent, streams: string[]): Uint8Array {
    let number = this.#numbers.get(stream);
    if (number === undefined) {
      number = streams.push(stream) - 1;
      this.#numbers.set(stream, number);
    }
    return encodeCanonical([number, revision]);
  }

  #event(number: number): IndexedPlace {
    const value = this.#store.get(eventKey(number));
    const [stream, revision] = (value && (decodeCanonical(value) as unknown as [number, number])) ?? [-1, 0];
    const name = this.#meta.streams[stream];
    if (name !== undefined) return { stream: name, revision };
    throw viewDamaged(`event ${number}`);
  }
}

const NOTHING = {
  position: formatPosition(START),
  seen: [] as readonly SeenEvent[],
  events: 0,
  chunks: 0,
  merged: 0,
  pages: 0,
  open: 0,
  streams: [] as readonly string[],
  level: 0,
};
const NO_TERMS: EventTerms = { terms: new Set(), level: 0 };

function seenEvent({ stream, revision, position, data }: RecordedEvent): SeenEvent {
  return [stream, revision, formatPosition(position), sha256(data)];
}

function rangeFrom(position: Position): { readonly from?: Position } {
  return comparePositions(position, START) === 0 ? {} : { from: position };
}

function eventKey(number: number): Uint8Array {
  return keyOf(EVENT, [], number);
}

function pageEntry({ bucket, entries }: IndexPage, chunk: number): ViewEntry {
  return { key: keyOf(PAGE, [bucket], chunk), value: entries };
}

function keyOf(kind: number, bytes: readonly number[], number: number): Uint8Array {
  const key = Uint8Array.of(kind, ...bytes, 0, 0, 0, 0);
  new DataView(key.buffer).setUint32(key.length - 4, number);
  return key;
}
