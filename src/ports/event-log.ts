import type { Position } from "../core/position.ts";

/** An event as it is offered to a log. */
export interface NewEvent {
  /** UUID, lower case. The same id at the same place is the same event: see {@link EventLog.append}. */
  readonly id: string;
  /** The event's type, such as `StepsRecorded`; at most 128 characters. */
  readonly type: string;
  /** The event itself; the log never looks into it. */
  readonly data: Uint8Array;
  /** A derived copy for people and tools; the log never looks into it. */
  readonly metadata: Uint8Array;
}

/** An event as a log gives it back. The byte arrays may be shared between readers: never write to them. */
export interface RecordedEvent extends NewEvent {
  readonly stream: string;
  /** Dense within the stream, from 0. */
  readonly revision: number;
  /** Strictly increasing over the whole log, in the order of commit. */
  readonly position: Position;
  /** When the store took it, in milliseconds since 1970. For people: nothing may be decided by it. */
  readonly created: number;
}

/**
 * What the caller believes of the stream. A number is the exact revision of its last event. `no-stream`: the
 * stream was never written, or was deleted (not tombstoned). `stream-exists`: it has been written and is not
 * deleted. `any` checks nothing, and repeats are then not found.
 */
export type ExpectedRevision = number | "no-stream" | "stream-exists" | "any";

/** One append to one stream. */
export interface Append {
  readonly stream: string;
  readonly expected: ExpectedRevision;
  /**
   * At least one and at most `LIMITS.appendEvents`, together at most `LIMITS.appendBytes` of data, metadata and types
   * (two bytes a character).
   */
  readonly events: readonly NewEvent[];
}

/** What an append answers. For a repeated append: what the first one answered. */
export interface Appended {
  /** Of the last event appended. */
  readonly revision: number;
  readonly position: Position;
}

export type Direction = "forwards" | "backwards";

/**
 * Which streams of a log. A whole name, or prefixes that end in `.` or `_` (`steps_orders.`, `steps_`), of
 * which one has to fit. Without either: all of them.
 */
export type StreamFilter =
  | { readonly stream: string }
  | { readonly prefixes: readonly string[] }
  | { readonly everything: true };

export interface ReadOptions {
  readonly direction?: Direction;
  /** Forwards: the first revision to read, 0 if absent. Backwards: the last one, the stream's end if absent. */
  readonly from?: number;
  /** Events at most; no bound if absent. */
  readonly limit?: number;
  /**
   * Who reads has got an event that refers to these: all of them were there, and none is ever changed. A log may give
   * what it still has of them from before, also where they have been let go of since.
   */
  readonly referred?: boolean;
  readonly signal?: AbortSignal;
}

export interface ReadAllOptions {
  readonly direction?: Direction;
  /** Forwards: inclusive, the start if absent. Backwards: exclusive, the end if absent. */
  readonly from?: Position;
  readonly filter?: StreamFilter;
  readonly limit?: number;
  readonly signal?: AbortSignal;
}

export interface SubscribeOptions {
  /**
   * Who subscribes reads what the events refer to, too: see {@link ReadOptions.referred}. A log that is reached over
   * something slow may bring it along.
   */
  readonly along?: boolean;
  /** Aborting it ends the iteration without an error. */
  readonly signal?: AbortSignal;
}

/** Events of a stream that follow one another. */
export interface StreamRange {
  readonly stream: string;
  /** Revision of the first. */
  readonly from: number;
  readonly count: number;
}

/** What a subscription yields. */
export type SubscriptionMessage =
  /** One or more events, in order, each exactly once. */
  | { readonly kind: "events"; readonly events: readonly RecordedEvent[] }
  /**
   * All that was committed before the subscriber got here has been yielded; what follows is live. Comes again each
   * time a subscriber had fallen behind.
   */
  | { readonly kind: "caught-up" }
  /** A filter let nothing pass for a while; a later subscription may go on after this position. */
  | { readonly kind: "progress"; readonly position: Position };

/** What a store knows of a stream. */
export interface StreamInfo {
  readonly stream: string;
  /** The first revision that a read returns, or the next one to be written if none does. */
  readonly firstRevision: number;
  /** The last revision ever written; deletion and truncation do not change it. */
  readonly lastRevision: number;
  readonly deleted: boolean;
  readonly tombstoned: boolean;
  /** Data and metadata of the readable events. `undefined`: this store cannot tell without reading them. */
  readonly bytes: number | undefined;
  /** Store time of the first and last readable event, milliseconds since 1970. */
  readonly firstCreated: number | undefined;
  readonly lastCreated: number | undefined;
}

/** A stream's own settings. Headwater sets `truncateBefore` only; the rest is honoured for other writers. */
export interface StreamMetadata {
  /** Revisions below this are not read any more. */
  readonly truncateBefore?: number;
  /** Only the last so many events are read. */
  readonly maxCount?: number;
  /** Only events younger than this are read. */
  readonly maxAgeSeconds?: number;
}

