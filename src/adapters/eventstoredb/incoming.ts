import type { Clock } from "../../ports/clock.ts";
import { BOUNDS } from "./bounds.ts";
import { timeoutFailure } from "./failures.ts";

/** What is used of a call that the server answers with a stream of messages. */
export interface StreamingCall<T> {
  on(event: "data", listener: (message: T) => void): unknown;
  on(event: "error", listener: (error: Error) => void): unknown;
  on(event: "end", listener: () => void): unknown;
  pause(): unknown;
  resume(): unknown;
  cancel(): void;
}

/**
 * The messages of one call, as many at a time as there are. Holds `BOUNDS.receivedEvents` and `receivedBytes` at
 * most, and lets the server wait when they are not fetched.
 */
export class Incoming<T> {
  readonly #call: StreamingCall<T>;
  readonly #clock: Clock;
  readonly #weigh: (message: T) => number;
  readonly #ending: readonly AbortSignal[];
  readonly #onEnded = () => this.cancel();
  #messages: T[] = [];
  #bytes = 0;
  #paused = false;
  #over: { readonly error?: unknown } | undefined;
  #wake: () => void = () => {};

  /**
   * @param ending any of these cancels the call when it aborts
   * @param weigh bytes of a message
   */
  constructor(
    call: StreamingCall<T>,
    ending: readonly (AbortSignal | undefined)[],
    clock: Clock,
    weigh: (message: T) => number,
  ) {
    this.#call = call;
    this.#clock = clock;
    this.#weigh = weigh;
    this.#ending = ending.filter((signal) => signal !== undefined);
    call.on("data", (message) => this.#take(message));
    call.on("error", (error) => this.#finish({ error }));
    call.on("end", () => this.#finish({}));
    for (const signal of this.#ending) signal.addEventListener("abort", this.#onEnded);
    if (this.#ending.some((signal) => signal.aborted)) this.cancel();
  }

  /**
   * What has come since the last time, or comes next; `undefined` at the end. Throws what the call failed with, and a
   * {@link CallFailure} when nothing comes for `waitMs`.
   */
  async next(waitMs?: number): Promise<readonly T[] | undefined> {
    if (this.#messages.length === 0 && this.#over === undefined) await this.#wait(waitMs);
    if (this.#messages.length > 0) {
      const messages = this.#messages;
      this.#messages = [];
      this.#bytes = 0;
      if (this.#paused) {
        this.#paused = false;
        this.#call.resume();
      }
      return messages;
    }
    if (this.#over !== undefined && "error" in this.#over) throw this.#over.error;
    return undefined;
  }

  /** Ends the call; whoever waits gets its failure. */
  cancel(): void {
    this.#letGo();
    if (this.#over !== undefined) return;
    // Before it has begun, a call may be told to end and then begin: once more, later.
    this.#call.cancel();
    setImmediate(() => this.#call.cancel());
  }

  #take(message: T): void {
    this.#messages.push(message);
    this.#bytes += this.#weigh(message);
    if (this.#messages.length >= BOUNDS.receivedEvents || this.#bytes >= BOUNDS.receivedBytes) {
      this.#paused = true;
      this.#call.pause();
    }
    this.#wake();
  }

  #finish(over: { readonly error?: unknown }): void {
    this.#letGo();
    this.#over ??= over;
    this.#wake();
  }

  #letGo(): void {
    for (const signal of this.#ending) signal.removeEventListener("abort", this.#onEnded);
  }

  #wait(waitMs: number | undefined): Promise<void> {
    return new Promise((resolve, reject) => {
      const cancelTimer =
        waitMs === undefined
          ? () => {}
          : this.#clock.setTimeout(() => {
              this.cancel();
              reject(timeoutFailure(waitMs));
            }, waitMs);
      this.#wake = () => {
        cancelTimer();
        resolve();
      };
    });
  }
}
