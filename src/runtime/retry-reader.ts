import { decodeEvent, decodeEventAs } from "../core/event-codec.ts";
import type { RetryItem, TypedEvent } from "../core/events.ts";
import { LIMITS } from "../core/limits.ts";
import type { EventLog } from "../ports/event-log.ts";
import { readOne, seekRecord } from "./seek.ts";
import { lastEvent } from "./stream-tail.ts";

/** A record that was asked for. */
export interface AskedItem extends RetryItem {
  /** Its I in the stream of retries. */
  readonly item: number;
}

export interface RetryReaderOptions {
  readonly log: EventLog;
  /** The pipeline's stream of retries. */
  readonly stream: string;
  /** The stream of the partition or door whose records are wanted. */
  readonly unit: string;
  /** Those below this I have been taken. */
  readonly next: number;
  /** Called when there is more, or when reading has failed. */
  changed(): void;
}

/** Follows what is asked to be put back, for one partition or door. */
export class RetryReader {
  readonly #options: RetryReaderOptions;
  readonly #queue: AskedItem[] = [];
  /** Why those of the unit that were given up are not to be put back, by I. */
  readonly #withdrawn = new Map<number, string>();
  readonly #stop = new AbortController();
  /** The I after the last event that was read. */
  #seen: number;
  #caughtUp = false;
  #failure: { readonly error: unknown } | undefined;
  #waiting: (() => void)[] = [];

  constructor(options: RetryReaderOptions) {
    this.#options = options;
    this.#seen = options.next;
  }

  /** Begins to read. */
  start(): void {
    this.#pump().catch((error: unknown) => {
      if (this.#stop.signal.aborted) return;
      this.#failure = { error };
      this.#wake();
    });
  }

  stop(): void {
    this.#stop.abort();
    this.#wake();
  }

  /** Those that are next; throws what reading failed with. */
  get items(): readonly AskedItem[] {
    if (this.#failure !== undefined) throw this.#failure.error;
    return this.#queue;
  }

  /** Why an item is not to be put back after all, as far as is known; `undefined`: it is. */
  whyWithdrawn(item: number): string | undefined {
    return this.#withdrawn.get(item);
  }

  /** All that were asked for below this I are taken, as far as has been read. */
  get taken(): number {
    return this.#queue[0]?.item ?? this.#seen;
  }

  /** The first `count` of {@link items} are taken. */
  take(count: number): void {
    for (const { item } of this.#queue.splice(0, count)) this.#withdrawn.delete(item);
    this.#wake();
  }

  /** Resolves when all that the log had when reading began has been read, or cannot be read; or at {@link stop}. */
  async caughtUp(): Promise<void> {
    while (!this.#caughtUp && this.#failure === undefined && !this.#stop.signal.aborted && !this.#full) {
      await this.#changed();
    }
  }

  get #full(): boolean {
    return this.#queue.length >= LIMITS.retryQueue;
  }

  async #pump(): Promise<void> {
    const { log, stream, unit, next } = this.#options;
    const { signal } = this.#stop;
    const revision = await seekRecord(log, stream, next);
    // What was given up by now is known before the first is taken, however many are asked for.
    if ((await log.streamInfo(stream)) !== undefined) {
      for await (const event of log.read(stream, { from: revision })) this.#noteWithdrawn(decodeEvent(event));
    }
    for await (const message of log.subscribe(stream, revision, { signal })) {
      if (message.kind === "caught-up") this.#caughtUp = true;
      for (const event of message.kind === "events" ? message.events : []) {
        const typed = decodeEvent(event);
        this.#noteWithdrawn(typed);
        if (typed.type !== "RetryAsked" && typed.type !== "RecordsDiscarded") continue;
        const { first, count } = typed.data;
        if (typed.type === "RetryAsked" && typed.data.unit === unit) {
          for (const [index, item] of typed.data.items.entries()) {
            if (first + index >= next) this.#queue.push({ ...item, item: first + index });
          }
        }
        this.#seen = Math.max(this.#seen, first + count);
        while (this.#full && !signal.aborted) {
          this.#wake();
          await this.#changed();
        }
        if (signal.aborted) return;
      }
      this.#wake();
    }
  }

  #noteWithdrawn(typed: TypedEvent): void {
    if (typed.type !== "RetriesWithdrawn" || typed.data.unit !== this.#options.unit) return;
    const { next } = this.#options;
    for (const item of typed.data.items) if (item >= next) this.#withdrawn.set(item, typed.data.reason);
  }

  #changed(): Promise<void> {
    return new Promise((resolve) => {
      this.#waiting.push(resolve);
    });
  }

  #wake(): void {
    const waiting = this.#waiting;
    this.#waiting = [];
    for (const wake of waiting) wake();
    this.#options.changed();
  }
}

/** The records I = `items`, ascending, of a stream of retries. */
export async function readAsked(
  log: EventLog,
  stream: string,
  items: readonly number[],
): Promise<AskedItem[]> {
  const found: AskedItem[] = [];
  let event: { readonly first: number; readonly items: readonly RetryItem[] } = { first: 0, items: [] };
  for (const item of items) {
    if (event.items[item - event.first] === undefined) {
      const revision = await seekRecord(log, stream, item);
      event = decodeEventAs(await readOne(log, stream, revision), "RetryAsked");
    }
    const asked = event.items[item - event.first];
    if (asked !== undefined) found.push({ ...asked, item });
  }
  return found;
}

/** The I that the next record gets that is asked for. */
export async function askedSoFar(log: EventLog, stream: string): Promise<number> {
  const last = await lastEvent(log, stream);
  if (last === undefined) return 0;
  const typed = decodeEvent(last);
  if (typed.type === "RecordsDiscarded" || typed.type === "RetriesWithdrawn") return typed.data.first;
  const { first, count } = decodeEventAs(last, "RetryAsked");
  return first + count;
}
