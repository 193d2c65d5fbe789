import type { Clock } from "../../ports/clock.ts";
import type { Direction, RecordedEvent, StreamFilter } from "../../ports/event-log.ts";
import { filterTest, firstReadable } from "../../ports/event-log-rules.ts";
import { BOUNDS } from "./bounds.ts";
import { damaged, decodeEvent, eventKey, type Head, readEventKey } from "./format.ts";
import type { Store } from "./store.ts";

/** A part of a stream or of the log, read from one snapshot. */
export interface Chunk {
  readonly events: readonly RecordedEvent[];
  /** Where the next chunk goes on: a revision or a position, inclusive in the direction of the read. */
  readonly next: number;
  readonly done: boolean;
}

/**
 * Reads in chunks, each from one snapshot and within one turn of the event loop: a snapshot that is held for
 * longer would keep the space of everything that is let go meanwhile. Whoever calls has refreshed the store.
 */
export class Reader {
  readonly #store: Store;
  readonly #clock: Clock;
  /** Names by stream id: an id is never given twice. */
  readonly #names = new Map<number, string>();

  constructor(store: Store, clock: Clock) {
    this.#store = store;
    this.#clock = clock;
  }

  /** The first revision of a stream that may be read now; the one after the last if there is none. */
  firstReadable(head: Head): number {
    const first = firstReadable(head, this.#clock.now(), (from, time) => this.#firstSince(head, from, time));
    return Math.max(first, Math.min(head.keptFrom, head.lastRevision + 1));
  }

  /** Events of one stream from revision `from` to `to`, both inclusive, at most `limit`. */
  stream(
    stream: string,
    head: Head,
    from: number,
    to: number,
    direction: Direction,
    limit: number,
    mostBytes: number = BOUNDS.chunkBytes,
  ): Chunk {
    const events: RecordedEvent[] = [];
    const step = direction === "forwards" ? 1 : -1;
    let revision = from;
    let bytes = 0;
    while ((to - revision) * step >= 0 && events.length < limit) {
      if (events.length >= BOUNDS.chunkEvents || bytes >= mostBytes) {
        return { events, next: revision, done: false };
      }
      const entry = this.#store.indexEntry(head.id, revision);
      // Scavenged; only what is below the first readable revision ever is.
      if (entry !== undefined) {
        const event = this.#store.event(entry.position, head.id, stream);
        bytes += event.data.length + event.metadata.length;
        events.push(event);
      }
      revision += step;
    }
    return { events, next: revision, done: true };
  }

  /** Events of all streams from position `from` to `to`, both inclusive, that pass the filter, at most `limit`. */
  all(filter: Filter, from: number, to: number, direction: Direction, limit: number): Chunk {
    if (direction === "forwards" ? from > to : from < to) return { events: [], next: from, done: true };
    if (filter.stream !== undefined) return this.#ofOneStream(filter.stream, from, to, direction, limit);
    return direction === "forwards"
      ? this.#forwards(filter, from, to, limit)
      : this.#backwards(filter, from, to, limit);
  }

  #forwards(filter: Filter, from: number, to: number, limit: number): Chunk {
    const range = { start: eventKey(from, 0), end: eventKey(to + 1, 0), limit: BOUNDS.chunkKeys };
    return this.#scan(filter, range, from, to, limit, 1);
  }

