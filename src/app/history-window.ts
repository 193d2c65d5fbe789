import { HeadwaterError } from "../core/errors.ts";
import { timeToOrdinal } from "../core/ordinal.ts";
import { sourceStream } from "../core/streams.ts";
import type { EventLog } from "../ports/event-log.ts";
import { highestThrough } from "../runtime/completed.ts";
import type { DeploymentHistory } from "../runtime/deployment-history.ts";
import { firstFromOrdinal, ordinalOfLaterIn } from "../runtime/seek-time.ts";
import type { HistoryPoint } from "./history-point.ts";

/** Records with ordinals from `from` up to and with `to`. */
export interface HistoryWindow {
  readonly from: number;
  readonly to: number;
}

/**
 * The part of a pipeline's history between two points: records that are not before `from` and not after `to`; where
 * one is absent, from the beginning or to the end of what was promised by now. A point in event time is looked for in
 * all sources that have one: the earliest record that is later counts, as records need not be in the order of their
 * times. Throws `BadUsage` for a window that is reversed or empty, or for event times where there are none.
 */
export async function windowOf(
  log: EventLog,
  history: DeploymentHistory,
  from: HistoryPoint | undefined,
  to: HistoryPoint | undefined,
): Promise<HistoryWindow> {
  const end = await highestThrough(log, history.pipeline, history.current);
  const first = from === undefined ? 0 : await firstFrom(log, history, from);
  const last = to === undefined ? end : await lastUpTo(log, history, to);
  const window = { from: first ?? end + 1, to: Math.min(last ?? end, end) };
  if (window.from <= window.to) return window;
  const reversed = from !== undefined && to !== undefined && first !== undefined && last !== undefined;
  throw nothingIn(history.pipeline, window, reversed ? "the window ends before it begins" : undefined);
}

/** The error of a window in which nothing is. */
export function nothingIn(
  pipeline: string,
  { from, to }: HistoryWindow,
  message = "there is nothing in the window",
): HeadwaterError {
  return new HeadwaterError("BadUsage", message, {
    where: `ordinals ${from} to ${to}`,
    hint: `headwater log tail shows what pipeline ${pipeline} has in this log, with ordinals and times.`,
  });
}

async function firstFrom(log: EventLog, history: DeploymentHistory, at: HistoryPoint) {
  if ("ordinal" in at) return at.ordinal;
  if ("logTime" in at) return timeToOrdinal(at.logTime);
  return firstLater(log, history, at.eventTime - 1);
}

/** The last ordinal up to a point; `undefined`: event time has not come further than that. */
export async function lastUpTo(
  log: EventLog,
  history: DeploymentHistory,
  at: HistoryPoint,
): Promise<number | undefined> {
  if ("ordinal" in at) return at.ordinal;
  if ("logTime" in at) return timeToOrdinal(at.logTime + 1) - 1;
  const later = await firstLater(log, history, at.eventTime);
  return later === undefined ? undefined : later - 1;
}

/** The first ordinal of a record whose event time is later. */
async function firstLater(
  log: EventLog,
  { pipeline, current }: DeploymentHistory,
  time: number,
): Promise<number | undefined> {
  const timed = current.sources.filter(({ eventTime }) => eventTime);
  if (timed.length === 0) {
    throw new HeadwaterError("BadUsage", "the pipeline's sources have no event time", {
      where: `pipeline ${pipeline}`,
      hint: "Give ordinals, or the times at which records were accepted with --log-time.",
    });
  }
  const streams = timed.map(({ name }) => sourceStream(pipeline, name));
  return ordinalOfLaterIn(log, streams, time);
}

/** The ordinal of the first record that sources have in a window; `undefined`: they have none. */
export async function firstRecordIn(
  log: EventLog,
  { pipeline, all }: Pick<DeploymentHistory, "pipeline" | "all">,
  { from, to }: HistoryWindow,
): Promise<number | undefined> {
  let first: number | undefined;
  for (const source of new Set(all.flatMap(({ sources }) => sources.map(({ name }) => name)))) {
    const place = await firstFromOrdinal(log, sourceStream(pipeline, source), from);
    if (place !== undefined && place.ordinal <= to) first = Math.min(first ?? place.ordinal, place.ordinal);
  }
  return first;
}
