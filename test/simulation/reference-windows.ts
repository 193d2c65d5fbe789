import type { StageContext } from "../../src/pipeline/context.ts";
import type { WindowDefinition } from "../../src/pipeline/definition.ts";
import type { FiringKind } from "../../src/pipeline/windows.ts";
import {
  compareBytes,
  type Item,
  keyName,
  keyOnPath,
  mustBeRecord,
  numberOnPath,
  type StageOutcome,
  unionOf,
} from "./reference-items.ts";
import { type TimedItem, TimedOutcome, type TimedStage, timelineOf } from "./reference-timeline.ts";
import type { Mark } from "./reference-watermarks.ts";

interface Window {
  readonly key: unknown;
  readonly start: number;
  readonly end: number;
  readonly total: unknown;
  readonly members: readonly Item[];
  /** Its end has passed. */
  readonly closed: boolean;
  /** Something was added since it fired last. */
  readonly changed: boolean;
  /** What it gave last was early. */
  readonly early: boolean;
}

/** What a window has to do when event time comes to `time`. */
interface Due {
  readonly window: Window;
  readonly path: string;
  readonly fires: FiringKind | undefined;
}

/** A window stage over all its records and steps. */
export function runWindow(
  definition: WindowDefinition,
  items: readonly TimedItem[],
  stage: TimedStage,
  contextOf: (item: Item) => StageContext,
): StageOutcome {
  const { windows, aggregate, latenessMs, early } = definition;
  const outcome = new TimedOutcome(stage);
  let open: readonly Window[] = [];
  let now = Number.NEGATIVE_INFINITY;

  const resultOf = (window: Window, firing: FiringKind) => ({
    value: definition.emit(aggregate.result(window.total), {
      key: window.key as never,
      start: window.start,
      end: window.end,
      firing,
    }),
    lineage: unionOf(window.members.map(({ lineage }) => lineage)),
  });

  /** The window with the record, and those that become this one. */
  const withRecord = (item: TimedItem, start: number, end: number, from: readonly Window[]): Window => {
    const [first, ...others] = from.toSorted((a, b) => a.start - b.start);
    const before = others.reduce(
      (total, { total: other }) => aggregate.merge(total, other),
      first === undefined ? aggregate.init() : first.total,
    );
    return {
      key: item.key,
      start,
      end,
      total: mustBeRecord(aggregate.step(before, item.value, contextOf(item))),
      members: [...from.flatMap(({ members }) => members), item],
      closed: end <= now,
      changed: true,
      early: from.some((window) => window.early),
    };
  };

  const take = (item: TimedItem) => {
    if (item.time === undefined && windows.kind !== "global") {
      outcome.positional(item, item.key, () => {
        throw new Error("no event time");
      });
      return;
    }
    const ofKey = open.filter(({ key }) => keyName(key) === keyName(item.key));
    const intervals = intervalsOf(definition, item, ofKey).filter(({ end }) => end + latenessMs > now);
    if (intervals.length === 0) {
      outcome.late.push(item);
      return;
    }
    const gone = new Set<Window>();
    const added: Window[] = [];
    const taken = outcome.positional(item, item.key, () =>
      intervals.flatMap(({ start, end, from }) => {
        const window = withRecord(item, start, end, from);
        const fires = firesAt(window);
        const begunAnew = fires === "on-time" && windows.kind === "global" && !windows.kept;
        for (const other of from) gone.add(other);
        if (!begunAnew) {
          const early = fires === undefined ? window.early : fires === "early";
          added.push({ ...window, changed: fires === undefined, early });
        }
        return fires === undefined ? [] : [resultOf(window, fires)];
      }),
    );
    if (taken) open = [...open.filter((window) => !gone.has(window)), ...added];
  };

  /** What a window gives because a record was added. */
  const firesAt = ({ end, members }: Window): FiringKind | undefined => {
    if (end <= now) return "late";
    if (windows.kind === "global") return members.length % windows.records === 0 ? "on-time" : undefined;
    if (early !== undefined && "records" in early)
      return members.length % early.records === 0 ? "early" : undefined;
    return undefined;
  };

  const advance = (ordinal: number, { time, status }: Mark) => {
    const before = now;
    now = Math.max(now, time);
    const due = open.flatMap((window) => dueOf(definition, window, before, now));
    const fire = ({ window, path, fires }: Due) => {
      const at = Number.isFinite(window.end) ? window.end - 1 : Number.isFinite(now) ? now : undefined;
      outcome.firing({ ordinal, path, key: window.key, time: at }, () =>
        fires === undefined ? undefined : resultOf(window, fires),
      );
    };
    for (const each of due.toSorted((a, b) => compareBytes(a.path, b.path))) fire(each);
    const fired = new Map(due.flatMap(({ window, fires }) => (fires === undefined ? [] : [[window, fires]])));
    open = open
      .filter(({ end }) => end + latenessMs > now)
      .map((window) => ({
        ...window,
        closed: window.end <= now,
        changed: window.changed && !fired.has(window),
        early: fired.has(window) ? fired.get(window) === "early" : window.early,
      }));
    if (status !== "ended") return;
    const unfinished = open.filter(({ changed, early }) => changed || early);
    const ends = unfinished.map((window) => ({
      window,
      path: pathOf(window.end, window),
      fires: "end" as const,
    }));
    for (const each of ends.toSorted((a, b) => compareBytes(a.path, b.path))) fire(each);
    open = open.map((window) => ({ ...window, changed: false, early: false }));
  };

  for (const event of timelineOf(items, stage)) {
    if (event.kind === "record") take(event.item);
    else advance(event.step.ordinal, event.step.mark);
  }
  return outcome;
}

