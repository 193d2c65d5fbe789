import { HeadwaterError } from "../core/errors.ts";
import { timeToOrdinal } from "../core/ordinal.ts";
import { sourceStream } from "../core/streams.ts";
import type { EventLog } from "../ports/event-log.ts";
import { highestThrough } from "../runtime/completed.ts";
import type { DeploymentHistory } from "../runtime/deployment-history.ts";
import { firstFromOrdinal, ordinalOfLaterIn } from "../runtime/seek-time.ts";
import { spanOfTimes, type TimesQuery, type TimesSpan } from "../runtime/times-span.ts";
import type { HistoryPoint } from "./history-point.ts";

/** Records with ordinals from `from` up to and with `to`. */
export interface HistoryWindow {
  readonly from: number;
  readonly to: number;
}

/** The part of a pipeline's history that is asked for. */
export interface AskedWindow {
  /** The beginning if absent. */
  readonly from?: HistoryPoint;
  /** What was promised by now, if absent. */
  readonly to?: HistoryPoint;
  /** What of other sources lies between is in the window, but does not make it larger. */
  readonly source?: string;
}

/**
 * Events without a record of the window, in a row, after which {@link WindowSeek.soon} takes it that no more of its
 * records come. Reading so many takes a fraction of a millisecond.
 */
const QUIET_EVENTS = 4;

/**
 * Where the window lies that is asked for. Event times are looked for in all sources that have some, or in the one that
 * is asked for: such a window goes from the first to the last record whose time is in it, however late that came; what
 * came between is in it, too, as the state depends on it. Times far ahead of all others that are not believed do not
 * count.
 */
export class WindowSeek {
  readonly #log: EventLog;
  readonly #history: DeploymentHistory;
  readonly #asked: AskedWindow;
  /** Up to where there was something when the window was asked for. */
  readonly #end: number;

  private constructor(log: EventLog, history: DeploymentHistory, asked: AskedWindow, end: number) {
    this.#log = log;
    this.#history = history;
    this.#asked = asked;
    this.#end = end;
  }

  static async begin(log: EventLog, history: DeploymentHistory, asked: AskedWindow): Promise<WindowSeek> {
    const end = await highestThrough(log, history.pipeline, history.current);
    return new WindowSeek(log, history, asked, end);
  }

