import { encodeCanonical } from "../core/canonical.ts";
import { keyElement, numberElement } from "../core/path.ts";
import { NO_TIME, type Watermark } from "../core/watermark.ts";
import type { JoinDefinition, Key } from "../pipeline/definition.ts";
import { type Due, DueList } from "./due-list.ts";
import { noEventTime } from "./failures.ts";
import { type JoinBuffers, JoinState, subjectOf } from "./join-buffers.ts";
import { encodeMembers, pairOf } from "./members.ts";
import { answered } from "./promises.ts";
import type { JoinSnapshot, StageSnapshot } from "./state-snapshot.ts";
import type { Buffered } from "./time-ordered.ts";
import type { DecodeBytes, Firing, TimedInput, TimedOperator } from "./timed-operator.ts";
import type { TimedOutput } from "./timed-output.ts";
import { Timers } from "./timers.ts";

/** A left record for which no counterpart can come any more (or, at the end of the inputs, has come by then). */
interface Lonely extends Due {
  readonly key: Key;
  readonly item: Buffered;
}

const NEVER = Number.POSITIVE_INFINITY;
/** What nobody waits for is let go of a little later than it could be: in so many parts of the time it is kept. */
const PURGE_SHARE = 8;

/**
 * A stream–stream join within a bound of event time: see {@link TimedOperator}. Each record meets those of the other
 * side that came before it; records are kept until none can come that they match.
 */
export class JoinOperator implements TimedOperator {
  readonly #stage: JoinDefinition;
  readonly #decode: DecodeBytes;
  readonly #state = new JoinState();
  readonly #timers = new Timers<{ readonly key: Key; readonly buffers: JoinBuffers }>();
  #now = NO_TIME;
  readonly #due = new DueList<Lonely>();
  /** What is to be let go of when all that is due has been given out: until then a snapshot has to hold it. */
  #expired: { readonly key: Key; readonly buffers: JoinBuffers; readonly time: number }[] = [];

  constructor(stage: JoinDefinition, decode: DecodeBytes) {
    this.#stage = stage;
    this.#decode = decode;
  }

  get size(): number {
    return this.#state.size;
  }

