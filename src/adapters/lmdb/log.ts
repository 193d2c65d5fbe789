import { stat } from "node:fs/promises";
import { HeadwaterError } from "../../core/errors.ts";
import { type Position, START } from "../../core/position.ts";
import type { Clock } from "../../ports/clock.ts";
import type {
  Append,
  Appended,
  EventLog,
  ExpectedRevision,
  LogNotice,
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
} from "../../ports/event-log-rules.ts";
import type { Ids } from "../../ports/ids.ts";
import { backUp } from "./backup.ts";
import { dataFile } from "./data-file.ts";
import { fault, isPanic } from "./faults.ts";
import { Feed } from "./feed.ts";
import { fromPosition, type Head, toPosition } from "./format.ts";
import { describeStream, hasGone, streamNames } from "./info.ts";
import { appendsJob, deleteJob, type Job, metadataJob, scavengeJob } from "./jobs.ts";
import { LockWatch } from "./lock-watch.ts";
import { Filter, Reader } from "./reader.ts";
import { readAllChunks, readStreamChunks } from "./reading.ts";
import { RecentEvents } from "./recent.ts";
import { acquireStore, type Store } from "./store.ts";
import { type SubscriptionContext, subscribeFiltered, subscribeStream } from "./subscription.ts";
import { nextTurn } from "./turn.ts";
import { Writer, type WriterOptions } from "./writer.ts";

export interface LmdbLogOptions {
  /** The log's folder. Nothing else may be kept in it. */
  readonly dir: string;
  readonly clock: Clock;
  readonly ids: Ids;
  /** Makes the folder and the log if they are not there; the default. */
  readonly create?: boolean;
  /** Bytes that the log may take; without it, what its medium has. */
  readonly mapSizeBytes?: number;
  /** Only reads and subscriptions; the log has to exist. */
  readonly readOnly?: boolean;
  /** Its writer makes room for those of other processes, and of this one, that write to the same log. */
  readonly courteous?: boolean;
  /** Told when the log keeps its writers waiting, and why. */
  readonly onNotice?: (notice: LogNotice) => void;
}

/**
 * Opens the log in a folder. Several processes may have it open, and one process several times, but only one of
 * a process's threads. Throws `LogMissing`, `LogUnavailable`, `LogForeign`, `LogTooNew`, `LogDamaged` or `LogFull`.
 */
export async function openLmdbLog(options: LmdbLogOptions): Promise<EventLog> {
  const { dir, clock, ids, create = true, readOnly = false } = options;
  const watch = (place: string) =>
    new LockWatch({ dir: place, clock, onNotice: options.onNotice ?? (() => {}) });
  const store = await acquireStore({ dir, clock, ids, create, readOnly, watch });
  return new LmdbLog(store, clock, watch(store.dir), {
    bytesMost: options.mapSizeBytes ?? Number.POSITIVE_INFINITY,
    courteous: options.courteous ?? false,
    readOnly,
  });
}

class LmdbLog implements EventLog {
  readonly id: string;
  readonly #store: Store;
  readonly #reader: Reader;
  readonly #recent = new RecentEvents();
  readonly #feed: Feed;
  readonly #writer: Writer;
  readonly #context: SubscriptionContext;
  readonly #wakes = new Set<() => void>();
  readonly #readOnly: boolean;
  #failure: HeadwaterError | undefined;
  #closing: Promise<void> | undefined;

