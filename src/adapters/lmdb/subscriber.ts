import type { RecordedEvent, SubscriptionMessage } from "../../ports/event-log.ts";
import { BOUNDS } from "./bounds.ts";
import { toPosition } from "./format.ts";

/** What a subscriber wants: a stream from a revision on, or all that passes a test. */
export type Interest =
  | { readonly stream: string }
  | { readonly stream: undefined; readonly test: (stream: string) => boolean };

/**
 * One subscription's place in the log and its bounded buffer. It is either live, and then the feed offers it
 * every event after `at` in order, or behind, and then it reads for itself. `at` only ever grows: all events up
 * to it that interest the subscriber have been put into the buffer, so nothing is lost or doubled between the two.
 */
export class Subscriber {
  readonly interest: Interest;
  /** Position up to which everything has been seen. */
  at: number;
  /** The next revision wanted, of a subscription to one stream. */
  nextRevision: number;
  live = false;
  #buffer: RecordedEvent[] = [];
  #bytes = 0;
  /** Events that the test held back since the last message. */
  #heldBack = 0;
  #wake: (() => void) | undefined;

  constructor(interest: Interest, at: number, nextRevision: number) {
    this.interest = interest;
    this.at = at;
    this.nextRevision = nextRevision;
  }

  /** Takes an event that the feed offers. False: the buffer is full, and the subscriber is behind from now on. */
  offer(event: RecordedEvent, position: number): boolean {
    if (position <= this.at) return true;
    if (this.#buffer.length >= BOUNDS.subscriberEvents || this.#bytes >= BOUNDS.subscriberBytes) {
      this.live = false;
      return false;
    }
    this.at = position;
    if (this.interest.stream !== undefined) {
      if (event.revision < this.nextRevision) return true;
      this.nextRevision = event.revision + 1;
    }
    this.#buffer.push(event);
    this.#bytes += event.data.length + event.metadata.length;
    this.wake();
    return true;
  }

  /** Notes that all up to `position` was offered, `heldBack` of it to others only. */
  advance(position: number, heldBack: number): void {
    if (position <= this.at) return;
    this.at = position;
    this.#heldBack += heldBack;
    if (this.#heldBack >= BOUNDS.progressEvents) this.wake();
  }

  /** What is there to yield; `undefined`: nothing yet. */
  take(): SubscriptionMessage | undefined {
    if (this.#buffer.length > 0) {
      const events = this.#buffer;
      this.#buffer = [];
      this.#bytes = 0;
      this.#heldBack = 0;
      return { kind: "events", events };
    }
    if (this.interest.stream === undefined && this.#heldBack >= BOUNDS.progressEvents) {
      this.#heldBack = 0;
      return { kind: "progress", position: toPosition(this.at) };
    }
    return undefined;
  }

  wake(): void {
    const wake = this.#wake;
    this.#wake = undefined;
    wake?.();
  }

  /** Resolves at the next `wake`. Only for the one who iterates. */
  sleep(): Promise<void> {
    return new Promise((resolve) => {
      this.#wake = resolve;
    });
  }
}
