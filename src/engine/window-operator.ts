import { encodeCanonical } from "../core/canonical.ts";
import {
  ColumnReader,
  ColumnWriter,
  decodeDeltas,
  decodePlain,
  decodeRuns,
  encodeDeltas,
  encodePlain,
  encodeRuns,
} from "../core/columns.ts";
import { keyElement, numberElement } from "../core/path.ts";
import { NO_TIME, type Watermark } from "../core/watermark.ts";
import type { StageContext } from "../pipeline/context.ts";
import type { Key, WindowDefinition } from "../pipeline/definition.ts";
import { type FiringKind, lastStart } from "../pipeline/windows.ts";
import { type Due, DueList } from "./due-list.ts";
import { noEventTime } from "./failures.ts";
import {
  addMember,
  encodeMembers,
  type Members,
  mergeMembers,
  readMembers,
  writeMembers,
} from "./members.ts";
import { freezeValues, packValues, thaw } from "./packed-values.ts";
import { answered } from "./promises.ts";
import { sortedByKey } from "./reduce-state.ts";
import { CHANGED, EARLY, FIRED, type StageSnapshot, type WindowSnapshot } from "./state-snapshot.ts";
import type { Firing, TimedInput, TimedOperator } from "./timed-operator.ts";
import type { TimedOutput } from "./timed-output.ts";
import { Timers } from "./timers.ts";

const FOREVER = Number.POSITIVE_INFINITY;

/** A window that is open, or still kept for records that come late. */
class Pane {
  readonly key: Key;
  start: number;
  end: number;
  total: unknown;
  members: Members;
  /** Records since it began, or began anew. */
  added: number;
  /** Whether its end has passed and it has fired. */
  fired: boolean;
  /** Whether something was added since it last fired. */
  changed: boolean;
  /** Whether its last result was an early one: the last word is still to come. */
  early: boolean;
  /** When something is to happen next; ∞: never. */
  timer = FOREVER;
  /** For when it stands in the timers; at most `timer`. ∞: it does not. */
  scheduled = FOREVER;
  gone = false;

  constructor(
    key: Key,
    start: number,
    end: number,
    total: unknown,
    members: Members,
    added: number,
    fired: boolean,
    changed: boolean,
    early: boolean,
  ) {
    this.key = key;
    this.start = start;
    this.end = end;
    this.total = total;
    this.members = members;
    this.added = added;
    this.fired = fired;
    this.changed = changed;
    this.early = early;
  }

  /** Whether it has more to say when its end comes. */
  get unfinished(): boolean {
    return this.changed || this.early;
  }
}

/** What a record makes of one window. */
interface Change {
  /** The windows that become this one: none for a new one, several where a session closes the gap between others. */
  readonly from: readonly Pane[];
  readonly start: number;
  readonly end: number;
  readonly total: unknown;
  readonly fires: FiringKind | undefined;
}

/** A window whose turn it is. */
interface DuePane extends Due {
  readonly pane: Pane;
}

/** Keyed windows: see {@link TimedOperator}. */
export class WindowOperator implements TimedOperator {
  readonly #stage: WindowDefinition;
  readonly #panes = new Map<Key, Pane[]>();
  readonly #timers = new Timers<Pane>();
  #size = 0;
  /** Up to where event time has come. */
  #now = NO_TIME;
  readonly #due = new DueList<DuePane>();

  constructor(stage: WindowDefinition) {
    this.#stage = stage;
  }

  get size(): number {
    return this.#size;
  }

  take(input: TimedInput, output: TimedOutput): void {
    try {
      const changes = this.#changes(input, output);
      if (changes.length === 0) {
        output.tooLate();
        return;
      }
      for (const { fires, from, total, start, end } of changes) {
        if (fires === undefined) continue;
        const value = this.#emit(total, input.key, start, end, fires);
        output.result(value, fires, encodeMembers(withMember(from, input.n)));
      }
      for (const change of changes) this.#apply(input, change);
      output.done();
    } catch (error) {
      output.fail(error);
    }
  }

