import { encodeCanonical } from "../core/canonical.ts";
import { keyElement, numberElement } from "../core/path.ts";
import { NO_TIME, type Watermark } from "../core/watermark.ts";
import type { Key, TableJoinDefinition } from "../pipeline/definition.ts";
import { type Due, DueList } from "./due-list.ts";
import { noEventTime } from "./failures.ts";
import { type JoinBuffers, JoinState, subjectOf } from "./join-buffers.ts";
import { encodeMembers, pairOf } from "./members.ts";
import { answered } from "./promises.ts";
import type { JoinSnapshot, StageSnapshot } from "./state-snapshot.ts";
import type { Buffered, TimeOrdered } from "./time-ordered.ts";
import type { DecodeBytes, Firing, TimedInput, TimedOperator } from "./timed-operator.ts";
import type { RESULT_KINDS, TimedOutput } from "./timed-output.ts";
import { Timers } from "./timers.ts";

/** A left record whose time has come. */
interface DueRecord extends Due {
  readonly key: Key;
  readonly item: Buffered;
  readonly buffers: JoinBuffers;
}

const NEVER = Number.POSITIVE_INFINITY;

/**
 * A join with a table, as of event time: see {@link TimedOperator}. A left record waits until no change of the table
 * up to its time is to be expected any more. Of each key of the table the changes are kept that may still be asked for,
 * and the last one before them.
 */
export class TableJoinOperator implements TimedOperator {
  readonly #stage: TableJoinDefinition;
  readonly #decode: DecodeBytes;
  readonly #state = new JoinState();
  readonly #timers = new Timers<{ readonly key: Key; readonly buffers: JoinBuffers }>();
  #now = NO_TIME;
  readonly #due = new DueList<DueRecord>();
  /** What is to be let go of when all that is due has been given out: until then a snapshot has to hold it. */
  #expired: { readonly key: Key; readonly buffers: JoinBuffers; readonly time: number }[] = [];

  constructor(stage: TableJoinDefinition, decode: DecodeBytes) {
    this.#stage = stage;
    this.#decode = decode;
  }

  get size(): number {
    return this.#state.size;
  }

  take(input: TimedInput, output: TimedOutput): void {
    const { key, side, time, n, bytes, place } = input;
    if (time === undefined) {
      output.fail(noEventTime());
      return;
    }
    if (time + this.#stage.latenessMs < this.#now) {
      output.tooLate();
      return;
    }
    output.row(() => {
      this.#state.noteKey(key, side);
      const buffers = this.#state.of(key);
      const item = { time, n, bytes: bytes.slice(), place, matched: false };
      if (side === 0 && time < this.#now) this.#answer(item, key, buffers.right, "late", output);
      else {
        (side === 0 ? buffers.left : buffers.right).insert(item);
        this.#state.size++;
        if (side === 0) this.#schedule(key, buffers, time + 1);
        else this.#prune(buffers.right);
      }
    });
    const kept = this.#state.keys.get(key);
    if (kept !== undefined && kept.left.size + kept.right.size === 0) this.#state.keys.delete(key);
  }

  advance(watermark: Watermark): void {
    this.#now = Math.max(this.#now, watermark.time);
    if (watermark.status !== "ended") return;
    const waiting: DueRecord[] = [];
    for (const [key, buffers] of this.#state.keys) {
      for (const item of buffers.left) waiting.push(dueOf(key, buffers, item, true));
    }
    this.#due.addEnd(waiting);
  }

  fire(output: TimedOutput): Firing | undefined {
    for (;;) {
      const next = this.#due.take(() => this.#expire());
      if (next === undefined) return undefined;
      const { item, key, path, buffers, end } = next;
      if (item.matched) continue;
      // It is let go of with all of its time.
      item.matched = true;
      const kind = end ? "end" : "on-time";
      output.firing(() => this.#answer(item, key, buffers.right, kind, output), subjectOf(key, item));
      return { path, key, time: item.time };
    }
  }

  snapshot(stage: string): JoinSnapshot {
    return this.#state.snapshot(stage, "tableJoin");
  }

  restore(snapshot: StageSnapshot, watermark: Watermark | undefined): void {
    if (snapshot.kind !== "tableJoin") return;
    this.#now = watermark?.time ?? NO_TIME;
    this.#state.restore(snapshot);
    for (const [key, buffers] of this.#state.keys) this.#scheduleFirst(key, buffers);
  }

  #answer(
    { time, n, bytes }: Buffered,
    key: Key,
    table: TimeOrdered,
    kind: (typeof RESULT_KINDS)[number],
    output: TimedOutput,
  ): void {
    const found = table.lastUpTo(time);
    if (found === undefined && this.#stage.type === "inner") return;
    const left = this.#decode(bytes, 0, bytes.length);
    const right = found && this.#decode(found.bytes, 0, found.bytes.length);
    const members = found === undefined ? [n, 1] : pairOf(n, found.n);
    output.result(answered(this.#stage.fn(left, right, key), "a join"), kind, encodeMembers(members));
  }

  /** Lets go of the changes of a table that no record can ask for any more. */
  #prune(table: TimeOrdered): void {
    const last = table.lastUpTo(this.#now - this.#stage.latenessMs);
    if (last !== undefined) this.#state.size -= table.dropBefore(last.time);
  }

  #scheduleFirst(key: Key, buffers: JoinBuffers): void {
    for (const item of buffers.left) {
      this.#schedule(key, buffers, item.time + 1);
      return;
    }
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
    const due: DueRecord[] = [];
    for (const { key, buffers } of this.#timers.take()) {
      if (buffers.scheduled !== time) continue;
      buffers.scheduled = NEVER;
      for (const item of buffers.left.between(NO_TIME, time - 1)) {
        if (!item.matched) due.push(dueOf(key, buffers, item, false));
      }
      this.#expired.push({ key, buffers, time });
    }
    this.#due.addTimed(due);
    return true;
  }

  #letGo(): void {
    for (const { key, buffers, time } of this.#expired) {
      this.#state.size -= buffers.left.dropBefore(time);
      if (buffers.left.size + buffers.right.size === 0) this.#state.keys.delete(key);
      else this.#scheduleFirst(key, buffers);
    }
    this.#expired = [];
  }
}

function dueOf(key: Key, buffers: JoinBuffers, item: Buffered, end: boolean): DueRecord {
  const path = numberElement(item.time) + keyElement(encodeCanonical(key)) + item.place;
  return { path, key, item, buffers, end };
}
