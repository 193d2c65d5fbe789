import { HeadwaterError } from "../../core/errors.ts";
import type { Position } from "../../core/position.ts";
import { START } from "../../core/position.ts";
import { compareUtf8 } from "../../core/utf8.ts";
import type { Clock } from "../../ports/clock.ts";
import type {
  Append,
  Appended,
  EventLog,
  ExpectedRevision,
  LogSize,
  NewEvent,
  ReadAllOptions,
  ReadOptions,
  RecordedEvent,
  StreamFilter,
  StreamInfo,
  StreamMetadata,
  SubscribeOptions,
  SubscriptionMessage,
} from "../../ports/event-log.ts";
import {
  checkAppend,
  checkExpected,
  checkMetadata,
  checkRevision,
  checkStreamName,
  closedError,
  filterTest,
  notFoundError,
  tombstonedError,
} from "../../ports/event-log-rules.ts";
import { MemoryStore } from "./store.ts";
import { follow } from "./subscription.ts";

export interface MemoryLogOptions {
  readonly id: string;
  readonly clock: Clock;
}

/** A log in memory, for tests and simulation: it takes no time, and its clock is the only one it knows. */
export class MemoryLog implements EventLog {
  readonly id: string;
  readonly #store: MemoryStore;
  readonly #wakes = new Set<() => void>();
  #closed = false;

  private constructor(id: string, store: MemoryStore) {
    this.id = id;
    this.#store = store;
  }

  static create(options: MemoryLogOptions): MemoryLog {
    return new MemoryLog(options.id, new MemoryStore(options.clock));
  }