/** The windows that a record belongs to, each with those that become it. */
function intervalsOf(
  { windows }: WindowDefinition,
  { time }: Item,
  ofKey: readonly Window[],
): { readonly start: number; readonly end: number; readonly from: readonly Window[] }[] {
  if (windows.kind === "global") {
    return [{ start: Number.NEGATIVE_INFINITY, end: Number.POSITIVE_INFINITY, from: ofKey }];
  }
  const at = time as number;
  if (windows.kind === "session") {
    const end = at + windows.gapMs;
    const from = ofKey.filter((window) => window.start < end && window.end > at);
    return [
      {
        start: Math.min(at, ...from.map(({ start }) => start)),
        end: Math.max(end, ...from.map((window) => window.end)),
        from,
      },
    ];
  }
  const { sizeMs, slideMs, offsetMs } = windows;
  const starts: number[] = [];
  const last = Math.floor((at - offsetMs) / slideMs) * slideMs + offsetMs;
  for (let start = last; start + sizeMs > at; start -= slideMs) starts.unshift(start);
  const byStart = new Map(ofKey.map((window) => [window.start, window]));
  return starts.map((start) => {
    const window = byStart.get(start);
    return { start, end: start + sizeMs, from: window === undefined ? [] : [window] };
  });
}

/** What a window has to do on the way of event time from `before` to `now`. */
function dueOf({ early, latenessMs }: WindowDefinition, window: Window, before: number, now: number): Due[] {
  const { start, end, changed, closed } = window;
  const unfinished = changed || window.early;
  if (end > now) {
    if (early === undefined || !("everyMs" in early) || !changed) return [];
    const multiple = (Math.floor(Math.max(before, start) / early.everyMs) + 1) * early.everyMs;
    if (multiple >= end || multiple > now) return [];
    return [{ window, path: pathOf(multiple, window), fires: "early" }];
  }
  const purge = { window, path: pathOf(end + latenessMs, window), fires: undefined };
  const purged = end + latenessMs <= now && (latenessMs > 0 || !unfinished);
  const onTime = { window, path: pathOf(end, window), fires: "on-time" as const };
  return [...(!closed && unfinished ? [onTime] : []), ...(purged ? [purge] : [])];
}

function pathOf(time: number, { key, start }: Window): string {
  return numberOnPath(time) + keyOnPath(key) + numberOnPath(start);
}
