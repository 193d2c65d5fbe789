import { HeadwaterError } from "../../core/errors.ts";
import { comparePositions, END, type Position, START } from "../../core/position.ts";
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
  checkState,
  closedError,
  filterTest,
  notFoundError,
} from "../../ports/event-log-rules.ts";
import type { Ids } from "../../ports/ids.ts";
import { Appends } from "./appends.ts";
import { BOUNDS } from "./bounds.ts";
import { Catalogue } from "./catalogue.ts";
import { Connection } from "./connection.ts";
import { LOG_STREAM } from "./events.ts";
import { CallFailure, toHeadwaterError } from "./failures.ts";
import { Feeds } from "./feed.ts";
import { identify } from "./identity.ts";
import { Inbox } from "./inbox.ts";
import { Names } from "./names.ts";
import { Reads } from "./reads.ts";
import { deleteRequest, type NameFilter, tombstoneRequest } from "./requests.ts";
import { scavengeServer } from "./scavenge.ts";
import { SharedReads } from "./shared-reads.ts";
import { type Followed, FollowedAll, FollowedStream, follow } from "./subscription.ts";
import type { Target } from "./target.ts";
import { unaryCall } from "./unary.ts";

export interface EventStoreDbLogOptions {
  readonly target: Target;
  readonly clock: Clock;
  readonly ids: Ids;
  /** Reads and subscriptions only, of an existing log; the only way to use a node that does not lead. */
  readonly readOnly: boolean;
  /** Makes the log if it is not there. */
  readonly create: boolean;
}

/**
 * Opens the log on an EventStoreDB. Throws `LogUnavailable` when it cannot be reached, `LogDenied` when it does not
 * take the user, the password or the certificate, and what {@link identify} throws.
 */
export async function openEventStoreDbLog(options: EventStoreDbLogOptions): Promise<EventStoreDbLog> {
  const { target, clock, ids, readOnly } = options;
  // What was acknowledged can be read from the leader; who asks for another node wants less, and only to read.
  const requiresLeader = !readOnly || target.nodePreference === "leader";
  const connection = new Connection({ target, clock, ids, requiresLeader });
  const names = new Names(target.prefix);
  const reads = new Reads(connection, names);
  const appends = new Appends(connection, names, reads);
  try {
    const { id, position } = await identify(
      reads,
      appends,
      ids,
      options.create && !readOnly,
      connection.where,
    );
    reads.birth = position;
    connection.outageMs = BOUNDS.outageMs;
    return new EventStoreDbLog({ id, connection, names, reads, appends, readOnly });
  } catch (error) {
    await connection.close();
    throw toHeadwaterError(error, connection.where);
  }
}

interface Parts {
  readonly id: string;
  readonly connection: Connection;
  readonly names: Names;
  readonly reads: Reads;
  readonly appends: Appends;
  readonly readOnly: boolean;
}

/** One handle on a log that an EventStoreDB keeps. Semantics: see {@link EventLog}. */
export class EventStoreDbLog implements EventLog {
  readonly id: string;
  readonly #connection: Connection;
  readonly #names: Names;
  readonly #reads: Reads;
  readonly #appends: Appends;
  readonly #readOnly: boolean;
  readonly #feeds: Feeds;
  readonly #catalogue: Catalogue;
  readonly #shared: SharedReads;
  #closed = false;

  constructor({ id, connection, names, reads, appends, readOnly }: Parts) {
    this.id = id;
    this.#connection = connection;
    this.#names = names;
    this.#reads = reads;
    this.#appends = appends;
    this.#readOnly = readOnly;
    this.#feeds = new Feeds(connection, names.prefix);
    this.#catalogue = new Catalogue(reads);
    this.#shared = new SharedReads(reads);
  }

  async append(stream: string, expected: ExpectedRevision, events: readonly NewEvent[]): Promise<Appended> {
    const append = { stream, expected, events };
    this.#checkWrite();
    this.#checkAppend(append);
    return this.#appends.append(append);
  }

