import { HeadwaterError } from "../core/errors.ts";
import { LIMITS } from "../core/limits.ts";
import { roughSize } from "../core/rough-size.ts";
import type { IntakeOutcome, IntakeRecord } from "./intake-record.ts";

/** Where a program's records wait for a door. Bounded: what does not fit is answered with "later". */
export class OfferQueue implements AsyncIterable<readonly IntakeRecord[]> {
  #waiting: IntakeRecord[] = [];
  #unsettled = 0;
  /** About how many bytes those take. */
  #bytes = 0;
  #offered = 0;
  #ended = false;
  /** Takes no more; what waits is still to be taken. */
  #closed = false;
  #wake: (() => void) | undefined;
  #roomFor: (() => void)[] = [];

  /**
   * Gives a record without an answer: resolves when it has its place in the queue, which is at once unless too many
   * wait. Rejects with `Stopped` when the pipeline takes no more.
   */
  async push(value: unknown): Promise<void> {
    while (!this.#closed && this.#full) await this.#change();
    if (this.#closed) throw new HeadwaterError("Stopped", "the source takes no more records");
    this.#add(value, () => {});
  }

  /**
   * Resolves with the record's address when it is durable, or `undefined` for a duplicate. Rejects with
   * `Overloaded` when too many wait, with `BadInput` and the like when the source refuses it, with `Stopped`
   * when the pipeline ends before it was taken.
   */
  offer(value: unknown): Promise<string | undefined> {
    if (this.#closed) {
      return Promise.reject(new HeadwaterError("Stopped", "the source takes no more records"));
    }
    if (this.#full) {
      return Promise.reject(
        new HeadwaterError("Overloaded", `${this.#unsettled} offered records wait to be taken`, {
          hint: "Wait for earlier offers before making more.",
        }),
      );
    }
    return new Promise((resolve, reject) => {
      this.#add(value, (outcome) => {
        if (outcome.kind === "accepted") resolve(outcome.address);
        else if (outcome.kind === "duplicate") resolve(undefined);
        else reject(outcome.error);
      });
    });
  }

  get #full(): boolean {
    return this.#unsettled >= LIMITS.inFlightRecords || this.#bytes >= LIMITS.inFlightBytes;
  }

  #add(value: unknown, settled: (outcome: IntakeOutcome) => void): void {
    const bytes = roughSize(value);
    this.#bytes += bytes;
    this.#unsettled++;
    this.#offered++;
    const settle = (outcome: IntakeOutcome) => {
      this.#unsettled--;
      this.#bytes -= bytes;
      settled(outcome);
      this.#tellRoom();
    };
    this.#waiting.push({ value, line: this.#offered, settle });
    this.#wake?.();
  }

  #tellRoom(): void {
    const waiting = this.#roomFor;
    this.#roomFor = [];
    for (const resolve of waiting) resolve();
  }

  /** Takes no more records, and resolves when those that it has are durable or refused, or it {@link end}s. */
  async close(): Promise<void> {
    this.#closed = true;
    this.#tellRoom();
    while (!this.#ended && this.#unsettled > 0) await this.#change();
  }

  #change(): Promise<void> {
    return new Promise((resolve) => this.#roomFor.push(resolve));
  }

  /** No more records will be offered: whoever takes them comes to an end. */
  end(): void {
    this.#closed = true;
    this.#ended = true;
    this.#wake?.();
    this.#tellRoom();
  }

  /** Ends it, and rejects what nobody has taken. */
  abort(error: unknown): void {
    this.end();
    for (const record of this.#waiting) record.settle?.({ kind: "failed", error });
    this.#waiting = [];
  }

  async *[Symbol.asyncIterator](): AsyncIterator<readonly IntakeRecord[]> {
    for (;;) {
      if (this.#waiting.length > 0) {
        const taken = this.#waiting;
        this.#waiting = [];
        yield taken;
      } else if (this.#ended) {
        return;
      } else {
        await new Promise<void>((resolve) => {
          this.#wake = resolve;
        });
        this.#wake = undefined;
      }
    }
  }
}

/**
 * Records of a program's iterable, in groups. When `over` aborts, the iterator is told that nothing more is asked of it:
 * that is no end of the input, which goes on another time.
 */
export async function* groupRecords(
  records: Iterable<unknown> | AsyncIterable<unknown>,
  size: number,
  over: AbortSignal,
): AsyncIterable<readonly IntakeRecord[]> {
  // A slow source must not wait for its group to fill: its records go on one by one, and the door batches them.
  const slow = Symbol.iterator in records ? undefined : records[Symbol.asyncIterator]();
  const iterator = slow ?? (records as Iterable<unknown>)[Symbol.iterator]();
  over.addEventListener("abort", () => letGo(iterator), { once: true });
  let group: IntakeRecord[] = [];
  for (let line = 1; ; line++) {
    let next: IteratorResult<unknown>;
    try {
      next = slow === undefined ? (iterator as Iterator<unknown>).next() : await slow.next();
    } catch (error) {
      if (group.length > 0) yield group;
      throw error;
    }
    if (!next.done) group.push({ value: next.value, line });
    if (over.aborted) {
      if (group.length > 0) yield group;
      await new Promise<never>(() => {});
    }
    if (next.done) break;
    if (slow === undefined && group.length < size) continue;
    yield group;
    group = [];
  }
  if (group.length > 0) yield group;
}

/** How an iterator ends of which nothing more is wanted is its own affair. */
function letGo(iterator: Iterator<unknown> | AsyncIterator<unknown>): void {
  void (async () => iterator.return?.())().catch(() => {});
}
