import { comparePositions, END, type Position } from "../../core/position.ts";
import type { StreamFilter, SubscriptionMessage } from "../../ports/event-log.ts";
import { closedError } from "../../ports/event-log-rules.ts";
import { BOUNDS } from "./bounds.ts";
import type { ServerEvent } from "./events.ts";
import type { Inbox } from "./inbox.ts";
import type { Reads } from "./reads.ts";

/** What a subscription follows: how it reads what it has not seen, and which live events come next. */
export interface Followed {
  /** Everything that is not seen yet and was written before now; notes it as seen. */
  read(signal: AbortSignal | undefined): AsyncIterable<readonly ServerEvent[]>;
  /**
   * Of live events those that are not seen yet; notes them as seen. `undefined` if something before them is missing:
   * then none is noted.
   */
  accept(events: readonly ServerEvent[]): readonly ServerEvent[] | undefined;
  /** Notes that there is nothing up to a position; whether that is news. */
  advance(position: Position): boolean;
}

/**
 * Yields what there is and then what comes. First the inbox begins to fill, then everything is read; what comes
 * twice by that is dropped, and nothing can fall in between. Whoever missed something begins again in the same way.
 */
export async function* follow(
  followed: Followed,
  inbox: Inbox,
  closing: AbortSignal,
  signal: AbortSignal | undefined,
): AsyncGenerator<SubscriptionMessage, void, undefined> {
  const check = () => {
    if (closing.aborted) throw closedError();
  };
  for (;;) {
    check();
    if (!(await inbox.start(signal))) return;
    for await (const events of followed.read(signal)) {
      for (const message of inMessages(events)) {
        yield message;
        check();
        if (signal?.aborted) return;
      }
    }
    if (signal?.aborted) return;
    yield { kind: "caught-up" };
    for (;;) {
      check();
      const taken = await inbox.take(signal);
      if (taken === undefined) return;
      if (taken.kind === "missed") break;
      if (taken.kind === "progress") {
        if (followed.advance(taken.position)) yield taken;
        continue;
      }
      const events = followed.accept(taken.events);
      if (events === undefined) break;
      if (events.length > 0) yield { kind: "events", events };
    }
  }
}

function* inMessages(events: readonly ServerEvent[]): Generator<SubscriptionMessage, void, undefined> {
  for (let at = 0; at < events.length; at += BOUNDS.messageEvents) {
    yield { kind: "events", events: events.slice(at, at + BOUNDS.messageEvents) };
  }
}

/** One stream, from a revision on. Revisions are dense: what is missing shows. */
export class FollowedStream implements Followed {
  readonly #reads: Reads;
  readonly #stream: string;
  #next: number;

  constructor(reads: Reads, stream: string, from: number) {
    this.#reads = reads;
    this.#stream = stream;
    this.#next = from;
  }

  async *read(signal: AbortSignal | undefined): AsyncGenerator<readonly ServerEvent[], void, undefined> {
    const end = await this.#reads.end(this.#stream);
    if (end === undefined || end.lastRevision < this.#next) return;
    const options = { stream: this.#stream, direction: "forwards", limit: Infinity, signal } as const;
    for await (const events of this.#reads.stream({ ...options, from: this.#next })) {
      this.#next = (events.at(-1)?.revision ?? this.#next) + 1;
      yield events;
      if (this.#next > end.lastRevision) return;
    }
  }

  accept(events: readonly ServerEvent[]): readonly ServerEvent[] | undefined {
    const fresh = events.filter(({ revision }) => revision >= this.#next);
    const [first] = fresh;
    if (first === undefined) return fresh;
    const last = fresh.at(-1) ?? first;
    if (first.revision !== this.#next || last.revision !== this.#next + fresh.length - 1) return undefined;
    this.#next = last.revision + 1;
    return fresh;
  }

  advance(): boolean {
    return false;
  }
}

/** The streams that pass a filter, after a position. */
export class FollowedAll implements Followed {
  readonly #reads: Reads;
  readonly #filter: StreamFilter;
  #after: Position;

  constructor(reads: Reads, filter: StreamFilter, after: Position) {
    this.#reads = reads;
    this.#filter = filter;
    this.#after = after;
  }

  async *read(signal: AbortSignal | undefined): AsyncGenerator<readonly ServerEvent[], void, undefined> {
    const end = await this.#reads.lastPosition();
    // After all others means: what is written from now on.
    if (comparePositions(this.#after, END) === 0) this.#after = end;
    if (comparePositions(end, this.#after) <= 0) return;
    const options = { direction: "forwards", filter: this.#filter, limit: Infinity, signal } as const;
    for await (const chunk of this.#reads.all({ ...options, from: this.#after })) {
      const events = this.#fresh(chunk);
      const last = events.at(-1);
      if (last === undefined) continue;
      this.#after = last.position;
      yield events;
      if (comparePositions(last.position, end) >= 0) return;
    }
    if (!signal?.aborted) this.advance(end);
  }

  accept(events: readonly ServerEvent[]): readonly ServerEvent[] {
    const fresh = this.#fresh(events);
    this.#after = fresh.at(-1)?.position ?? this.#after;
    return fresh;
  }

  advance(position: Position): boolean {
    if (comparePositions(position, this.#after) <= 0) return false;
    this.#after = position;
    return true;
  }

  #fresh(events: readonly ServerEvent[]): readonly ServerEvent[] {
    return events.filter(({ position }) => comparePositions(position, this.#after) > 0);
  }
}
