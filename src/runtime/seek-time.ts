import { decodeDeltas } from "../core/columns.ts";
import { decodeEvent } from "../core/event-codec.ts";
import type { RecordsAccepted, TypedEvent } from "../core/events.ts";
import { LIMITS } from "../core/limits.ts";
import { timeToOrdinal } from "../core/ordinal.ts";
import type { Position } from "../core/position.ts";
import type { EventLog } from "../ports/event-log.ts";
import { readInSteps, readOne, seekLast, seekRecord, seekThrough } from "./seek.ts";
import { lastEvent } from "./stream-tail.ts";

/** Events in a row without records that were believed together, after which none is looked for further back. */
const EVENTS_WITHOUT_RUN = 8;

/**
 * The ordinal of the first record of a source's stream whose event time is later than `time` (milliseconds since
 * 1970); `undefined` if there is none. Times far ahead of all others that are not believed do not count. O(log n)
 * reads: the events say the highest time that is believed, which hardly ever falls.
 */
export async function ordinalOfLater(
  log: EventLog,
  stream: string,
  time: number,
): Promise<number | undefined> {
  const before = await seekLast(log, stream, (event) => highestTime(event) <= time);
  if (before === undefined) return undefined;
  const inRun = await laterInRunBefore(log, stream, before, time);
  const after = await laterAfter(log, stream, before, time);
  return inRun === undefined || after === undefined ? (inRun ?? after) : Math.min(inRun, after);
}

/** {@link ordinalOfLater}, of records that made the highest time later than `time`, after revision `before`. */
async function laterAfter(
  log: EventLog,
  stream: string,
  before: number,
  time: number,
): Promise<number | undefined> {
  const { ahead, found } = await firstLaterEvent(log, stream, before, time);
  const highest = found?.maxTime ?? Number.POSITIVE_INFINITY;
  // Of the very first record alone no event says a highest time: nothing was there to believe it by.
  const first = found?.first === 0 ? undefined : await loneFirst(log, stream);
  if (first !== undefined && first.time > time && first.time <= highest) return first.ordinal;
  if (found === undefined) return undefined;
  return (await ordinalOfRun(log, stream, found, ahead, time)) ?? ordinalIn(found, time, highest);
}

/**
 * Several in a row that were far ahead are believed together, and the highest time is the least of theirs then: others of
 * them may be later than `time` though no event up to revision `before` says a later one. That lasts until the next
 * record as late as they are has come: it is read back until so many events in a row have no such run.
 */
async function laterInRunBefore(
  log: EventLog,
  stream: string,
  before: number,
  time: number,
): Promise<number | undefined> {
  let earliest: number | undefined;
  let quiet = 0;
  let event: RecordsAccepted | undefined;
  const look = async (ahead: number) => {
    const found = event && (await ordinalOfRun(log, stream, event, ahead, time));
    quiet = found === undefined ? quiet + 1 : 0;
    earliest = found ?? earliest;
  };
  for await (const recorded of readInSteps(log, stream, before, "backwards")) {
    const { type, data } = decodeEvent(recorded);
    await look(("ahead" in data ? data.ahead?.records : undefined) ?? 0);
    if (quiet > EVENTS_WITHOUT_RUN) return earliest;
    event = type === "RecordsAccepted" || type === "InputEnded" ? data : undefined;
  }
  await look(0);
  return earliest;
}

/** {@link ordinalOfLater}, of the first such record in any of several streams. */
export async function ordinalOfLaterIn(
  log: EventLog,
  streams: readonly string[],
  time: number,
): Promise<number | undefined> {
  let least: number | undefined;
  for (const stream of streams) {
    const found = await ordinalOfLater(log, stream, time);
    if (found !== undefined) least = Math.min(found, least ?? found);
  }
  return least;
}

function highestTime({ data }: TypedEvent): number {
  return ("maxTime" in data ? data.maxTime : undefined) ?? Number.NEGATIVE_INFINITY;
}

/**
 * The event in which event time passes `time`, which is after revision `before` unless that is the first one; and how
 * many records in a row had come before it whose times were not believed.
 */
async function firstLaterEvent(log: EventLog, stream: string, before: number, time: number) {
  let ahead = 0;
  for await (const recorded of log.read(stream, { from: before, limit: 2 })) {
    const event = decodeEvent(recorded);
    const accepted = event.type === "RecordsAccepted" || event.type === "InputEnded";
    if (accepted && highestTime(event) > time) return { ahead, found: event.data };
    ahead = ("ahead" in event.data ? event.data.ahead?.records : undefined) ?? 0;
  }
  return { ahead, found: undefined };
}

/**
 * Where so many in a row were ahead that the next one made them believed, and none of the event was later before: the
 * ordinal of the first of them that is later than `time`. `ahead` of them had come before the event.
 */
async function ordinalOfRun(
  log: EventLog,
  stream: string,
  { first, times, aheadRows }: RecordsAccepted,
  ahead: number,
  time: number,
): Promise<number | undefined> {
  if (times === undefined || (ahead === 0 && aheadRows === undefined)) return undefined;
  const most = LIMITS.timeAheadRecords - 1;
  const notBelieved = new Set(aheadRows === undefined ? [] : decodeDeltas(aheadRows));
  let run = ahead;
  for (const [row, other] of decodeDeltas(times).entries()) {
    if (notBelieved.has(row)) {
      run++;
      continue;
    }
    const whole = run === most;
    run = 0;
    if (whole) {
      const found = await laterAmong(log, stream, { from: first + row - most, to: first + row }, time);
      if (found !== undefined) return found;
    } else if (other > time) return undefined;
  }
  return undefined;
}

