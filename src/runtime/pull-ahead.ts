import type { Clock } from "../ports/clock.ts";

type Outcome<T> = { readonly result: IteratorResult<T> } | { readonly error: unknown };

/** Reads one item ahead of an iterator, so that its next item can be waited for with a limit, again and again. */
export class PullAhead<T> {
  readonly #iterator: AsyncIterator<T>;
  readonly #clock: Clock;
  #outcome: Outcome<T> | undefined;
  #pulling = false;
  #wake: (() => void) | undefined;

  constructor(items: AsyncIterable<T>, clock: Clock) {
    this.#iterator = items[Symbol.asyncIterator]();
    this.#clock = clock;
  }

  /**
   * The next item; `undefined` if there is none within `ms` (no limit if absent), or after {@link interrupt}.
   * Throws what the iterator throws.
   */
  async next(ms?: number): Promise<IteratorResult<T> | undefined> {
    this.#pull();
    if (this.#outcome === undefined) {
      await new Promise<void>((resolve) => {
        const cancel = ms === undefined ? undefined : this.#clock.setTimeout(resolve, ms);
        this.#wake = () => {
          cancel?.();
          resolve();
        };
      });
    }
    const outcome = this.#outcome;
    if (outcome === undefined) return undefined;
    this.#outcome = undefined;
    if ("error" in outcome) throw outcome.error;
    return outcome.result;
  }

  /** The item that was asked for ahead, if it is there by the end of this turn; no other one is asked for. */
  async given(): Promise<IteratorResult<T> | undefined> {
    if (!this.#pulling && this.#outcome === undefined) return undefined;
    return this.next(0);
  }

  /** Ends a wait that is under way. */
  interrupt(): void {
    this.#wake?.();
  }

  #pull(): void {
    if (this.#pulling || this.#outcome !== undefined) return;
    this.#pulling = true;
    const settle = (outcome: Outcome<T>) => {
      this.#pulling = false;
      this.#outcome = outcome;
      this.#wake?.();
    };
    this.#iterator.next().then(
      (result) => settle({ result }),
      (error: unknown) => settle({ error }),
    );
  }
}