/** How much a log holds. */
export interface LogSize {
  /** Position of the last event; `START` if there is none. */
  readonly position: Position;
  /** Bytes that the store takes on its medium. */
  readonly bytes: number;
}

/** Something that whoever opened a log should hear of while it is open. */
export interface LogNotice {
  /** What is asked of the log has to wait, for a reason that need not pass by itself. */
  readonly waiting: boolean;
  /** What it waits for and what can be done, or that it goes on. */
  readonly message: string;
}

/**
 * The event log: the only channel between the parts of a pipeline, and its provenance.
 *
 * Guarantees, held by every adapter and by the contract suite in test/contract/event-log.ts:
 * - **Durable**: when `append` has answered, the events survive the loss of the process and of power.
 * - **Ordered**: positions are given in the order of commit, over all streams. If an event is durable, all events
 *   at lower positions are. Readers never see an event before one at a lower position.
 * - **Fenced**: of two appends that expect the same exact revision, at most one succeeds; the other gets
 *   `WrongExpectedRevision`.
 * - **Repeatable**: an append with an exact or `no-stream` expectation whose event ids are those already at
 *   that place answers as the first time did and writes nothing.
 * - **Shared**: several processes may have the log open; their events are seen within 50 ms.
 *
 * Errors are {@link HeadwaterError}s: `WrongExpectedRevision`, `StreamNotFound` (missing or soft-deleted),
 * `StreamTombstoned`, `AppendTooLarge`, `BadName` (a stream's name that cannot be: empty, too long, or beginning
 * with `$`), `BadUsage` (an append without events and the like), `LogUnavailable`, `LogFull`, `LogDamaged`,
 * `LogClosed`.
 */
export interface EventLog {
  /** UUID of this log, given when it was made; part of every digest chain. */
  readonly id: string;

  /** Appends all of `events` or none. */
  append(stream: string, expected: ExpectedRevision, events: readonly NewEvent[]): Promise<Appended>;

  /**
   * Several appends, each visible only after those before it. Not a transaction: the first one that fails
   * rejects the call with its error, none after it is made, and those before it may have been made.
   */
  appendInOrder(appends: readonly Append[]): Promise<readonly Appended[]>;

  /**
   * The events of one stream, as it was when reading began. Aborting ends the iteration without an error. Fails with `StreamNotFound`, or `StreamTombstoned`; a truncated stream is empty.
   */
  read(stream: string, options?: ReadOptions): AsyncIterable<RecordedEvent>;

  /** The events of all streams, in the order of commit. Ignores truncation and deletion until a scavenge. */
  readAll(options?: ReadAllOptions): AsyncIterable<RecordedEvent>;

  /**
   * The events of one stream from revision `from` on, and then those still to come. A stream that does not
   * exist yet is waited for; a tombstoned one is `StreamTombstoned`. Does not end by itself.
   */
  subscribe(stream: string, from: number, options?: SubscribeOptions): AsyncIterable<SubscriptionMessage>;

  /** The events after position `after` (exclusive) that pass the filter, and then those still to come. */
  subscribeAll(
    filter: StreamFilter,
    after: Position,
    options?: SubscribeOptions,
  ): AsyncIterable<SubscriptionMessage>;

  /** What is known of one stream; `undefined` if it was never written. */
  streamInfo(stream: string): Promise<StreamInfo | undefined>;

  /** All streams that pass the filter, in the order of their names. */
  streams(filter?: StreamFilter): AsyncIterable<StreamInfo>;

  getMetadata(stream: string): Promise<StreamMetadata>;
  /** Of a deleted stream a store may refuse it with `StreamNotFound`; nor need settings outlive a deletion. */
  setMetadata(stream: string, metadata: StreamMetadata): Promise<void>;

  /**
   * Hides the stream; its next append revives it, and revisions go on where they were. Of a stream that was never
   * written: `StreamNotFound`, as with {@link EventLog.tombstone}.
   */
  delete(stream: string, expected: ExpectedRevision): Promise<void>;
  /** Ends the stream for ever. */
  tombstone(stream: string, expected: ExpectedRevision): Promise<void>;

  /**
   * Makes the space of what truncation and deletion let go usable again. Answers how many bytes, and how many events
   * if the store counts them.
   */
  scavenge(): Promise<{ readonly events: number | undefined; readonly bytes: number }>;

  /** A consistent copy of the log in the folder `target`, while it is written to. Not every store can. */
  backup?(target: string): Promise<void>;

  size(): Promise<LogSize>;

  /** Ends reads and subscriptions under way with `LogClosed`, waits for appends under way, lets go of files. */
  close(): Promise<void>;
}
