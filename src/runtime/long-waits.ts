import { LIMITS } from "../core/limits.ts";
import type { WaitingPlace } from "../engine/outside.ts";
import type { CancelTimer, Clock } from "../ports/clock.ts";

export interface LongWaitsOptions {
  readonly clock: Clock;
  /** Nobody is to be told any more when it aborts. */
  readonly signal: AbortSignal;
  /** A stage has waited for a record for LIMITS.waitToldMs. Called once for each. */
  onLong(place: WaitingPlace): void;
  /** What was told of is over. */
  onOver(): void;
}

/** Sees when a stage waits for what one record's function has promised for so long that somebody should know. */
export class LongWaits {
  readonly #options: LongWaitsOptions;
  #now: { readonly place: WaitingPlace; readonly since: number; told: boolean } | undefined;
  #cancel: CancelTimer | undefined;

  constructor(options: LongWaitsOptions) {
    this.#options = options;
    options.signal.addEventListener("abort", () => this.#cancel?.(), { once: true });
  }

  /** What is waited for from now on; `undefined`: nothing is. */
  waitsFor(place: WaitingPlace | undefined): void {
    const before = this.#now;
    this.#now = place && { place, since: this.#options.clock.monotonic(), told: false };
    if (before?.told) this.#options.onOver();
    if (place !== undefined) this.#cancel ??= this.#lookIn(LIMITS.waitToldMs);
  }

  #lookIn(ms: number): CancelTimer | undefined {
    const { clock, signal } = this.#options;
    return signal.aborted ? undefined : clock.setTimeout(() => this.#look(), ms);
  }

  #look(): void {
    this.#cancel = undefined;
    const now = this.#now;
    if (now === undefined) return;
    const left = now.since + LIMITS.waitToldMs - this.#options.clock.monotonic();
    // One that was told of is not looked at again; the next one begins to look anew.
    if (left <= 0 && !now.told) {
      now.told = true;
      this.#options.onLong(now.place);
    } else if (!now.told) {
      this.#cancel = this.#lookIn(left);
    }
  }
}