  take(input: TimedInput, output: TimedOutput): void {
    const { latenessMs, beforeMs, afterMs, type } = this.#stage;
    const { key, side, time, n, bytes } = input;
    if (time === undefined) {
      output.fail(noEventTime());
      return;
    }
    if (time + latenessMs < this.#now) {
      output.tooLate();
      return;
    }
    output.row(() => {
      this.#state.noteKey(key, side);
      const known = this.#state.keys.get(key);
      const others = side === 0 ? known?.right : known?.left;
      const [from, to] = side === 0 ? [time - beforeMs, time + afterMs] : [time - afterMs, time + beforeMs];
      const matches = [...(others?.between(from, to) ?? [])].sort((a, b) => a.n - b.n);
      for (const [at, other] of matches.entries()) {
        const own = at === 0 ? input.record : this.#decode(bytes, 0, bytes.length);
        const met = this.#decode(other.bytes, 0, other.bytes.length);
        const [left, right] = side === 0 ? [own, met] : [met, own];
        const value = answered(this.#stage.fn(left, right, key), "a join");
        output.result(value, "on-time", encodeMembers(pairOf(other.n, n)));
      }
      if (type === "left") for (const other of matches) if (side === 1) other.matched = true;
      const matched = matches.length > 0;
      const item = { time, n, bytes: bytes.slice(), place: type === "left" ? input.place : "", matched };
      const buffers = known ?? this.#state.of(key);
      (side === 0 ? buffers.left : buffers.right).insert(item);
      this.#state.size++;
      this.#schedule(key, buffers, this.#timerOf(side, time));
    });
  }

  advance(watermark: Watermark): void {
    this.#now = Math.max(this.#now, watermark.time);
    if (watermark.status !== "ended" || this.#stage.type !== "left") return;
    const lonely: Lonely[] = [];
    for (const [key, { left }] of this.#state.keys) {
      for (const item of left) if (!item.matched) lonely.push(this.#lonely(key, item, true));
    }
    this.#due.addEnd(lonely);
  }

  fire(output: TimedOutput): Firing | undefined {
    for (;;) {
      const next = this.#due.take(() => this.#expire());
      if (next === undefined) return undefined;
      const { item, key, path, end } = next;
      if (item.matched) continue;
      item.matched = true;
      output.firing(
        () => {
          const left = this.#decode(item.bytes, 0, item.bytes.length);
          const value = answered(this.#stage.fn(left, undefined, key), "a join");
          output.result(value, end ? "end" : "on-time", encodeMembers([item.n, 1]));
        },
        subjectOf(key, item),
      );
      return { path, key, time: item.time };
    }
  }

  snapshot(stage: string): JoinSnapshot {
    return this.#state.snapshot(stage, "join");
  }

  restore(snapshot: StageSnapshot, watermark: Watermark | undefined): void {
    if (snapshot.kind !== "join") return;
    this.#now = watermark?.time ?? NO_TIME;
    this.#state.restore(snapshot);
    for (const [key, buffers] of this.#state.keys) this.#schedule(key, buffers, this.#nextTimer(buffers));
  }

  /** When a record of a side can be let go of. */
  #expiryOf(side: number, time: number): number {
    const { beforeMs, afterMs, latenessMs } = this.#stage;
    return time + (side === 0 ? afterMs : beforeMs) + latenessMs + 1;
  }

  #timerOf(side: number, time: number): number {
    const expiry = this.#expiryOf(side, time);
    // Only what comes out without a counterpart has its exact time.
    if (side === 0 && this.#stage.type === "left") return expiry;
    const { beforeMs, afterMs, latenessMs } = this.#stage;
    const grain = Math.max(1, Math.floor((beforeMs + afterMs + latenessMs) / PURGE_SHARE));
    return Math.ceil(expiry / grain) * grain;
  }

  #nextTimer({ left, right }: JoinBuffers): number {
    let timer = NEVER;
    for (const item of left) {
      timer = this.#timerOf(0, item.time);
      break;
    }
    for (const item of right) {
      timer = Math.min(timer, this.#timerOf(1, item.time));
      break;
    }
    return timer;
  }

  #schedule(key: Key, buffers: JoinBuffers, timer: number): void {
    if (timer >= buffers.scheduled) return;
    buffers.scheduled = timer;
    this.#timers.add(timer, { key, buffers });
  }

  /** Collects what is due at the earliest time that is; answers whether there is such a time. */
  #expire(): boolean {
    this.#letGo();
    const time = this.#timers.earliest;
    if (time === undefined || time > this.#now) return false;
    const lonely: Lonely[] = [];
    for (const { key, buffers } of this.#timers.take()) {
      if (buffers.scheduled !== time) continue;
      buffers.scheduled = NEVER;
      this.#expired.push({ key, buffers, time });
      if (this.#stage.type === "inner") continue;
      for (const item of buffers.left.between(NO_TIME, this.#leftFrom(time) - 1)) {
        if (!item.matched) lonely.push(this.#lonely(key, item, false));
      }
    }
    this.#due.addTimed(lonely);
    return true;
  }

  #letGo(): void {
    const { beforeMs, latenessMs } = this.#stage;
    for (const { key, buffers, time } of this.#expired) {
      const { left, right } = buffers;
      this.#state.size -=
        left.dropBefore(this.#leftFrom(time)) + right.dropBefore(time - beforeMs - latenessMs);
      if (left.size + right.size === 0) this.#state.keys.delete(key);
      else this.#schedule(key, buffers, this.#nextTimer(buffers));
    }
    this.#expired = [];
  }

  /** The least time of a left record that is kept when event time has come to `time`. */
  #leftFrom(time: number): number {
    return time - this.#stage.afterMs - this.#stage.latenessMs;
  }

  #lonely(key: Key, item: Buffered, end: boolean): Lonely {
    const time = numberElement(this.#expiryOf(0, item.time));
    return { path: time + keyElement(encodeCanonical(key)) + item.place, key, item, end };
  }
}