/** The ordinal of the first of some records of a stream that is later than `time`. */
async function laterAmong(
  log: EventLog,
  stream: string,
  { from, to }: { readonly from: number; readonly to: number },
  time: number,
): Promise<number | undefined> {
  for await (const recorded of log.read(stream, { from: await seekRecord(log, stream, from) })) {
    const { type, data } = decodeEvent(recorded);
    if (type !== "RecordsAccepted" && type !== "InputEnded") continue;
    if (data.first > to) return undefined;
    if (data.ordinals === undefined || data.times === undefined) continue;
    const found = decodeDeltas(data.times).findIndex(
      (other, row) => other > time && data.first + row >= from && data.first + row <= to,
    );
    if (found >= 0) return decodeDeltas(data.ordinals)[found];
  }
  return undefined;
}

function ordinalIn({ ordinals, times, aheadRows }: RecordsAccepted, time: number, highest: number) {
  if (ordinals === undefined || times === undefined) return undefined;
  const rows = decodeDeltas(times);
  const ahead = new Set(aheadRows === undefined ? [] : decodeDeltas(aheadRows));
  const believed = rows.findIndex((other, row) => other > time && other <= highest && !ahead.has(row));
  // Where several that were not believed at first made up the highest time together, it is the first of them.
  const row = believed >= 0 ? believed : rows.findIndex((other) => other > time);
  return row < 0 ? undefined : decodeDeltas(ordinals)[row];
}

/** The record N = 0, if an event of its own holds it. */
async function loneFirst(
  log: EventLog,
  stream: string,
): Promise<{ readonly ordinal: number; readonly time: number } | undefined> {
  const event = decodeEvent(await readOne(log, stream, await seekRecord(log, stream, 0)));
  if (event.type !== "RecordsAccepted" || event.data.maxTime !== undefined) return undefined;
  const { ordinals, times } = event.data;
  if (ordinals === undefined || times === undefined) return undefined;
  const [ordinal] = decodeDeltas(ordinals);
  const [time] = decodeDeltas(times);
  return ordinal === undefined || time === undefined ? undefined : { ordinal, time };
}

/** A record of a source's stream. */
export interface SourcePlace {
  readonly n: number;
  readonly ordinal: number;
}

/**
 * The first record of a source's stream, or input of a partition's, with this ordinal or a later one; `undefined`: there
 * is none. O(log n) reads.
 */
export async function firstFromOrdinal(
  log: EventLog,
  stream: string,
  ordinal: number,
): Promise<SourcePlace | undefined> {
  return (await firstEventAfter(log, stream, ordinal - 1))?.place;
}

/** The first record that is later than an ordinal, and the position of the event that has it. O(log n) reads. */
export async function firstEventAfter(
  log: EventLog,
  stream: string,
  ordinal: number,
): Promise<{ readonly place: SourcePlace; readonly position: Position } | undefined> {
  // Records have ascending ordinals, and an event is complete up to the one before its last at least.
  const before = await seekThrough(log, stream, ordinal - 1);
  if (before === undefined) return undefined;
  for await (const recorded of log.read(stream, { from: before })) {
    const { type, data } = decodeEvent(recorded);
    if (type !== "RecordsAccepted" && type !== "InputEnded" && type !== "StepsRecorded") continue;
    if (data.ordinals === undefined) continue;
    const ordinals = decodeDeltas(data.ordinals, data.count);
    const row = ordinals.findIndex((other) => other > ordinal);
    if (row < 0) continue;
    const place = { n: data.first + row, ordinal: ordinals[row] as number };
    return { place, position: recorded.position };
  }
  return undefined;
}

/** How many records of a source's stream, or inputs of a partition's, have ordinals below `ordinal`. */
export async function recordsBefore(log: EventLog, stream: string, ordinal: number): Promise<number> {
  let last = await lastEvent(log, stream);
  for (;;) {
    const later = await firstFromOrdinal(log, stream, ordinal);
    if (later !== undefined) return later.n;
    const now = await lastEvent(log, stream);
    // What came meanwhile was not looked at: it may be later.
    if (now?.revision === last?.revision) break;
    last = now;
  }
  const data = last && decodeEvent(last).data;
  if (data === undefined || !("first" in data)) return 0;
  return data.first + ("count" in data ? data.count : 0);
}

/**
 * Which records of a source's stream, or inputs of a partition's, have ordinals from `from` up to and with `to`: those
 * from N = `first` up to, and without, `end`. Before the beginning there was nothing, whatever is not kept any more.
 */
export async function recordsWithin(
  log: EventLog,
  stream: string,
  { from, to }: { readonly from: number; readonly to: number },
): Promise<{ readonly first: number; readonly end: number }> {
  const first = from <= 0 ? 0 : await recordsBefore(log, stream, from);
  return { first, end: await recordsBefore(log, stream, to + 1) };
}

/**
 * The first record of a source's stream at or after a time, in milliseconds since 1970: the first one that was accepted
 * then or later (`logTime`), or whose event time is so late (`eventTime`, as {@link ordinalOfLater} has it). O(log n)
 * reads.
 */
export async function firstFromTime(
  log: EventLog,
  stream: string,
  time: { readonly logTime: number } | { readonly eventTime: number },
): Promise<SourcePlace | undefined> {
  if ("logTime" in time) return firstFromOrdinal(log, stream, timeToOrdinal(time.logTime));
  const ordinal = await ordinalOfLater(log, stream, time.eventTime - 1);
  return ordinal === undefined ? undefined : firstFromOrdinal(log, stream, ordinal);
}