  #backwards(filter: Filter, from: number, to: number, limit: number): Chunk {
    // Reversed, `end` is exclusive at the low side: no stream has the id 0.
    const range = {
      start: eventKey(from, 0xffffffff),
      end: eventKey(to, 0),
      limit: BOUNDS.chunkKeys,
      reverse: true,
    };
    return this.#scan(filter, range, from, to, limit, -1);
  }

  #scan(
    filter: Filter,
    range: { start: Buffer; end: Buffer; limit: number; reverse?: boolean },
    from: number,
    to: number,
    limit: number,
    step: 1 | -1,
  ): Chunk {
    const events: RecordedEvent[] = [];
    let bytes = 0;
    let keys = 0;
    let next = from;
    for (const key of this.#store.environment.events.getKeys(range)) {
      const { position, streamId } = readEventKey(key);
      if (events.length >= limit) break;
      if (events.length >= BOUNDS.chunkEvents || bytes >= BOUNDS.chunkBytes) {
        return { events, next: position, done: false };
      }
      keys += 1;
      next = position + step;
      const name = this.#names.get(streamId);
      const passes =
        filter.passes(streamId) ?? (name === undefined ? undefined : filter.decide(streamId, name));
      if (passes === false) continue;
      const value = this.#store.eventValue(position, streamId);
      if (value === undefined) continue;
      const event = decodeEvent(eventKey(position, streamId), value, name);
      if (name === undefined) this.#names.set(streamId, event.stream);
      if (passes ?? filter.decide(streamId, event.stream)) {
        // They are put and removed together. Who reads all is to see, too, where reading a stream would go wrong.
        if (this.#store.indexEntry(streamId, event.revision)?.position !== position) {
          throw damaged(`the place of ${event.stream}@${event.revision}`);
        }
        bytes += event.data.length + event.metadata.length;
        events.push(event);
      }
    }
    if (keys >= range.limit && events.length < limit) return { events, next, done: false };
    return { events, next: events.length >= limit ? next : to + step, done: true };
  }

  #ofOneStream(stream: string, from: number, to: number, direction: Direction, limit: number): Chunk {
    const head = this.#store.head(stream);
    const step = direction === "forwards" ? 1 : -1;
    if (head === undefined || head.lastRevision < 0) return { events: [], next: to + step, done: true };
    const events: RecordedEvent[] = [];
    let bytes = 0;
    let next = from;
    let revision = this.#firstAt(head, direction === "forwards" ? from : from + 1);
    if (direction === "backwards") revision -= 1;
    for (; revision >= head.keptFrom && revision <= head.lastRevision; revision += step) {
      const entry = this.#store.indexEntry(head.id, revision);
      if (entry === undefined) continue;
      if ((to - entry.position) * step < 0 || events.length >= limit) break;
      if (events.length >= BOUNDS.chunkEvents || bytes >= BOUNDS.chunkBytes) {
        return { events, next: entry.position, done: false };
      }
      const event = this.#store.event(entry.position, head.id, stream);
      bytes += event.data.length + event.metadata.length;
      events.push(event);
      next = entry.position + step;
    }
    return { events, next: events.length >= limit ? next : to + step, done: true };
  }

  /** The first revision of a stream whose event is not before `position`. */
  #firstAt(head: Head, position: number): number {
    return this.#search(head, head.keptFrom, (entry) => entry.position >= position);
  }

  #firstSince(head: Head, from: number, time: number): number {
    return this.#search(head, Math.max(from, head.keptFrom), (entry) => entry.created >= time);
  }

  /** The first revision from `from` on that is `enough`, if all after one that is are, too. */
  #search(
    head: Head,
    from: number,
    enough: (entry: { position: number; created: number }) => boolean,
  ): number {
    let low = from;
    let high = head.lastRevision + 1;
    while (low < high) {
      const middle = Math.floor((low + high) / 2);
      const entry = this.#store.indexEntry(head.id, middle);
      if (entry !== undefined && enough(entry)) high = middle;
      else low = middle + 1;
    }
    return low;
  }
}

/** A filter that remembers its answers by stream id, so that a scan needs no names. */
export class Filter {
  /** Set if exactly one stream is meant. */
  readonly stream: string | undefined;
  readonly test: (stream: string) => boolean;
  readonly #known: Map<number, boolean> | undefined;

  constructor(filter: StreamFilter = { everything: true }) {
    this.test = filterTest(filter);
    this.stream = "stream" in filter ? filter.stream : undefined;
    this.#known = "everything" in filter ? undefined : new Map();
  }

  /** `undefined`: not known yet; the name decides. */
  passes(streamId: number): boolean | undefined {
    return this.#known === undefined ? true : this.#known.get(streamId);
  }

  decide(streamId: number, stream: string): boolean {
    const passes = this.test(stream);
    this.#known?.set(streamId, passes);
    return passes;
  }
}
