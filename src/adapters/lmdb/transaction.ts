import type { NewEvent, RecordedEvent } from "../../ports/event-log.ts";
import {
  encodeHead,
  encodeIndexEntry,
  eventId,
  eventKey,
  type Head,
  indexKey,
  nameKey,
  placeEvent,
  recordedEvent,
  type Tail,
} from "./format.ts";
import type { Store } from "./store.ts";

/** Streams as the last commit of this writer left them; of no use once another process has written. */
export class HeadCache {
  readonly #heads = new Map<string, Head>();
  #generation = -1;

  /** Forgets everything if someone else has committed after `generation` was ours. */
  check(generation: number): void {
    if (generation !== this.#generation || this.#heads.size > HEADS_MOST) this.clear();
  }

  get(stream: string): Head | undefined {
    return this.#heads.get(stream);
  }

  keep(heads: ReadonlyMap<string, Head>, generation: number): void {
    for (const [stream, head] of heads) this.#heads.set(stream, head);
    this.#generation = generation;
  }

  clear(): void {
    this.#heads.clear();
    this.#generation = -1;
  }
}

const HEADS_MOST = 16_384;

/**
 * What one commit changes. LMDB cannot take back what a callback has put before it threw; so events and index
 * entries are put first, and nobody looks at them until the stream's head and the tail, put last by
 * {@link Transaction.finish}, say that they are there. What a failed job leaves behind is overwritten.
 */
export class Transaction {
  readonly created: number;
  /** Position of the last event before this commit. */
  readonly before: number;
  /** Events appended, in order. */
  readonly events: RecordedEvent[] = [];
  readonly #store: Store;
  readonly #cache: HeadCache;
  readonly #changed = new Map<string, Head>();
  #tail: Tail;
  readonly #eventKey = Buffer.alloc(12);
  readonly #indexKey = Buffer.alloc(12);

  /** To be made inside lmdb's transaction callback. */
  constructor(store: Store, cache: HeadCache, created: number) {
    this.#store = store;
    this.#cache = cache;
    this.created = created;
    this.#tail = store.tail();
    this.before = this.#tail.position;
    cache.check(this.#tail.generation);
  }

  get position(): number {
    return this.#tail.position;
  }

  head(stream: string): Head | undefined {
    return this.#changed.get(stream) ?? this.#cache.get(stream) ?? this.#store.head(stream);
  }

  /** The stream's head, or one for a stream that was never written. */
  headOrNew(stream: string): Head {
    return this.head(stream) ?? { id: this.#tail.nextStreamId, ...NEVER_WRITTEN };
  }

  putHead(stream: string, head: Head): void {
    this.#changed.set(stream, head);
    if (head.id === this.#tail.nextStreamId) this.#tail = { ...this.#tail, nextStreamId: head.id + 1 };
  }

  /** The id of an event, `undefined` if it was scavenged. */
  idAt(head: Head, revision: number): string | undefined {
    const entry = this.#store.indexEntry(head.id, revision);
    const value = entry && this.#store.eventValue(entry.position, head.id);
    return value && eventId(value);
  }

  /** Puts `events`, whose values are `values`, at the stream's end. */
  append(stream: string, head: Head, events: readonly NewEvent[], values: readonly Buffer[]): void {
    const { index, events: table } = this.#store.environment;
    const { created } = this;
    const recorded: RecordedEvent[] = [];
    let { lastRevision: revision, totalBytes } = head;
    let { position } = this.#tail;
    for (const [i, event] of events.entries()) {
      const value = values[i];
      if (value === undefined) throw new RangeError("an event without its value");
      revision += 1;
      position += 1;
      const key = eventKey(position, head.id, this.#eventKey);
      placeEvent(key, value, head.id, revision, created);
      if (!table.putSync(key, value, APPEND)) table.putSync(key, value);
      const entryKey = indexKey(head.id, revision, this.#indexKey);
      index.putSync(entryKey, encodeIndexEntry(entryKey, { position, created, bytesBefore: totalBytes }));
      totalBytes += event.data.length + event.metadata.length;
      recorded.push(recordedEvent(event, stream, value, { revision, position, created }));
    }
    this.putHead(stream, { ...head, deleted: false, lastRevision: revision, totalBytes });
    this.#tail = { ...this.#tail, position };
    this.events.push(...recorded);
  }

  /** Removes the events of a stream from revision `from` to below `to`; answers how many there were. */
  remove(head: Head, from: number, to: number): number {
    const { index, events } = this.#store.environment;
    let removed = 0;
    for (let revision = from; revision < to; revision += 1) {
      const entry = this.#store.indexEntry(head.id, revision);
      if (entry === undefined) continue;
      events.removeSync(eventKey(entry.position, head.id, this.#eventKey));
      index.removeSync(indexKey(head.id, revision, this.#indexKey));
      removed += 1;
    }
    return removed;
  }

  /** Puts what changed of streams, and the tail. */
  finish(): void {
    if (this.#changed.size === 0) return;
    const { streams } = this.#store.environment;
    for (const [stream, head] of this.#changed) {
      const key = nameKey(stream);
      streams.putSync(key, encodeHead(key, head));
    }
    this.#tail = { ...this.#tail, generation: this.#tail.generation + 1 };
    this.#store.putTail(this.#tail);
  }

  /** To be called once the commit is durable. */
  committed(): void {
    if (this.#changed.size > 0) this.#cache.keep(this.#changed, this.#tail.generation);
  }
}

const APPEND = { append: true };

const NEVER_WRITTEN = {
  lastRevision: -1,
  totalBytes: 0,
  keptFrom: 0,
  bornAt: 0,
  deleted: false,
  tombstoned: false,
  metadata: {},
} as const;