  /** Another handle on the same log, as another process would have it; it is closed by itself. */
  openHandle(): MemoryLog {
    return new MemoryLog(this.id, this.#store);
  }

  async append(stream: string, expected: ExpectedRevision, events: readonly NewEvent[]): Promise<Appended> {
    const [made] = await this.appendInOrder([{ stream, expected, events }]);
    if (made === undefined) throw new HeadwaterError("Internal", "an append without an answer");
    return made;
  }

  async appendInOrder(appends: readonly Append[]): Promise<readonly Appended[]> {
    this.#check();
    for (const append of appends) checkAppend(append);
    try {
      return appends.map((append) => this.#store.append(append));
    } finally {
      this.#store.notify();
    }
  }

  async *read(stream: string, options: ReadOptions = {}): AsyncGenerator<RecordedEvent, void, undefined> {
    checkStreamName(stream);
    if (options.from !== undefined) checkRevision(options.from, stream);
    this.#check();
    const { direction = "forwards", limit = Number.POSITIVE_INFINITY, signal } = options;
    const found = this.#store.stream(stream);
    if (found?.tombstoned) throw tombstonedError(stream);
    if (found === undefined || found.lastRevision < 0 || found.deleted) throw notFoundError(stream);
    const first = this.#store.firstReadable(found);
    const last = found.lastRevision;
    const [from, to, step] =
      direction === "forwards"
        ? [Math.max(options.from ?? 0, first), last, 1]
        : [Math.min(options.from ?? last, last), first, -1];
    let left = limit;
    for (let revision = from; (to - revision) * step >= 0 && left > 0; revision += step) {
      this.#check();
      if (signal?.aborted) return;
      const event = found.events[revision];
      if (event === undefined) continue;
      left -= 1;
      yield event;
    }
  }

  async *readAll(options: ReadAllOptions = {}): AsyncGenerator<RecordedEvent, void, undefined> {
    this.#check();
    const { direction = "forwards", limit = Number.POSITIVE_INFINITY, signal } = options;
    const passes = filterTest(options.filter);
    const end = this.#store.lastPosition;
    const [from, to, step] =
      direction === "forwards"
        ? [Math.max(1, this.#store.firstAt(options.from ?? START)), end, 1]
        : [options.from === undefined ? end : Math.min(this.#store.firstAt(options.from) - 1, end), 1, -1];
    let left = limit;
    for (let position = from; (to - position) * step >= 0 && left > 0; position += step) {
      this.#check();
      if (signal?.aborted) return;
      const event = this.#store.at(position);
      if (event === undefined || !passes(event.stream)) continue;
      left -= 1;
      yield event;
    }
  }

  subscribe(
    stream: string,
    from: number,
    options: SubscribeOptions = {},
  ): AsyncIterable<SubscriptionMessage> {
    checkStreamName(stream);
    checkRevision(from, stream);
    let next = from;
    return follow(this.#subscriber(), options, () => {
      const found = this.#store.stream(stream);
      if (found?.tombstoned) throw tombstonedError(stream);
      if (found === undefined) return { events: [], heldBack: 0 };
      const events = found.events
        .slice(Math.max(next, this.#store.firstReadable(found)))
        .filter((event) => event !== undefined);
      next = Math.max(next, found.lastRevision + 1);
      return { events, heldBack: 0 };
    });
  }

  subscribeAll(
    filter: StreamFilter,
    after: Position,
    options: SubscribeOptions = {},
  ): AsyncIterable<SubscriptionMessage> {
    const passes = filterTest(filter);
    let seen = this.#store.firstAfter(after) - 1;
    return follow(this.#subscriber(), options, () => {
      const from = Math.min(seen, this.#store.lastPosition);
      seen = this.#store.lastPosition;
      const events = this.#store.range(from + 1).filter(({ stream }) => passes(stream));
      return { events, heldBack: seen - from - events.length, position: this.#store.end };
    });
  }

  async streamInfo(stream: string): Promise<StreamInfo | undefined> {
    this.#check();
    checkStreamName(stream);
    return this.#store.info(stream);
  }

  async *streams(filter?: StreamFilter): AsyncGenerator<StreamInfo, void, undefined> {
    this.#check();
    const names = this.#store.names().filter(filterTest(filter)).sort(compareUtf8);
    for (const name of names) {
      this.#check();
      const info = this.#store.info(name);
      if (info !== undefined) yield info;
    }
  }

  async getMetadata(stream: string): Promise<StreamMetadata> {
    this.#check();
    const found = this.#store.stream(stream);
    if (found === undefined) return {};
    const truncateBefore = Math.max(found.bornAt, found.metadata.truncateBefore ?? 0);
    return truncateBefore === 0 ? found.metadata : { ...found.metadata, truncateBefore };
  }

  async setMetadata(stream: string, metadata: StreamMetadata): Promise<void> {
    checkMetadata(stream, metadata);
    this.#check();
    this.#store.setMetadata(stream, metadata);
  }

  async delete(stream: string, expected: ExpectedRevision): Promise<void> {
    await this.#remove(stream, expected, false);
  }

  async tombstone(stream: string, expected: ExpectedRevision): Promise<void> {
    await this.#remove(stream, expected, true);
  }

  async scavenge(): Promise<{ readonly events: number; readonly bytes: number }> {
    this.#check();
    return this.#store.scavenge();
  }

  async size(): Promise<LogSize> {
    this.#check();
    return { position: this.#store.end, bytes: this.#store.bytes };
  }

  async close(): Promise<void> {
    this.#closed = true;
    for (const wake of this.#wakes) wake();
  }

  async #remove(stream: string, expected: ExpectedRevision, forEver: boolean): Promise<void> {
    checkStreamName(stream);
    checkExpected(expected, stream);
    this.#check();
    this.#store.remove(stream, expected, forEver);
  }

  #subscriber() {
    return {
      check: () => this.#check(),
      /** Calls `wake` whenever there may be more, and when this handle is closed. */
      listen: (wake: () => void) => {
        this.#wakes.add(wake);
        const forget = this.#store.listen(wake);
        return () => {
          this.#wakes.delete(wake);
          forget();
        };
      },
    };
  }

  #check(): void {
    if (this.#closed) throw closedError();
  }
}
