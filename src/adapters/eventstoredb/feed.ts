import type { ReadResp } from "@eventstore/db-client/generated/streams_pb.js";
import { BOUNDS } from "./bounds.ts";
import { type Connection, type Node, Retries } from "./connection.ts";
import { answerBytes, readEvent, toPosition } from "./events.ts";
import { CallFailure, toHeadwaterError } from "./failures.ts";
import type { Inbox } from "./inbox.ts";
import { Incoming } from "./incoming.ts";
import { allSubscription, type NameFilter } from "./requests.ts";

/**
 * A subscription to what is written from now on to the streams that a filter lets pass, for any number of
 * subscribers. It is never made to wait for one of them. When it breaks off it begins anew, and has its subscribers
 * read what they may have missed: each of them knows best where it is.
 */
class Feed {
  readonly inboxes = new Set<Inbox>();
  readonly #connection: Connection;
  readonly #filter: NameFilter;
  readonly #prefix: string;
  readonly #stop = new AbortController();
  #open = false;

  constructor(connection: Connection, filter: NameFilter, prefix: string) {
    this.#connection = connection;
    this.#filter = filter;
    this.#prefix = prefix;
  }

  join(inbox: Inbox): void {
    this.inboxes.add(inbox);
    if (this.#open) inbox.open();
  }

  stop(): void {
    this.#stop.abort();
  }

  /** Resolves when it was stopped, or cannot go on. */
  async run(): Promise<void> {
    const { signal } = this.#stop;
    // Subscribers wait for as long as it takes: appends tell when the log is unavailable.
    const retries = new Retries(this.#connection, Number.POSITIVE_INFINITY, signal);
    while (!signal.aborted) {
      try {
        const node = this.#connection.node();
        try {
          await this.#follow(node, retries);
        } catch (thrown) {
          this.#interrupt();
          if (signal.aborted) return;
          await retries.afterFailure(node, thrown);
        }
      } catch (error) {
        const failure = toHeadwaterError(error, this.#connection.where);
        for (const inbox of this.inboxes) inbox.fail(failure);
        return;
      }
    }
  }

  /** Never returns: throws what the subscription ended with. */
  async #follow(node: Node, retries: Retries): Promise<never> {
    const { client, ended } = node;
    const streams = await client.streams();
    const call = streams.read(allSubscription(this.#filter), ...client.call());
    const incoming = new Incoming<ReadResp>(
      call,
      [ended, this.#stop.signal],
      this.#connection.clock,
      answerBytes,
    );
    try {
      for (;;) {
        // Before it is confirmed there is something to wait for; after that, nothing may be written for long.
        const answers = await incoming.next(this.#open ? undefined : BOUNDS.answerMs);
        if (answers === undefined) throw new CallFailure("busy", "the server dropped the subscription");
        for (const answer of answers) this.#dispatch(answer, retries);
      }
    } finally {
      incoming.cancel();
    }
  }

  #dispatch(answer: ReadResp, retries: Retries): void {
    const recorded = answer.getEvent()?.getEvent();
    if (recorded !== undefined) {
      const event = readEvent(recorded, this.#prefix);
      for (const inbox of this.inboxes) inbox.put(event);
      return;
    }
    const checkpoint = answer.getCheckpoint();
    if (checkpoint !== undefined) {
      const position = toPosition(checkpoint.getCommitPosition(), checkpoint.getPreparePosition());
      for (const inbox of this.inboxes) inbox.putProgress(position);
    } else if (answer.hasConfirmation()) {
      retries.reset();
      this.#open = true;
      for (const inbox of this.inboxes) inbox.open();
    }
  }

  #interrupt(): void {
    this.#open = false;
    for (const inbox of this.inboxes) inbox.interrupt();
  }
}

/** The feeds of a process: one for each filter, shared by all that subscribe with it. */
export class Feeds {
  readonly #connection: Connection;
  readonly #prefix: string;
  readonly #feeds = new Map<string, Feed>();

  constructor(connection: Connection, prefix: string) {
    this.#connection = connection;
    this.#prefix = prefix;
  }

  /** Has what passes `filter` put into `inbox`, until what is returned is called. */
  join(filter: NameFilter, inbox: Inbox): () => void {
    const key = JSON.stringify(filter);
    let feed = this.#feeds.get(key);
    if (feed === undefined) {
      feed = new Feed(this.#connection, filter, this.#prefix);
      this.#feeds.set(key, feed);
      this.#run(key, feed);
    }
    feed.join(inbox);
    return () => this.#leave(key, feed, inbox);
  }

  /** For who waits for nothing: `inbox` is open, and empty. */
  joinNothing(inbox: Inbox): () => void {
    inbox.open();
    const onClosing = () => inbox.interrupt();
    this.#connection.closing.addEventListener("abort", onClosing, { once: true });
    return () => this.#connection.closing.removeEventListener("abort", onClosing);
  }

  #run(key: string, feed: Feed): void {
    feed.run().finally(() => {
      if (this.#feeds.get(key) === feed) this.#feeds.delete(key);
    });
  }

  #leave(key: string, feed: Feed, inbox: Inbox): void {
    feed.inboxes.delete(inbox);
    if (feed.inboxes.size > 0) return;
    if (this.#feeds.get(key) === feed) this.#feeds.delete(key);
    feed.stop();
  }
}
