import { type Position, START } from "../../core/position.ts";
import type { Clock } from "../../ports/clock.ts";
import type {
  Append,
  Appended,
  ExpectedRevision,
  RecordedEvent,
  StreamInfo,
  StreamMetadata,
} from "../../ports/event-log.ts";
import {
  checkState,
  firstReadable,
  judgeAppend,
  notFoundError,
  type StreamState,
  tombstonedError,
} from "../../ports/event-log-rules.ts";

/** A stream; what was scavenged leaves `undefined`. */
export interface MemoryStream extends StreamState {
  readonly events: (RecordedEvent | undefined)[];
  lastRevision: number;
  deleted: boolean;
  tombstoned: boolean;
  bornAt: number;
  metadata: StreamMetadata;
}

/** What all handles of one log in memory share. Positions are numbered from 1. */
export class MemoryStore {
  readonly #clock: Clock;
  readonly #streams = new Map<string, MemoryStream>();
  readonly #all: (RecordedEvent | undefined)[] = [];
  readonly #listeners = new Set<() => void>();
  #bytes = 0;

  constructor(clock: Clock) {
    this.#clock = clock;
  }

  get lastPosition(): number {
    return this.#all.length;
  }

  get end(): Position {
    return this.#all.length === 0 ? START : toPosition(this.#all.length);
  }

  get bytes(): number {
    return this.#bytes;
  }

  stream(name: string): MemoryStream | undefined {
    return this.#streams.get(name);
  }

  names(): string[] {
    return [...this.#streams.keys()];
  }

  at(position: number): RecordedEvent | undefined {
    return this.#all[position - 1];
  }

  /** All events from a position on. */
  range(from: number): RecordedEvent[] {
    return this.#all.slice(Math.max(0, from - 1)).filter((event) => event !== undefined);
  }

  /** The first position that is not before `position`. */
  firstAt(position: Position): number {
    return bounded(position.commit) + (position.prepare > position.commit ? 1 : 0);
  }

  /** The first position that is after `position`. */
  firstAfter(position: Position): number {
    return bounded(position.commit) + (position.prepare >= position.commit ? 1 : 0);
  }

  append(append: Append): Appended {
    const stream = this.#streamOrNew(append.stream);
    const repeated = judgeAppend(append, stream, (revision) => stream.events[revision]?.id);
    if (repeated !== undefined) {
      return { revision: repeated, position: stream.events[repeated]?.position ?? START };
    }
    const created = this.#clock.now();
    for (const { id, type, data, metadata } of append.events) {
      const event = {
        id,
        type,
        data: Uint8Array.from(data),
        metadata: Uint8Array.from(metadata),
        stream: append.stream,
        revision: stream.lastRevision + 1,
        position: toPosition(this.#all.length + 1),
        created,
      };
      stream.lastRevision = event.revision;
      stream.events[event.revision] = event;
      this.#all.push(event);
      this.#bytes += bytesOf(event);
    }
    stream.deleted = false;
    return { revision: stream.lastRevision, position: this.end };
  }

  setMetadata(name: string, { truncateBefore, maxCount, maxAgeSeconds }: StreamMetadata): void {
    const stream = this.#streamOrNew(name);
    if (stream.tombstoned) throw tombstonedError(name);
    stream.metadata = {
      ...(truncateBefore !== undefined && { truncateBefore }),
      ...(maxCount !== undefined && { maxCount }),
      ...(maxAgeSeconds !== undefined && { maxAgeSeconds }),
    };
  }

  remove(name: string, expected: ExpectedRevision, forEver: boolean): void {
    const stream = this.#streams.get(name);
    if (stream === undefined || stream.lastRevision < 0) throw notFoundError(name);
    checkState(name, expected, stream);
    stream.deleted = true;
    stream.tombstoned = forEver;
    stream.bornAt = stream.lastRevision + 1;
  }

  firstReadable(stream: MemoryStream): number {
    const first = firstReadable(stream, this.#clock.now(), (from, time) => {
      const found = stream.events.findIndex(
        (event, revision) => revision >= from && event !== undefined && event.created >= time,
      );
      return found === -1 ? stream.events.length : found;
    });
    const kept = stream.events.findIndex((event) => event !== undefined);
    return Math.max(first, kept === -1 ? stream.events.length : kept);
  }

  info(name: string): StreamInfo | undefined {
    const stream = this.#streams.get(name);
    if (stream === undefined || stream.lastRevision < 0) return undefined;
    const firstRevision = this.firstReadable(stream);
    const events = stream.events.slice(firstRevision).filter((event) => event !== undefined);
    return {
      stream: name,
      firstRevision,
      lastRevision: stream.lastRevision,
      deleted: stream.deleted,
      tombstoned: stream.tombstoned,
      bytes: events.reduce((sum, event) => sum + bytesOf(event), 0),
      firstCreated: events.at(0)?.created,
      lastCreated: events.at(-1)?.created,
    };
  }

  scavenge(): { readonly events: number; readonly bytes: number } {
    const before = this.#bytes;
    let removed = 0;
    for (const stream of this.#streams.values()) {
      const first = this.firstReadable(stream);
      for (const event of stream.events.slice(0, first)) {
        if (event === undefined) continue;
        stream.events[event.revision] = undefined;
        this.#all[Number(event.position.commit) - 1] = undefined;
        this.#bytes -= bytesOf(event);
        removed += 1;
      }
    }
    return { events: removed, bytes: before - this.#bytes };
  }

  /** Calls `listener` after every append; call what it returns to be forgotten. */
  listen(listener: () => void): () => void {
    this.#listeners.add(listener);
    return () => this.#listeners.delete(listener);
  }

  notify(): void {
    for (const listener of this.#listeners) listener();
  }

  #streamOrNew(name: string): MemoryStream {
    const known = this.#streams.get(name);
    if (known !== undefined) return known;
    const made: MemoryStream = {
      events: [],
      lastRevision: -1,
      deleted: false,
      tombstoned: false,
      bornAt: 0,
      metadata: {},
    };
    this.#streams.set(name, made);
    return made;
  }
}

function bytesOf(event: RecordedEvent): number {
  return event.data.length + event.metadata.length;
}

function bounded(commit: bigint): number {
  return Number(commit < MOST ? commit : MOST);
}

const MOST = 2n ** 48n;

function toPosition(position: number): Position {
  const commit = BigInt(position);
  return { commit, prepare: commit };
}
