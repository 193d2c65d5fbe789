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
import type { ViewEntry, ViewStore } from "../ports/view-store.ts";
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
  /** Of the last event that it has seen. */
  readonly position: string;
  /** Events that are in it, chunks of its index so far and those of them that are merged, streams that it has met. */
  readonly events: number;
  readonly chunks: number;
  readonly merged: number;
  readonly streams: readonly string[];
  /** The highest level of blocks of members. */
  readonly level: number;
}

const INDEXED = { prefixes: ["source_", "steps_"] } as const;
const META = Uint8Array.of(0x6d);
const OPEN = Uint8Array.of(0x6f);
const PAGE = 0x70;
const EVENT = 0x65;

/**
 * The lineage view of a log: by terms (see core/index-terms.ts) the events that have something to do with them. It is a
 * projection: it follows the log in its order, is kept in a {@link ViewStore}, goes on after a kill where its last
 * commit was, and is built anew when it is not there or belongs to another log or version.
 */
export class LineageView {
  readonly #store: ViewStore;
  readonly #log: EventLog;
  #kept: Uint8Array | undefined;
  #meta: Meta;
  #state: LineageIndexState;
  #numbers = new Map<string, number>();

  readonly #sizes: ViewSizes;

  private constructor(store: ViewStore, log: EventLog, sizes: ViewSizes) {
    this.#store = store;
    this.#log = log;
    this.#sizes = sizes;
    this.#state = lineageIndex.init(sizes.entries);
    this.#meta = { v: lineageIndex.version, log: log.id, position: formatPosition(START), ...NOTHING };
  }

  /** Opens the view as it is kept. */
  static async open(store: ViewStore, log: EventLog, sizes: ViewSizes = {}): Promise<LineageView> {
    const view = new LineageView(store, log, sizes);
    await view.#load();
    return view;
  }

  /** The position of the last event that it has seen. */
  get position(): Position {
    return parsePosition(this.#meta.position);
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
    for (let events = 0; comparePositions(this.position, end) < 0; ) {
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
    for (const entries of this.#store.range(Uint8Array.of(PAGE, bucketOf(term)))) {
      for (const number of eventsInPage(entries, term)) numbers.add(number);
    }
    for (const number of eventsInState(this.#state, term)) numbers.add(number);
    return [...numbers].sort((a, b) => a - b).map((number) => this.#event(number));
  }

  async #load(): Promise<void> {
    const kept = this.#store.get(META);
    const meta = kept && (decodeCanonical(kept, Number.MAX_SAFE_INTEGER) as unknown as Meta);
    if (meta !== undefined && (meta.v !== lineageIndex.version || meta.log !== this.#log.id)) {
      await this.#store.clear();
      return this.#load();
    }
    this.#kept = kept;
    this.#meta = meta ?? {
      v: lineageIndex.version,
      log: this.#log.id,
      position: formatPosition(START),
      ...NOTHING,
    };
    this.#numbers = new Map(this.#meta.streams.map((stream, index) => [stream, index]));
    const open = this.#store.get(OPEN);
    this.#state =
      open === undefined || meta === undefined
        ? lineageIndex.init(this.#sizes.entries)
        : decodeState(open, this.#sizes.entries);
  }

  /** Takes in what is next, and commits it. Answers how many events it has looked at. */
  async #follow(end: Position, signal: AbortSignal | undefined): Promise<number> {
    let position = this.position;
    let { events, chunks, level } = this.#meta;
    const streams = [...this.#meta.streams];
    const entries: ViewEntry[] = [];
    let looked = 0;
    let pages = 0;
    let full = false;
    const from = position;
    const range = comparePositions(from, START) === 0 ? {} : { from };
    for await (const event of this.#log.readAll({ ...range, filter: INDEXED, ...(signal && { signal }) })) {
      if (comparePositions(event.position, from) <= 0) continue;
      if (comparePositions(event.position, end) > 0) break;
      position = event.position;
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
    // Where no event of ours was left, the end has been reached.
    if (!full) position = end;
    await this.#commit(
      { ...this.#meta, position: formatPosition(position), events, chunks, streams, level },
      entries,
    );
    return looked;
  }

  async #commit(meta: Meta, entries: readonly ViewEntry[]): Promise<void> {
    const value = encodeCanonical(meta, Number.POSITIVE_INFINITY);
    const open = { key: OPEN, value: encodeState(this.#state) };
    const guard = { key: META, value: this.#kept };
    if (await this.#store.commit(guard, [...entries, open, { key: META, value }])) {
      this.#kept = value;
      this.#meta = meta;
    } else {
      // Another process has taken the view further: what it has counts.
      await this.#load();
    }
  }

  /** Makes one page of several, bucket by bucket: a search looks into each page of a bucket. */
  async #merge(count: number): Promise<void> {
    const { merged: first } = this.#meta;
    const chunks = Array.from({ length: count }, (_, index) => first + index);
    const entries: ViewEntry[] = [];
    for (let bucket = 0; bucket < BUCKETS; bucket++) {
      const keys = chunks.map((chunk) => keyOf(PAGE, [bucket], chunk));
      const pages = keys.flatMap((key) => this.#store.get(key) ?? []);
      for (const key of keys) entries.push({ key, value: undefined });
      // Under the key of the last one it is behind all that were merged before.
      if (pages.length > 0) entries.push({ key: keys.at(-1) as Uint8Array, value: mergePages(pages) });
    }
    await this.#commit({ ...this.#meta, merged: first + chunks.length }, entries);
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
    throw new HeadwaterError("LogDamaged", "the index of the log does not fit together", {
      hint: "It is no part of the log: --rebuild makes it anew.",
    });
  }
}

const NOTHING = { events: 0, chunks: 0, merged: 0, streams: [] as readonly string[], level: 0 };
const NO_TERMS: EventTerms = { terms: new Set(), level: 0 };

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