  constructor(
    store: Store,
    clock: Clock,
    lockWatch: LockWatch,
    { readOnly, ...writing }: Pick<WriterOptions, "bytesMost" | "courteous"> & { readonly readOnly: boolean },
  ) {
    this.id = store.id;
    this.#store = store;
    this.#readOnly = readOnly;
    this.#reader = new Reader(store, clock);
    this.#feed = new Feed({
      store,
      reader: this.#reader,
      clock,
      recent: this.#recent,
      onFailure: (error) => this.#fail(error),
    });
    this.#writer = new Writer({
      store,
      clock,
      lockWatch,
      ...writing,
      onCommit: (events, before) => this.#feed.committed(events, before),
    });
    this.#context = {
      store,
      reader: this.#reader,
      feed: this.#feed,
      check: () => this.#check(),
      guard: (read) => this.#guard(read),
      onClose: (wake) => {
        this.#wakes.add(wake);
        return () => this.#wakes.delete(wake);
      },
    };
  }

  async append(stream: string, expected: ExpectedRevision, events: readonly NewEvent[]): Promise<Appended> {
    const [made] = await this.appendInOrder([{ stream, expected, events }]);
    if (made !== undefined) return made;
    throw new HeadwaterError("Internal", "an append without an answer");
  }

  async appendInOrder(appends: readonly Append[]): Promise<readonly Appended[]> {
    this.#check();
    for (const append of appends) checkAppend(append);
    if (appends.length === 0) return [];
    const { made, failed } = await this.#write(appendsJob(appends, this.#store));
    if (failed !== undefined) throw failed;
    return made;
  }

  async *read(stream: string, options: ReadOptions = {}): AsyncGenerator<RecordedEvent, void, undefined> {
    if (options.from !== undefined) checkRevision(options.from, stream);
    for await (const events of readStreamChunks(this.#context, this.#recent, stream, options)) {
      for (const event of events) {
        this.#check();
        if (options.signal?.aborted) return;
        yield event;
      }
    }
  }

  async *readAll(options: ReadAllOptions = {}): AsyncGenerator<RecordedEvent, void, undefined> {
    for await (const events of readAllChunks(this.#context, options)) {
      for (const event of events) {
        this.#check();
        if (options.signal?.aborted) return;
        yield event;
      }
    }
  }

  subscribe(
    stream: string,
    from: number,
    options: SubscribeOptions = {},
  ): AsyncIterable<SubscriptionMessage> {
    checkRevision(from, stream);
    return subscribeStream(this.#context, stream, from, options);
  }

  subscribeAll(
    filter: StreamFilter,
    after: Position,
    options: SubscribeOptions = {},
  ): AsyncIterable<SubscriptionMessage> {
    return subscribeFiltered(this.#context, new Filter(filter), fromPosition(after), options);
  }

  async streamInfo(stream: string): Promise<StreamInfo | undefined> {
    await this.#refresh();
    return this.#guard(() => describeStream(this.#store, this.#reader, stream));
  }

  async *streams(filter?: StreamFilter): AsyncGenerator<StreamInfo, void, undefined> {
    const { test } = new Filter(filter);
    for await (const names of this.#names()) {
      for (const name of names.filter(test)) {
        const info = await this.streamInfo(name);
        if (info !== undefined) yield info;
      }
    }
  }

  async getMetadata(stream: string): Promise<StreamMetadata> {
    await this.#refresh();
    const head = this.#guard(() => this.#store.head(stream));
    if (head === undefined) return {};
    const truncateBefore = Math.max(head.bornAt, head.metadata.truncateBefore ?? 0);
    return truncateBefore === 0 ? head.metadata : { ...head.metadata, truncateBefore };
  }

  async setMetadata(stream: string, metadata: StreamMetadata): Promise<void> {
    checkMetadata(stream, metadata);
    await this.#write(metadataJob(stream, metadata));
  }

  delete(stream: string, expected: ExpectedRevision): Promise<void> {
    return this.#remove(stream, expected, false);
  }

  tombstone(stream: string, expected: ExpectedRevision): Promise<void> {
    return this.#remove(stream, expected, true);
  }

  async scavenge(): Promise<{ readonly events: number; readonly bytes: number }> {
    let events = 0;
    let bytes = 0;
    this.#checkWritable();
    const first = (head: Head) => this.#reader.firstReadable(head);
    for await (const names of this.#names()) {
      for (const name of this.#guard(() =>
        names.filter((name) => hasGone(this.#store, this.#reader, name)),
      )) {
        for (let done = false; !done; ) {
          const removed = await this.#write(scavengeJob(name, first, this.#store));
          events += removed.events;
          bytes += removed.bytes;
          done = removed.done;
        }
      }
    }
    return { events, bytes };
  }

  async backup(target: string): Promise<void> {
    await this.#refresh();
    await backUp(this.#store, target);
  }

  async size(): Promise<LogSize> {
    await this.#refresh();
    const { position } = this.#guard(() => this.#store.tail());
    const { size } = await stat(dataFile(this.#store.dir));
    return { position: position === 0 ? START : toPosition(position), bytes: size };
  }

  close(): Promise<void> {
    this.#closing ??= this.#close();
    return this.#closing;
  }

  async #close(): Promise<void> {
    this.#feed.close();
    for (const wake of this.#wakes) wake();
    await this.#writer.close();
    await this.#store.release();
  }

  async #remove(stream: string, expected: ExpectedRevision, forEver: boolean): Promise<void> {
    checkStreamName(stream);
    checkExpected(expected, stream);
    await this.#write(deleteJob(stream, expected, forEver));
  }

  async *#names(): AsyncGenerator<readonly string[], void, undefined> {
    for (let after: string | undefined; ; ) {
      await this.#refresh();
      const names = this.#guard(() => streamNames(this.#store, after));
      if (names.length === 0) return;
      yield names;
      after = names.at(-1);
      await nextTurn();
    }
  }

  async #write<T>(job: Job<T>): Promise<T> {
    this.#checkWritable();
    return this.#writer.submit(job);
  }

  #checkWritable(): void {
    this.#check();
    if (!this.#readOnly) return;
    throw new HeadwaterError("LogUnavailable", "the log was opened for reading only", {
      where: this.#store.dir,
    });
  }

  async #refresh(): Promise<void> {
    this.#check();
    await this.#store.ready();
    this.#check();
    this.#guard(() => this.#store.refresh());
  }

  /** Turns what lmdb throws into an error of Headwater. */
  #guard<T>(read: () => T): T {
    try {
      return read();
    } catch (thrown) {
      throw fault(thrown, this.#store.dir);
    }
  }

  #check(): void {
    if (this.#closing !== undefined) throw closedError();
    if (this.#failure !== undefined) throw this.#failure;
  }

  #fail(error: unknown): void {
    // The writer, which may not know of it yet, opens it again: the feed's next look finds what was committed meanwhile.
    if (isPanic(error)) return;
    this.#failure ??= fault(error, this.#store.dir);
    for (const wake of this.#wakes) wake();
  }
}