  advance(watermark: Watermark): void {
    this.#now = Math.max(this.#now, watermark.time);
    if (watermark.status !== "ended") return;
    const open: DuePane[] = [];
    for (const panes of this.#panes.values()) {
      for (const pane of panes)
        if (pane.unfinished) open.push({ path: pathOf(pane.end, pane), pane, end: true });
    }
    this.#due.addEnd(open);
  }

  fire(output: TimedOutput): Firing | undefined {
    for (;;) {
      const next = this.#due.take(() => this.#takeDue());
      if (next === undefined) return undefined;
      const { path, pane, end } = next;
      if (pane.gone) continue;
      if (end) {
        if (pane.unfinished) return this.#firing(pane, "end", path, output);
        continue;
      }
      const firing = this.#expire(pane, path, output);
      if (firing !== undefined) return firing;
    }
  }

  snapshot(stage: string): WindowSnapshot {
    const keys = sortedByKey(this.#panes);
    const panes = keys.flatMap(([, ofKey]) => ofKey);
    const members = new ColumnWriter(panes.length * 8);
    for (const pane of panes) writeMembers(members, pane.members);
    const finite = (time: number) => (Number.isFinite(time) ? time : 0);
    return {
      stage,
      kind: "window",
      keys: keys.map(([key]) => key),
      windows: encodeRuns(keys.map(([, ofKey]) => ofKey.length)),
      starts: encodeDeltas(panes.map((pane) => finite(pane.start))),
      ends: encodeDeltas(panes.map((pane) => finite(pane.end))),
      flags: encodeRuns(
        panes.map(
          (pane) => (pane.fired ? FIRED : 0) + (pane.changed ? CHANGED : 0) + (pane.early ? EARLY : 0),
        ),
      ),
      added: encodePlain(panes.map((pane) => pane.added)),
      totals: packValues(panes.map((pane) => pane.total)),
      members: members.finish(),
    };
  }

  restore(snapshot: StageSnapshot, watermark: Watermark | undefined): void {
    if (snapshot.kind !== "window") return;
    this.#now = watermark?.time ?? NO_TIME;
    const counts = decodeRuns(snapshot.windows, snapshot.keys.length);
    const starts = decodeDeltas(snapshot.starts);
    const ends = decodeDeltas(snapshot.ends, starts.length);
    const flags = decodeRuns(snapshot.flags, starts.length);
    const added = decodePlain(snapshot.added, starts.length);
    const totals = freezeValues(snapshot.totals, starts.length);
    const members = new ColumnReader(snapshot.members);
    const global = this.#stage.windows.kind === "global";
    let at = 0;
    for (const [index, key] of snapshot.keys.entries()) {
      for (let left = counts[index] as number; left > 0; left--, at++) {
        const flag = flags[at] as number;
        const start = global ? NO_TIME : (starts[at] as number);
        const end = global ? FOREVER : (ends[at] as number);
        const count = added[at] as number;
        const [fired, changed, early] = [FIRED, CHANGED, EARLY].map((bit) => (flag & bit) !== 0) as [
          boolean,
          boolean,
          boolean,
        ];
        const total = totals[at];
        this.#insert(new Pane(key, start, end, total, readMembers(members), count, fired, changed, early));
      }
    }
  }

  /** What a record makes of the windows that it belongs to; nothing if all of them are closed. */
  #changes(input: TimedInput, output: TimedOutput): Change[] {
    const { windows, latenessMs } = this.#stage;
    const panes = this.#panes.get(input.key) ?? [];
    const { record, ctx } = input;
    if (windows.kind === "global") {
      return [this.#change(panes, NO_TIME, FOREVER, record, ctx, output)];
    }
    const { time } = input;
    if (time === undefined) throw noEventTime();
    if (windows.kind === "session") {
      let start = time;
      let end = time + windows.gapMs;
      const joined = panes.filter((pane) => pane.start < end && pane.end > start);
      for (const pane of joined) {
        start = Math.min(start, pane.start);
        end = Math.max(end, pane.end);
      }
      if (end + latenessMs <= this.#now) return [];
      return [this.#change(joined, start, end, record, ctx, output)];
    }
    const { sizeMs, slideMs, offsetMs } = windows;
    const changes: Change[] = [];
    const last = lastStart(time, slideMs, offsetMs);
    const first = lastStart(time - sizeMs, slideMs, offsetMs) + slideMs;
    for (let start = first; start <= last; start += slideMs) {
      const end = start + sizeMs;
      if (end + latenessMs <= this.#now) continue;
      const pane = findPane(panes, start, end);
      changes.push(this.#change(pane === undefined ? [] : [pane], start, end, record, ctx, output));
    }
    return changes;
  }

  #change(
    from: readonly Pane[],
    start: number,
    end: number,
    record: unknown,
    ctx: StageContext,
    output: TimedOutput,
  ): Change {
    const { aggregate, windows, early } = this.#stage;
    let before: unknown;
    let added = 1;
    for (const [at, pane] of from.entries()) {
      pane.total = thaw(pane.total);
      before = at === 0 ? pane.total : answered(aggregate.merge(before, pane.total), "an aggregate's merge");
      added += pane.added;
    }
    if (from.length === 0) before = answered(aggregate.init(), "an aggregate's init");
    const total = answered(aggregate.step(before, record, ctx), "an aggregate's step");
    // A total that cannot be kept would only be found at the next snapshot, far from its cause.
    if (aggregate.safe !== true) output.check(total);
    let fires: FiringKind | undefined;
    if (end <= this.#now) fires = "late";
    else if (windows.kind === "global") fires = added % windows.records === 0 ? "on-time" : undefined;
    else if (early !== undefined && "records" in early && added % early.records === 0) fires = "early";
    return { from, start, end, total, fires };
  }

  #apply({ key, n }: TimedInput, { from, start, end, total, fires }: Change): void {
    const { windows } = this.#stage;
    const [first] = from;
    if (fires === "on-time" && windows.kind === "global" && !windows.kept) {
      // It begins anew with the next record.
      if (first !== undefined) this.#remove(first);
      return;
    }
    for (const pane of from.slice(1)) this.#remove(pane);
    const added = 1 + from.reduce((sum, pane) => sum + pane.added, 0);
    const changed = fires === undefined;
    // What was said early of windows that are joined now is not their last word either.
    const early = fires === "early" || (changed && from.some((pane) => pane.early));
    const fired = end <= this.#now;
    if (first === undefined) {
      this.#insert(new Pane(key, start, end, total, [n, 1], added, fired, changed, early));
      return;
    }
    if (from.length > 1) first.members = withMember(from, n);
    else addMember(first.members, n);
    first.start = start;
    first.end = end;
    first.total = total;
    first.added = added;
    first.fired = fired;
    first.changed = changed;
    first.early = early;
    this.#schedule(first);
  }

  /** Says when something is to happen with a window next. */
  #schedule(pane: Pane): void {
    pane.timer = this.#timerOf(pane);
    // An earlier place in the timers does: it is put off from there.
    if (pane.timer >= pane.scheduled || pane.timer === FOREVER) return;
    pane.scheduled = pane.timer;
    this.#timers.add(pane.timer, pane);
  }

  #timerOf(pane: Pane): number {
    const { early, latenessMs } = this.#stage;
    if (pane.fired) return pane.end + latenessMs;
    if (early !== undefined && "everyMs" in early) {
      const after = Math.max(this.#now, pane.start);
      const next = Math.floor(after / early.everyMs) * early.everyMs + early.everyMs;
      if (next < pane.end) return next;
    }
    return pane.end;
  }

  /** Collects what is due at the earliest time that is; answers whether there is such a time. */
  #takeDue(): boolean {
    const time = this.#timers.earliest;
    if (time === undefined || time > this.#now) return false;
    const due: DuePane[] = [];
    for (const pane of this.#timers.take()) {
      if (pane.gone || pane.scheduled !== time) continue;
      pane.scheduled = FOREVER;
      if (pane.timer === time) due.push({ path: pathOf(time, pane), pane, end: false });
      else this.#putOff(pane);
    }
    this.#due.addTimed(due);
    return true;
  }

  #putOff(pane: Pane): void {
    if (pane.timer === FOREVER) return;
    pane.scheduled = pane.timer;
    this.#timers.add(pane.timer, pane);
  }

  /** A window's timer has come: what is to be recorded of it. */
  #expire(pane: Pane, path: string, output: TimedOutput): Firing | undefined {
    const { latenessMs } = this.#stage;
    if (pane.fired) return this.#purge(pane, path, output);
    if (pane.timer < pane.end) {
      // Where its end has passed, too, that is what it gives.
      const early = pane.changed && pane.end > this.#now;
      if (!early && pane.end <= this.#now) {
        pane.timer = pane.end;
        this.#putOff(pane);
        return undefined;
      }
      this.#schedule(pane);
      return early ? this.#firing(pane, "early", path, output) : undefined;
    }
    pane.fired = true;
    if (latenessMs > 0) {
      this.#schedule(pane);
      return pane.unfinished ? this.#firing(pane, "on-time", path, output) : undefined;
    }
    if (!pane.unfinished) return this.#purge(pane, path, output);
    this.#remove(pane);
    return this.#firing(pane, "on-time", path, output);
  }

  #purge(pane: Pane, path: string, output: TimedOutput): Firing {
    this.#remove(pane);
    return this.#record(pane, path, output, () => {});
  }