  async appendInOrder(appends: readonly Append[]): Promise<readonly Appended[]> {
    this.#checkWrite();
    for (const append of appends) this.#checkAppend(append);
    const made: Appended[] = [];
    // The next one is sent when this one is known to be made: sent together, it could be made without it.
    for (const append of appends) made.push(await this.#appends.append(append));
    return made;
  }

  async *read(stream: string, options: ReadOptions = {}): AsyncGenerator<RecordedEvent, void, undefined> {
    this.#names.check(stream);
    if (options.from !== undefined) checkRevision(options.from, stream);
    this.#check();
    const { direction = "forwards", from, limit = Number.POSITIVE_INFINITY, signal } = options;
    if (signal?.aborted) return;
    let last = Number.POSITIVE_INFINITY;
    if (limit === Number.POSITIVE_INFINITY || limit <= 0) {
      const end = await this.#reads.end(stream);
      if (end === undefined) throw notFoundError(stream);
      last = end.lastRevision;
      if (limit <= 0 || (direction === "forwards" && (from ?? 0) > last)) return;
    }
    const chunks =
      direction === "forwards" && SharedReads.suits(from, limit)
        ? [await this.#shared.read(stream, from, limit)]
        : this.#reads.stream({ stream, direction, from, limit, signal });
    for await (const events of chunks) {
      for (const event of events) {
        this.#check();
        // Written since reading began.
        if (signal?.aborted || (direction === "forwards" && event.revision > last)) return;
        yield event;
      }
      if (direction === "forwards" && (events.at(-1)?.revision ?? 0) >= last) return;
    }
    this.#check();
  }

  async *readAll(options: ReadAllOptions = {}): AsyncGenerator<RecordedEvent, void, undefined> {
    this.#check();
    const { direction = "forwards", limit = Number.POSITIVE_INFINITY, filter, signal } = options;
    filterTest(filter);
    const forwards = direction === "forwards";
    const from = options.from ?? (forwards ? START : END);
    if (limit <= 0 || signal?.aborted || comparePositions(from, forwards ? END : START) === 0) return;
    const end = forwards ? await this.#reads.lastPosition() : END;
    if (comparePositions(from, end) > 0) return;
    for await (const events of this.#reads.all({ direction, from, filter, limit, signal })) {
      for (const event of events) {
        this.#check();
        if (signal?.aborted || (forwards && comparePositions(event.position, end) > 0)) return;
        yield event;
      }
    }
    this.#check();
  }

  subscribe(
    stream: string,
    from: number,
    options: SubscribeOptions = {},
  ): AsyncIterable<SubscriptionMessage> {
    this.#names.check(stream);
    checkRevision(from, stream);
    const inbox = new Inbox((name) => name === stream);
    const followed = new FollowedStream(this.#reads, stream, from);
    return this.#follow(followed, inbox, { prefixes: [this.#names.toServer(family(stream))] }, options);
  }

  subscribeAll(
    filter: StreamFilter,
    after: Position,
    options: SubscribeOptions = {},
  ): AsyncIterable<SubscriptionMessage> {
    const passes = filterTest(filter);
    const inbox = new Inbox((name) => passes(name) && name !== LOG_STREAM);
    const followed = new FollowedAll(this.#reads, filter, after);
    return this.#follow(followed, inbox, this.#names.filter(filter), options);
  }

  async streamInfo(stream: string): Promise<StreamInfo | undefined> {
    this.#check();
    this.#names.check(stream);
    try {
      const begin = await this.#reads.begin(stream);
      if (begin === undefined) return await this.#infoOfDeleted(stream);
      const { event: first, lastRevision } = begin;
      const last =
        first === undefined || first.revision === lastRevision
          ? first
          : (await this.#reads.some(stream, lastRevision, 1))[0];
      return {
        stream,
        firstRevision: first?.revision ?? lastRevision + 1,
        lastRevision,
        deleted: false,
        tombstoned: false,
        bytes: undefined,
        firstCreated: first?.created,
        lastCreated: last?.created ?? first?.created,
      };
    } catch (error) {
      if (!(error instanceof HeadwaterError && error.code === "StreamTombstoned")) throw error;
      return this.#infoOfGone(stream, true);
    }
  }

  async *streams(filter?: StreamFilter): AsyncGenerator<StreamInfo, void, undefined> {
    this.#check();
    for (const stream of await this.#catalogue.names(filterTest(filter))) {
      this.#check();
      const info = await this.streamInfo(stream);
      if (info === undefined) continue;
      yield { ...info, bytes: this.#catalogue.bytes(stream, info.firstRevision, info.lastRevision) };
    }
  }

  async getMetadata(stream: string): Promise<StreamMetadata> {
    this.#check();
    this.#names.check(stream);
    const { truncateBefore, maxCount, maxAgeSeconds, deleted } = await this.#reads.settings(stream);
    const info = deleted ? await this.#infoOfDeleted(stream) : undefined;
    const before = info === undefined ? truncateBefore : info.firstRevision;
    return {
      ...(before !== undefined && { truncateBefore: before }),
      ...(maxCount !== undefined && { maxCount }),
      ...(maxAgeSeconds !== undefined && { maxAgeSeconds }),
    };
  }

  async setMetadata(stream: string, metadata: StreamMetadata): Promise<void> {
    checkMetadata(stream, metadata);
    this.#names.check(stream);
    this.#checkWrite();
    for (;;) {
      const now = await this.#reads.settings(stream);
      if (now.deleted) {
        await this.#checkSettingsOfDeleted(stream, metadata);
        return;
      }
      try {
        await this.#appends.settings(stream, now, metadata);
        return;
      } catch (error) {
        // Someone else has changed them meanwhile.
        const conflict = error instanceof CallFailure && error.kind === "conflict";
        if (!conflict) throw toHeadwaterError(error, stream);
      }
    }
  }

  async delete(stream: string, expected: ExpectedRevision): Promise<void> {
    await this.#remove(stream, expected, false);
  }

  async tombstone(stream: string, expected: ExpectedRevision): Promise<void> {
    await this.#remove(stream, expected, true);
  }

  /** Has the server scavenge, which takes a right of its own, and waits for it. It does not count events. */
  async scavenge(): Promise<{ readonly events: undefined; readonly bytes: number }> {
    this.#checkWrite();
    return { events: undefined, bytes: await scavengeServer(this.#connection, this.#reads) };
  }

  /** `bytes` is how far the server's transaction file is: of all that it keeps, and before it scavenged any. */
  async size(): Promise<LogSize> {
    this.#check();
    const all = { direction: "backwards", from: END, filter: undefined, limit: 1 } as const;
    const end = await this.#reads.lastPosition();
    for await (const [event] of this.#reads.all(all)) {
      if (event !== undefined) return { position: event.position, bytes: Number(end.commit) };
    }
    return { position: START, bytes: Number(end.commit) };
  }

  async close(): Promise<void> {
    if (this.#closed) return;
    this.#closed = true;
    await this.#appends.settled();
    await this.#connection.close();
  }

  async *#follow(
    followed: Followed,
    inbox: Inbox,
    filter: NameFilter | undefined,
    { signal }: SubscribeOptions,
  ): AsyncGenerator<SubscriptionMessage, void, undefined> {
    this.#check();
    if (signal?.aborted) return;
    // Without a prefix nothing passes, and nothing will.
    const leave = filter === undefined ? this.#feeds.joinNothing(inbox) : this.#feeds.join(filter, inbox);
    try {
      yield* follow(followed, inbox, this.#connection.closing, signal);
    } finally {
      leave();
    }
  }

  /**
   * The server takes any change of settings for the end of a deletion. What would have no effect is left out; the rest
   * is refused.
   */
  async #checkSettingsOfDeleted(stream: string, metadata: StreamMetadata): Promise<void> {
    const { truncateBefore = 0, maxCount, maxAgeSeconds } = metadata;
    const info = await this.#infoOfDeleted(stream);
    const ahead = truncateBefore > (info?.firstRevision ?? 0);
    if (!ahead && maxCount === undefined && maxAgeSeconds === undefined) return;
    throw new HeadwaterError("StreamNotFound", "settings of a deleted stream cannot be changed", {
      where: stream,
      hint: "Append to it first.",
    });
  }

  /**
   * Deletes a stream, or ends it for ever. Without an exact revision it is tried with the one that the stream has: the
   * server would also delete what was never written, and what it says of a deleted stream is not what it is.
   */
  async #remove(stream: string, expected: ExpectedRevision, forEver: boolean): Promise<void> {
    this.#names.check(stream);
    checkExpected(expected, stream);
    this.#checkWrite();
    for (;;) {
      const info = await this.streamInfo(stream);
      if (info === undefined) throw notFoundError(stream);
      checkState(stream, expected, { ...info, bornAt: 0 });
      try {
        await this.#removeAt(stream, info.lastRevision, forEver);
        return;
      } catch (error) {
        const conflict = error instanceof CallFailure && error.kind === "conflict";
        if (!conflict) throw toHeadwaterError(error, stream);
      }
    }
  }

  async #removeAt(stream: string, revision: number, forEver: boolean): Promise<void> {
    const name = this.#names.toServer(stream);
    let tries = 0;
    try {
      await this.#connection.attempt(async (node) => {
        const streams = await node.client.streams();
        tries += 1;
        await unaryCall<unknown>(this.#connection, node, (metadata, options, done) =>
          forEver
            ? streams.tombstone(tombstoneRequest(name, revision), metadata, options, done)
            : streams.delete(deleteRequest(name, revision), metadata, options, done),
        );
      });
    } catch (error) {
      // What was to be done is done, if not by the try whose answer was lost, then by someone else.
      const ended = error instanceof CallFailure && error.kind === "tombstoned";
      if (!(ended && forEver && tries > 1)) throw error;
    }
  }

  async #infoOfDeleted(stream: string): Promise<StreamInfo | undefined> {
    const { deleted } = await this.#reads.settings(stream);
    return deleted ? this.#infoOfGone(stream, false) : undefined;
  }

  async #infoOfGone(stream: string, tombstoned: boolean): Promise<StreamInfo | undefined> {
    const last = await this.#reads.lastOfAll(stream);
    // Of one that has ended nothing may be left after a scavenge.
    if (last === undefined && !tombstoned) return undefined;
    const lastRevision = last?.revision ?? -1;
    return {
      stream,
      firstRevision: lastRevision + 1,
      lastRevision,
      deleted: true,
      tombstoned,
      bytes: undefined,
      firstCreated: undefined,
      lastCreated: undefined,
    };
  }

  #checkAppend(append: Append): void {
    checkAppend(append);
    this.#names.check(append.stream);
  }

  #checkWrite(): void {
    this.#check();
    if (!this.#readOnly) return;
    throw new HeadwaterError("BadUsage", "the log was opened only to read", {
      where: this.#connection.where,
    });
  }

  #check(): void {
    if (this.#closed) throw closedError();
  }
}

/** The streams that a stream is subscribed to together with: `steps_p.s.` of `steps_p.s.0003`. */
function family(stream: string): string {
  const dot = stream.lastIndexOf(".");
  return dot < 0 ? stream : stream.slice(0, dot + 1);
}
