import type { TimesAhead } from "../core/events.ts";
import { LIMITS } from "../core/limits.ts";
import { NO_TIME, type Watermark, type WatermarkStep } from "../core/watermark.ts";
import type { WatermarkPolicy } from "../pipeline/definition.ts";

/** Where a source's event time stands. */
export interface EventTimePlace {
  /** The highest time that is believed. */
  readonly maxTime: number | undefined;
  readonly ahead: TimesAhead | undefined;
  /** The last step of the watermark. */
  readonly watermark: WatermarkStep | undefined;
}

/** Whose time is not believed: that of the record at hand, or of the one before it. */
export type Disbelief = "this" | "before";

/**
 * Follows the event times of a source's records in the order of their ordinals, and steps its watermark. Bounded out
 * of order: the watermark is the highest time less a bound, as in Flink's strategy of that name. A time far ahead of
 * the highest is not believed before several in a row have been; at the beginning, where there is no highest one,
 * the lower of the first two is believed if they are far apart. Pure: the same times give the same steps, however
 * they are batched.
 */
export class EventTime {
  readonly #policy: WatermarkPolicy;
  #maxTime: number | undefined;
  #ahead: TimesAhead | undefined;
  /** The step that was in force when the batch began. */
  #before: WatermarkStep | undefined;
  #steps: WatermarkStep[] = [];

  constructor(policy: WatermarkPolicy, { maxTime, ahead, watermark }: EventTimePlace) {
    this.#policy = policy;
    this.#maxTime = maxTime;
    this.#ahead = ahead;
    this.#before = watermark;
  }

  get place(): EventTimePlace {
    return { maxTime: this.#maxTime, ahead: this.#ahead, watermark: this.#steps.at(-1) ?? this.#before };
  }

  /** The step that was in force when the batch began, and those since. */
  get steps(): readonly WatermarkStep[] {
    return this.#before === undefined ? this.#steps : [this.#before, ...this.#steps];
  }

  /** Begins another batch. */
  nextBatch(): void {
    this.#before = this.#steps.at(-1) ?? this.#before;
    this.#steps = [];
  }

  /**
   * A record with this time, if its source has event times, was accepted. Answers which record's time, far ahead of
   * the others', is not believed.
   */
  accept(time: number | undefined, ordinal: number): Disbelief | undefined {
    const ahead = time === undefined ? undefined : this.#believe(time);
    const now = this.#now;
    const reached = this.#maxTime === undefined ? NO_TIME : this.#maxTime - this.#policy.outOfOrdernessMs;
    const woken = now !== undefined && now.status !== "active";
    const risen = reached > NO_TIME && (now === undefined || reached >= now.time + this.#stepMs);
    if (woken || risen) {
      this.#step(ordinal, { status: "active", time: Math.max(reached, now?.time ?? NO_TIME) });
    }
    return ahead;
  }

  /** No record has come for a while: others need not wait for this source. */
  becomeIdle(ordinal: number): void {
    if (this.#now?.status === "idle" || this.#now?.status === "ended") return;
    this.#step(ordinal, { status: "idle", time: this.#now?.time ?? NO_TIME });
  }

  /** The input has ended. */
  end(ordinal: number): void {
    this.#step(ordinal, { status: "ended", time: this.#now?.time ?? NO_TIME });
  }

  /** A record came back into a partition after the end: that has to end once more, to close what it went into. */
  resume(ordinal: number): void {
    const now = this.#now;
    if (now?.status === "ended") this.#step(ordinal, { status: "active", time: now.time });
  }

  /** Who waits an hour for records out of order does not need to know of every second. */
  get #stepMs(): number {
    const share = Math.floor(this.#policy.outOfOrdernessMs / LIMITS.watermarkStepsPerBound);
    return Math.max(LIMITS.watermarkStepMs, share);
  }

  get #now(): Watermark | undefined {
    return (this.#steps.at(-1) ?? this.#before)?.watermark;
  }

  #step(ordinal: number, watermark: Watermark): void {
    this.#steps.push({ ordinal, watermark });
  }

  /** Takes a time into account. */
  #believe(time: number): Disbelief | undefined {
    const { aheadMs } = this.#policy;
    if (this.#maxTime === undefined) return this.#begin(time);
    if (time <= this.#maxTime + aheadMs) {
      this.#maxTime = Math.max(this.#maxTime, time);
      this.#ahead = undefined;
      return undefined;
    }
    const records = (this.#ahead?.records ?? 0) + 1;
    const least = Math.min(this.#ahead?.least ?? time, time);
    if (records < LIMITS.timeAheadRecords) {
      this.#ahead = { records, least };
      return "this";
    }
    this.#maxTime = least;
    this.#ahead = undefined;
    return undefined;
  }

  /** The first two times: neither can be known to be wrong but by the other. */
  #begin(time: number): Disbelief | undefined {
    const first = this.#ahead?.least;
    if (first === undefined) {
      this.#ahead = { records: 1, least: time };
      return undefined;
    }
    const apart = Math.abs(time - first) > this.#policy.aheadMs;
    const later = Math.max(time, first);
    this.#maxTime = apart ? Math.min(time, first) : later;
    const disbelief = !apart ? undefined : time === later ? "this" : "before";
    this.#ahead = disbelief === "this" ? { records: 1, least: time } : undefined;
    return disbelief;
  }
}
