import { LIMITS } from "../core/limits.ts";
import type { WaitingPlace } from "../engine/outside.ts";
import type { CancelTimer, Clock } from "../ports/clock.ts";

export interface LongWaitsOptions {
  readonly clock: Clock;
  /** Nobody is to be told any more when it aborts. */
  readonly signal: AbortSignal;
  /**
   * A stage has waited for a record for LIMITS.waitToldMs; `why`, where that is more than what its function has promised.
   * Called once for each.
   */
  onLong(place: WaitingPlace, why: string | undefined): void;
  /** What was told of is over. */
  onOver(): void;
}

/** What keeps a record that somebody may wait for. */
export type Delay =
  /** `what` has failed, and is tried again at `dueAt`, by the monotonic clock. */
  | { readonly kind: "again"; readonly what: string; readonly dueAt: number; readonly because: string }
  | { readonly kind: "queued"; readonly what: string; readonly most: number };

const MS_PER_SECOND = 1_000;

/** Sees when a stage waits for what one record's function has promised for so long that somebody should know. */
export class LongWaits {
  readonly #options: LongWaitsOptions;
  #now: { readonly place: WaitingPlace; readonly since: number; told: boolean } | undefined;
  #cancel: CancelTimer | undefined;
  /** Of each place, by what it is that is kept; the last one comes last. */
  readonly #delays = new Map<string, Map<string, Delay>>();

  constructor(options: LongWaitsOptions) {
    this.#options = options;
    options.signal.addEventListener("abort", () => this.#cancel?.(), { once: true });
  }

  /** What is waited for from now on; `undefined`: nothing is. */
  waitsFor(place: WaitingPlace | undefined): void {
    const before = this.#now;
    this.#now = place && { place, since: this.#options.clock.monotonic(), told: false };
    if (before !== undefined) this.#delays.delete(keyOf(before.place));
    if (before?.told) this.#options.onOver();
    if (place !== undefined) this.#cancel ??= this.#lookIn(LIMITS.waitToldMs);
  }

  /** What keeps `id` (the stage itself, or an effect) at a place from now on; `undefined`: nothing does. */
  delayed(place: WaitingPlace, id: string, delay: Delay | undefined): void {
    const key = keyOf(place);
    const there = this.#delays.get(key) ?? new Map<string, Delay>();
    there.delete(id);
    if (delay !== undefined) there.set(id, delay);
    if (there.size > 0) this.#delays.set(key, there);
    else this.#delays.delete(key);
  }

  #why(place: WaitingPlace): string | undefined {
    const delay = [...(this.#delays.get(keyOf(place))?.values() ?? [])].at(-1);
    if (delay === undefined) return undefined;
    const { what } = delay;
    if (delay.kind === "queued")
      return `${what} waits for other calls to end, of which ${delay.most} may be under way`;
    const seconds = Math.ceil((delay.dueAt - this.#options.clock.monotonic()) / MS_PER_SECOND);
    return `${what} is tried again ${seconds > 0 ? `in ${seconds} s` : "just now"}, because: ${delay.because}`;
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
      this.#options.onLong(now.place, this.#why(now.place));
    } else if (!now.told) {
      this.#cancel = this.#lookIn(left);
    }
  }
}

function keyOf({ stage, n }: WaitingPlace): string {
  return `${n} ${stage}`;
}