  /**
   * All of the window. Where it ends at an event time, the times of all later records are read: a second for some twenty
   * million. Throws `BadUsage` for a window that is reversed or empty, or for event times where there are none, and
   * `Stopped`.
   */
  async whole(signal: AbortSignal): Promise<HistoryWindow> {
    const { from, to } = this.#asked;
    if (to !== undefined && "eventTime" in to) {
      const window = await this.#upToTime(to.eventTime, { signal });
      if (window !== undefined) return window;
      const reversed = from !== undefined && "eventTime" in from && from.eventTime > to.eventTime;
      throw this.#nothing(reversed ? REVERSED : undefined);
    }
    const begin = await this.#begin();
    const last = to === undefined ? this.#end : ordinalUpTo(to);
    const window = { from: begin, to: Math.min(last, this.#end) };
    if (window.from <= window.to) return window;
    const reversed = from !== undefined && to !== undefined && begin <= this.#end;
    throw this.#nothing(reversed ? REVERSED : undefined);
  }

  /** The error of a window in which nothing is, which is named as it was asked for. */
  #nothing(message?: string): HeadwaterError {
    const { from, to } = this.#asked;
    const where = `${pointText(from, "the beginning")} to ${pointText(to, "the end")}`;
    return nothingAt(this.#history.pipeline, where, message);
  }

  /**
   * As {@link whole}, but for records that came much later than others of their time, where an end in event time is asked
   * for; in about as many reads as a beginning takes. `undefined`: to know, all has to be looked through.
   */
  async soon(): Promise<HistoryWindow | undefined> {
    const { to, source } = this.#asked;
    if (to === undefined || !("eventTime" in to)) return undefined;
    if (source !== undefined && !this.#timed().includes(source)) return undefined;
    return this.#upToTime(to.eventTime, { quietEvents: QUIET_EVENTS });
  }

  async #upToTime(
    to: number,
    how: Pick<TimesQuery, "signal" | "quietEvents">,
  ): Promise<HistoryWindow | undefined> {
    const { from } = this.#asked;
    const least = from === undefined || !("eventTime" in from) ? { ordinal: ordinalFrom(from) } : from;
    const spans: TimesSpan[] = [];
    for (const stream of this.#streams()) {
      const span = await spanOfTimes(this.#log, stream, { from: least, to, end: this.#end, ...how });
      if (span !== undefined) spans.push(span);
    }
    if (spans.length === 0) return undefined;
    const first = "ordinal" in least ? least.ordinal : Math.min(...spans.map((span) => span.first));
    // Who does not read all of it may have missed what closes it.
    const open = how.quietEvents === undefined && spans.every(({ passed }) => !passed);
    return { from: first, to: open ? this.#end : Math.max(...spans.map(({ last }) => last)) };
  }

  async #begin(): Promise<number> {
    const { from } = this.#asked;
    if (from === undefined || !("eventTime" in from)) return ordinalFrom(from);
    return (await ordinalOfLaterIn(this.#log, this.#streams(), from.eventTime - 1)) ?? this.#end + 1;
  }

  #streams(): string[] {
    const { source } = this.#asked;
    const timed = this.#timed();
    if (timed.length === 0) throw noEventTime(this.#history.pipeline);
    const asked = timed.filter((name) => name === source);
    return (asked.length > 0 ? asked : timed).map((name) => sourceStream(this.#history.pipeline, name));
  }

  /** The sources that have, or had, event times. */
  #timed(): string[] {
    const sources = this.#history.all.flatMap((deployed) => deployed.sources);
    return [...new Set(sources.filter(({ eventTime }) => eventTime).map(({ name }) => name))];
  }
}

const REVERSED = "the window ends before it begins";

type PointInLog = Exclude<HistoryPoint, { readonly eventTime: number }>;

function ordinalFrom(at: PointInLog | undefined): number {
  if (at === undefined) return 0;
  return "ordinal" in at ? at.ordinal : timeToOrdinal(at.logTime);
}

function ordinalUpTo(at: PointInLog): number {
  return "ordinal" in at ? at.ordinal : timeToOrdinal(at.logTime + 1) - 1;
}

function pointText(at: HistoryPoint | undefined, absent: string): string {
  if (at === undefined) return absent;
  if ("ordinal" in at) return `ordinal ${at.ordinal}`;
  return "eventTime" in at ? `event time ${timeText(at.eventTime)}` : `log time ${timeText(at.logTime)}`;
}

/** As ISO 8601; in milliseconds where that does not reach. */
function timeText(time: number): string {
  const date = new Date(time);
  return Number.isNaN(date.getTime()) ? `${time} ms` : date.toISOString();
}

/** The error of a window in which nothing is. */
export function nothingIn(pipeline: string, { from, to }: HistoryWindow, message?: string): HeadwaterError {
  return nothingAt(pipeline, `ordinals ${from} to ${to}`, message);
}

function nothingAt(pipeline: string, where: string, message = "there is nothing in the window") {
  return new HeadwaterError("BadUsage", message, {
    where,
    hint: `headwater log tail shows what pipeline ${pipeline} has in this log, with ordinals and times.`,
  });
}

/**
 * The last ordinal up to a point; of an event time before the first record that is later. `undefined`: event time has not
 * come further than that.
 */
export async function lastUpTo(
  log: EventLog,
  { pipeline, current }: DeploymentHistory,
  at: HistoryPoint,
): Promise<number | undefined> {
  if (!("eventTime" in at)) return ordinalUpTo(at);
  const timed = current.sources.filter(({ eventTime }) => eventTime);
  if (timed.length === 0) throw noEventTime(pipeline);
  const streams = timed.map(({ name }) => sourceStream(pipeline, name));
  const later = await ordinalOfLaterIn(log, streams, at.eventTime);
  return later === undefined ? undefined : later - 1;
}

function noEventTime(pipeline: string): HeadwaterError {
  return new HeadwaterError("BadUsage", "the pipeline's sources have no event time", {
    where: `pipeline ${pipeline}`,
    hint: "Give ordinals, or the times at which records were accepted with --log-time.",
  });
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