  #firing(pane: Pane, kind: FiringKind, path: string, output: TimedOutput): Firing {
    // Whatever comes of it: it would not end otherwise at the next try.
    pane.changed = false;
    pane.early = kind === "early";
    return this.#record(pane, path, output, () => {
      pane.total = thaw(pane.total);
      const value = this.#emit(pane.total, pane.key, pane.start, pane.end, kind);
      output.result(value, kind, encodeMembers(pane.members));
    });
  }

  #record(pane: Pane, path: string, output: TimedOutput, make: () => void): Firing {
    const time = Number.isFinite(pane.end) ? pane.end - 1 : this.#now;
    output.firing(make, () => ({
      key: pane.key,
      time,
      start: pane.start,
      end: pane.end,
      total: thaw(pane.total),
      members: encodeMembers(pane.members),
    }));
    return { path, key: pane.key, time: Number.isFinite(time) ? time : undefined };
  }

  #emit(total: unknown, key: Key, start: number, end: number, firing: FiringKind): unknown {
    const { aggregate, emit } = this.#stage;
    const result = answered(aggregate.result(total), "an aggregate's result");
    return answered(emit(result, { key, start, end, firing }), "a window's emit");
  }

  #insert(pane: Pane): void {
    this.#size++;
    const panes = this.#panes.get(pane.key);
    if (panes === undefined) this.#panes.set(pane.key, [pane]);
    else {
      let at = panes.length;
      while (at > 0 && (panes[at - 1] as Pane).start > pane.start) at--;
      panes.splice(at, 0, pane);
    }
    this.#schedule(pane);
  }

  #remove(pane: Pane): void {
    pane.gone = true;
    this.#size--;
    const panes = this.#panes.get(pane.key) ?? [];
    if (panes.length === 1) this.#panes.delete(pane.key);
    else panes.splice(panes.indexOf(pane), 1);
  }
}

/** A window that was left by a deployment with windows of another size is another one, though it begins there, too. */
function findPane(panes: readonly Pane[], start: number, end: number): Pane | undefined {
  for (let at = panes.length - 1; at >= 0; at--) {
    const pane = panes[at] as Pane;
    if (pane.start < start) return undefined;
    if (pane.start === start && pane.end === end) return pane;
  }
  return undefined;
}

/** A new set: the members of all of them, and `n`. */
function withMember(from: readonly Pane[], n: number): Members {
  const members = from.map((pane) => pane.members).reduce(mergeMembers, []);
  addMember(members, n);
  return members;
}

function pathOf(time: number, pane: Pane): string {
  return numberElement(time) + keyElement(encodeCanonical(pane.key)) + numberElement(pane.start);
}
