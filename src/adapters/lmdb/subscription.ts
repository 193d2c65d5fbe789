import type { SubscribeOptions, SubscriptionMessage } from "../../ports/event-log.ts";
import { tombstonedError } from "../../ports/event-log-rules.ts";
import { BOUNDS } from "./bounds.ts";
import type { Feed } from "./feed.ts";
import { toPosition } from "./format.ts";
import type { Chunk, Filter, Reader } from "./reader.ts";
import type { Store } from "./store.ts";
import { Subscriber } from "./subscriber.ts";
import { nextTurn } from "./turn.ts";

/** What subscriptions share with the log they belong to. */
export interface SubscriptionContext {
  readonly store: Store;
  readonly reader: Reader;
  readonly feed: Feed;
  /** Throws once the log is closed or has failed. */
  check(): void;
  /** Reads, and turns what lmdb throws into an error of Headwater. */
  guard<T>(read: () => T): T;
  /** Calls `wake` when the log is closed; call what it returns to be forgotten. */
  onClose(wake: () => void): () => void;
}

/** The events of one stream from a revision on. */
export function subscribeStream(
  context: SubscriptionContext,
  stream: string,
  from: number,
  options: SubscribeOptions,
): AsyncIterable<SubscriptionMessage> {
  const { store, reader } = context;
  let most: number = BOUNDS.firstChunkBytes;
  return run(context, new Subscriber({ stream }, 0, from), options, (subscriber, end) => {
    const head = store.head(stream);
    if (head?.tombstoned) throw tombstonedError(stream);
    if (head === undefined) return { events: [], next: end + 1, done: true };
    const first = Math.max(subscriber.nextRevision, reader.firstReadable(head));
    const chunk = reader.stream(
      stream,
      head,
      first,
      head.lastRevision,
      "forwards",
      Number.POSITIVE_INFINITY,
      most,
    );
    most = Math.min(2 * most, BOUNDS.chunkBytes);
    subscriber.nextRevision = Math.max(subscriber.nextRevision, chunk.next);
    // Where a stream has been read up to says nothing of positions until its end is reached.
    return chunk.done ? { ...chunk, next: end + 1 } : { ...chunk, next: subscriber.at + 1 };
  });
}

/** The events of all streams that pass a filter, after a position. */
export function subscribeFiltered(
  context: SubscriptionContext,
  filter: Filter,
  after: number,
  options: SubscribeOptions,
): AsyncIterable<SubscriptionMessage> {
  const interest = { stream: undefined, test: filter.test };
  return run(context, new Subscriber(interest, after, 0), options, (subscriber, end) =>
    context.reader.all(filter, subscriber.at + 1, end, "forwards", Number.POSITIVE_INFINITY),
  );
}

/**
 * Yields what the subscriber reads while it is behind, and what the feed offers while it is live, until it is
 * aborted. `read` reads a chunk up to position `end`, the last one in the current snapshot.
 */
async function* run(
  context: SubscriptionContext,
  subscriber: Subscriber,
  options: SubscribeOptions,
  read: (subscriber: Subscriber, end: number) => Chunk,
): AsyncGenerator<SubscriptionMessage, void, undefined> {
  const { store, feed } = context;
  const { signal } = options;
  const wake = () => subscriber.wake();
  const forget = context.onClose(wake);
  signal?.addEventListener("abort", wake);
  try {
    for (;;) {
      if (signal?.aborted) return;
      context.check();
      const message = subscriber.take();
      if (message !== undefined) {
        yield message;
      } else if (subscriber.live) {
        await subscriber.sleep();
      } else {
        await store.ready();
        context.check();
        yield* catchUp(subscriber);
      }
    }
  } finally {
    forget();
    signal?.removeEventListener("abort", wake);
    feed.leave(subscriber);
  }

  async function* catchUp(behind: Subscriber): AsyncGenerator<SubscriptionMessage, void, undefined> {
    // All in one turn, so that nothing is committed unseen between reading the end and being live.
    const { chunk, joined } = context.guard(() => {
      store.refresh();
      const end = store.tail().position;
      // Who asks for what comes after a place not reached yet, such as `END`, gets what comes from now on.
      behind.at = Math.min(behind.at, end);
      const some = end > behind.at || behind.interest.stream !== undefined ? read(behind, end) : AT_END;
      behind.at = Math.max(behind.at, some.done ? end : some.next - 1);
      return { chunk: some, joined: some.done && feed.join(behind) };
    });
    if (chunk.events.length > 0) yield { kind: "events", events: chunk.events };
    else if (!chunk.done) yield { kind: "progress", position: toPosition(behind.at) };
    if (joined) yield { kind: "caught-up" };
    else await nextTurn();
  }
}

const AT_END: Chunk = { events: [], next: 0, done: true };
