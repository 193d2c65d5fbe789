import { LIMITS } from "../../core/limits.ts";
import type { CancelTimer, Clock } from "../../ports/clock.ts";
import type { RecordedEvent } from "../../ports/event-log.ts";
import { BOUNDS } from "./bounds.ts";
import { Filter, type Reader } from "./reader.ts";
import type { RecentEvents } from "./recent.ts";
import type { Store } from "./store.ts";
import type { Subscriber } from "./subscriber.ts";

export interface FeedOptions {
  readonly store: Store;
  readonly reader: Reader;
  readonly clock: Clock;
  readonly recent: RecentEvents;
  /** Called when the log cannot be read any more. */
  readonly onFailure: (error: unknown) => void;
}

/**
 * Hands events to live subscribers in the order of their positions: its own process's from memory as they are
 * committed, other processes' from the file, where it looks every `LIMITS.pollMs` while anyone is live.
 */
export class Feed {
  readonly #options: FeedOptions;
  readonly #everything = new Filter();
  readonly #live = new Set<Subscriber>();
  /** Who gets a stream's events; made when its first event comes, forgotten when who is live changes. */
  readonly #routes = new Map<string, readonly Subscriber[]>();
  /** Everything up to this position has been offered to all who are live. */
  #seen = 0;
  #timer: CancelTimer | undefined;
  #closed = false;

  constructor(options: FeedOptions) {
    this.#options = options;
  }

  /**
   * Makes a subscriber live that has seen everything up to the end of the current snapshot. False if the feed has
   * just offered more to others: then it has to read on first.
   */
  join(subscriber: Subscriber): boolean {
    if (this.#live.size === 0) this.#seen = subscriber.at;
    else if (this.#seen < subscriber.at) this.#catchUp(subscriber.at);
    if (this.#seen !== subscriber.at) return false;
    subscriber.live = true;
    this.#live.add(subscriber);
    this.#routes.clear();
    this.#startPolling();
    return true;
  }

  leave(subscriber: Subscriber): void {
    subscriber.live = false;
    if (!this.#live.delete(subscriber)) return;
    this.#routes.clear();
    if (this.#live.size > 0) return;
    this.#timer?.();
    this.#timer = undefined;
  }

  /** What this process has just committed, after position `before`. */
  committed(events: readonly RecordedEvent[], before: number): void {
    for (const event of events) this.#options.recent.add(event);
    if (this.#live.size === 0) return;
    try {
      if (before > this.#seen) this.#catchUp(before);
      this.#offer(events);
    } catch (thrown) {
      this.#options.onFailure(thrown);
    }
  }

  close(): void {
    this.#closed = true;
    this.#timer?.();
    this.#timer = undefined;
    for (const subscriber of this.#live) subscriber.wake();
    this.#live.clear();
    this.#routes.clear();
  }

  #startPolling(): void {
    if (this.#closed || this.#live.size === 0) return;
    this.#timer ??= this.#options.clock.setTimeout(() => {
      this.#timer = undefined;
      this.#poll();
      this.#startPolling();
    }, LIMITS.pollMs);
  }

  #poll(): void {
    const { store } = this.#options;
    if (store.ready() !== undefined) return;
    try {
      store.refresh();
      const { position } = store.tail();
      if (position > this.#seen) this.#catchUp(position);
    } catch (thrown) {
      this.#options.onFailure(thrown);
    }
  }

  /** Offers what was committed up to `position` by others, or leaves it to everyone to read it. */
  #catchUp(position: number): void {
    const { store, reader, recent } = this.#options;
    if (position - this.#seen > BOUNDS.foreignEvents || store.ready() !== undefined) {
      this.#seen = position;
      for (const subscriber of [...this.#live]) this.#fallBehind(subscriber);
      return;
    }
    store.refresh();
    while (this.#seen < position && this.#live.size > 0) {
      const chunk = reader.all(
        this.#everything,
        this.#seen + 1,
        position,
        "forwards",
        Number.POSITIVE_INFINITY,
      );
      for (const event of chunk.events) recent.add(event);
      this.#offer(chunk.events);
      this.#pass(chunk.next - 1);
    }
    this.#seen = Math.max(this.#seen, position);
  }

  #offer(events: readonly RecordedEvent[]): void {
    for (const event of events) {
      const position = Number(event.position.commit);
      if (position <= this.#seen) continue;
      for (const subscriber of this.#route(event.stream)) {
        if (!subscriber.offer(event, position)) this.#fallBehind(subscriber);
      }
    }
    const last = events.at(-1);
    if (last !== undefined) this.#pass(Number(last.position.commit));
  }

  /** All up to `position` has been offered to whom it interests. */
  #pass(position: number): void {
    if (position <= this.#seen) return;
    const passed = position - this.#seen;
    this.#seen = position;
    for (const subscriber of this.#live) subscriber.advance(position, passed);
  }

  #fallBehind(subscriber: Subscriber): void {
    this.leave(subscriber);
    subscriber.wake();
  }

  #route(stream: string): readonly Subscriber[] {
    const known = this.#routes.get(stream);
    if (known !== undefined) return known;
    const route = [...this.#live].filter(({ interest }) =>
      interest.stream === undefined ? interest.test(stream) : interest.stream === stream,
    );
    if (this.#routes.size >= ROUTES_MOST) this.#routes.clear();
    this.#routes.set(stream, route);
    return route;
  }
}

const ROUTES_MOST = 16_384;
