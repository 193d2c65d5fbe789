import type { Position } from "../../core/position.ts";
import { BOUNDS } from "./bounds.ts";
import type { ServerEvent } from "./events.ts";

/** What a subscriber takes out of its inbox. */
export type Taken =
  | { readonly kind: "events"; readonly events: readonly ServerEvent[] }
  /** Nothing for this subscriber up to here. */
  | { readonly kind: "progress"; readonly position: Position }
  /** Something is missing from here on: only reading tells what it was. */
  | { readonly kind: "missed" };

/**
 * Where a feed puts what is for one subscriber. Never keeps the feed waiting: what does not fit is let go, and the
 * subscriber told that it has missed something.
 */
export class Inbox {
  readonly #passes: (stream: string) => boolean;
  #live = false;
  #missed = true;
  #events: ServerEvent[] = [];
  #bytes = 0;
  #heldBack = 0;
  #progress: Position | undefined;
  #failure: { readonly error: unknown } | undefined;
  #wake: () => void = () => {};

  constructor(passes: (stream: string) => boolean) {
    this.#passes = passes;
  }

  /** Called by the feed: from now on everything comes. */
  open(): void {
    this.#live = true;
    this.#wake();
  }

  /** Called by the feed: something may be missing until it is opened again. */
  interrupt(): void {
    this.#live = false;
    this.#miss();
  }

  /** Called by the feed: nothing will come any more. */
  fail(error: unknown): void {
    this.#failure ??= { error };
    this.#wake();
  }

  /** Called by the feed with the next event. */
  put(event: ServerEvent): void {
    if (this.#missed) return;
    if (!this.#passes(event.stream)) {
      this.#heldBack += 1;
      if (this.#heldBack >= BOUNDS.progressEvents) this.putProgress(event.position);
      return;
    }
    // Reading finds out that the stream has ended.
    if (event.endsStream) {
      this.#miss();
      return;
    }
    this.#events.push(event);
    this.#bytes += event.data.length + event.metadata.length;
    this.#heldBack = 0;
    this.#progress = undefined;
    if (this.#events.length > BOUNDS.inboxEvents || this.#bytes > BOUNDS.inboxBytes) this.#miss();
    else this.#wake();
  }

  /** Called by the feed: it has let nothing pass up to here. */
  putProgress(position: Position): void {
    if (this.#missed) return;
    this.#heldBack = 0;
    this.#progress = position;
    this.#wake();
  }

  /**
   * Resolves when the feed is open, with an empty inbox that fills from now on: what came before will be found by
   * reading. Resolves with false when `signal` aborted before.
   */
  async start(signal: AbortSignal | undefined): Promise<boolean> {
    while (!this.#live) {
      if (signal?.aborted) return false;
      if (this.#failure !== undefined) throw this.#failure.error;
      await this.#change(signal);
    }
    this.#clear();
    this.#missed = false;
    return !signal?.aborted;
  }

  /** What came since the last time, or comes next; `undefined` when `signal` aborts. */
  async take(signal: AbortSignal | undefined): Promise<Taken | undefined> {
    for (;;) {
      if (signal?.aborted) return undefined;
      if (this.#failure !== undefined) throw this.#failure.error;
      if (this.#events.length > 0) {
        const events = this.#events.splice(0, BOUNDS.messageEvents);
        for (const { data, metadata } of events) this.#bytes -= data.length + metadata.length;
        return { kind: "events", events };
      }
      if (this.#missed) return { kind: "missed" };
      if (this.#progress !== undefined) {
        const position = this.#progress;
        this.#progress = undefined;
        return { kind: "progress", position };
      }
      await this.#change(signal);
    }
  }

  #miss(): void {
    this.#clear();
    this.#missed = true;
    this.#wake();
  }

  #clear(): void {
    this.#events = [];
    this.#bytes = 0;
    this.#heldBack = 0;
    this.#progress = undefined;
  }

  #change(signal: AbortSignal | undefined): Promise<void> {
    return new Promise((resolve) => {
      const done = () => {
        signal?.removeEventListener("abort", done);
        this.#wake = () => {};
        resolve();
      };
      this.#wake = done;
      signal?.addEventListener("abort", done);
    });
  }
}
