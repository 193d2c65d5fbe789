import { decodeDeltas } from "../core/columns.ts";
import { HeadwaterError } from "../core/errors.ts";
import { decodeEvent } from "../core/event-codec.ts";
import type { RecordsAccepted } from "../core/events.ts";
import { ORDINAL_MOST } from "../core/ordinal.ts";
import type { EventLog } from "../ports/event-log.ts";
import { readInSteps, readOne, seekRecord, seekThrough } from "./seek.ts";
import { firstFromOrdinal, ordinalOfLater, recordsBefore } from "./seek-time.ts";

/** What is looked for in a source's stream. */
export interface TimesQuery {
  /** The least event time, in milliseconds since 1970, or the least ordinal. */
  readonly from: { readonly eventTime: number } | { readonly ordinal: number };
  /** The most event time. */
  readonly to: number;
  /** The most ordinal: what came later is not looked at. */
  readonly end: number;
  /**
   * Once time has passed `to`, the stream is read on until so many events in a row have nothing of what is looked for;
   * to its end, if absent.
   */
  readonly quietEvents?: number;
  /** Aborting it rejects with `Stopped`. */
  readonly signal?: AbortSignal;
}

/** Where the records that are looked for begin and end. Between them may be others. */
export interface TimesSpan {
  readonly first: number;
  readonly last: number;
  /** Whether a record that is later than all of them has come. */
  readonly passed: boolean;
}

/**
 * From the first to the last ordinal of the records of a source's stream whose event times are in a range; `undefined`:
 * there are none. The first, and where time passes the range, take O(log n) reads. How late a record may come nobody
 * knows: all events from there on are read, their columns alone.
 */
export async function spanOfTimes(
  log: EventLog,
  stream: string,
  query: TimesQuery,
): Promise<TimesSpan | undefined> {
  const { from, to, end } = query;
  const begin =
    "ordinal" in from
      ? (await firstFromOrdinal(log, stream, from.ordinal))?.ordinal
      : await ordinalOfLater(log, stream, from.eventTime - 1);
  if (begin === undefined || begin > end) return undefined;
  const later = await ordinalOfLater(log, stream, to);
  if (later === undefined) {
    return { first: begin, last: Math.min(end, await lastOrdinal(log, stream)), passed: false };
  }
  const before = begin < later ? { first: begin, last: Math.min(end, later - 1) } : undefined;
  const after = await spanAfter(log, stream, Math.max(begin, later), query);
  const first = before?.first ?? after?.first;
  const last = after?.last ?? before?.last;
  return first === undefined || last === undefined ? undefined : { first, last, passed: true };
}

/** The ordinals of the first and the last record from an ordinal on that a query looks for. */
async function spanAfter(
  log: EventLog,
  stream: string,
  after: number,
  { from, to, end, quietEvents = Number.POSITIVE_INFINITY, signal }: TimesQuery,
): Promise<{ readonly first: number; readonly last: number } | undefined> {
  const least = "eventTime" in from ? from.eventTime : Number.NEGATIVE_INFINITY;
  const revision = await seekThrough(log, stream, after - 1);
  if (revision === undefined) return undefined;
  let first: number | undefined;
  let last = after;
  let quiet = 0;
  for await (const recorded of readInSteps(log, stream, revision, "forwards")) {
    if (signal?.aborted)
      throw new HeadwaterError("Stopped", "stopped before the end of the window was found");
    const { type, data } = decodeEvent(recorded);
    if (type !== "RecordsAccepted" && type !== "InputEnded") continue;
    const found = ordinalsIn(data, least, to).filter((ordinal) => ordinal >= after && ordinal <= end);
    first ??= found[0];
    last = found.at(-1) ?? last;
    if (found.length > 0) quiet = 0;
    else if (data.count > 0) quiet++;
    // What comes after an event is later than what that is complete up to.
    if (quiet >= quietEvents || data.through >= end) break;
  }
  return first === undefined ? undefined : { first, last };
}

/** The ordinals of the records of an event whose times are in a range. Most events have none: then only times are read. */
function ordinalsIn({ times, ordinals, count }: RecordsAccepted, least: number, most: number): number[] {
  if (times === undefined || ordinals === undefined) return [];
  const rows: number[] = [];
  for (const [row, time] of decodeDeltas(times, count).entries()) {
    if (time >= least && time <= most) rows.push(row);
  }
  if (rows.length === 0) return [];
  const all = decodeDeltas(ordinals, count);
  return rows.map((row) => all[row] as number);
}

/** The ordinal of the last record of a stream that has some. O(log n) reads. */
async function lastOrdinal(log: EventLog, stream: string): Promise<number> {
  const n = (await recordsBefore(log, stream, ORDINAL_MOST)) - 1;
  const { data } = decodeEvent(await readOne(log, stream, await seekRecord(log, stream, n)));
  if (!("ordinals" in data) || !("first" in data) || data.ordinals === undefined) return ORDINAL_MOST;
  return decodeDeltas(data.ordinals)[n - data.first] ?? ORDINAL_MOST;
}
