import { decodeDeltas } from "../core/columns.ts";
import { HeadwaterError, isHeadwaterError } from "../core/errors.ts";
import { decodeEvent } from "../core/event-codec.ts";
import type { TypedEvent } from "../core/events.ts";
import { THROUGH_NOTHING } from "../core/ordinal.ts";
import type { Direction, EventLog, RecordedEvent } from "../ports/event-log.ts";

/** The event at `revision`. Throws `StreamNotFound` if there is none. */
export async function readOne(log: EventLog, stream: string, revision: number): Promise<RecordedEvent> {
  for await (const event of log.read(stream, { from: revision, limit: 1 })) {
    if (event.revision === revision) return event;
  }
  throw new HeadwaterError("StreamNotFound", "an event is not there any more", {
    where: `${stream}@${revision}`,
  });
}

/** Reads events of a stream one by one where many in a row may be asked for at one revision. */
export class EventCursor {
  readonly #log: EventLog;
  readonly #stream: string;
  #last: RecordedEvent | undefined;

  constructor(log: EventLog, stream: string) {
    this.#log = log;
    this.#stream = stream;
  }

  /** The event at `revision`. Throws as {@link readOne}. */
  async at(revision: number): Promise<RecordedEvent> {
    if (this.#last?.revision !== revision) this.#last = await readOne(this.#log, this.#stream, revision);
    return this.#last;
  }
}

/** Events that are read at first where few are likely to be wanted; then twice as many each time. */
const FIRST_STEP = 2;
const STEP_MOST = 256;

/** The events of a stream from a revision on, or back from it, read few at a time: for who soon has enough. */
export async function* readInSteps(
  log: EventLog,
  stream: string,
  from: number,
  direction: Direction,
): AsyncGenerator<RecordedEvent> {
  let next = from;
  for (let limit = FIRST_STEP; next >= 0; limit = Math.min(limit * 2, STEP_MOST)) {
    let read = 0;
    for await (const event of log.read(stream, { from: next, limit, direction })) {
      read++;
      next = direction === "forwards" ? event.revision + 1 : event.revision - 1;
      yield event;
    }
    if (read < limit) return;
  }
}

/**
 * The last revision of a stream for whose event `holds`, which has to hold for all events up to some revision and
 * for none after it; the first readable one if it holds for none. `undefined`: the stream is not there.
 */
export function seekLast(
  log: EventLog,
  stream: string,
  holds: (event: TypedEvent) => boolean,
): Promise<number | undefined> {
  return seekLastRecorded(log, stream, (event) => holds(decodeEvent(event)));
}

/** {@link seekLast}, of events as the log gives them. */
export async function seekLastRecorded(
  log: EventLog,
  stream: string,
  holds: (event: RecordedEvent) => boolean,
): Promise<number | undefined> {
  const info = await log.streamInfo(stream);
  if (info === undefined || info.lastRevision < info.firstRevision) return undefined;
  let low = info.firstRevision;
  let high = info.lastRevision;
  while (low < high) {
    const middle = Math.ceil((low + high) / 2);
    const found = await readUnlessGone(log, stream, middle);
    if (found === undefined) {
      // It is being let go of: what is left is looked through.
      low = Math.max(middle, (await log.streamInfo(stream))?.firstRevision ?? middle);
      high = Math.max(low, high);
    } else if (holds(found)) low = middle;
    else high = middle - 1;
  }
  return low;
}

/**
 * {@link seekLast} of the events with a value of at most `most`, where values never fall; such without a value count as
 * low. Where they rise evenly, as numbers and times of records do, it takes a few reads however long the stream is, and
 * else O(log n): by interpolation, and by halves where that does not get on.
 */
async function seekValue(
  log: EventLog,
  stream: string,
  most: number,
  placeOf: (event: TypedEvent) => number | undefined,
): Promise<number | undefined> {
  const info = await log.streamInfo(stream);
  if (info === undefined || info.lastRevision < info.firstRevision) return undefined;
  const valueAt = async (revision: number) => {
    const found = await readUnlessGone(log, stream, revision);
    return found && { value: placeOf(decodeEvent(found)) ?? Number.NEGATIVE_INFINITY };
  };
  const last = await valueAt(info.lastRevision);
  if (last !== undefined && Number.isFinite(last.value) && last.value <= most) return info.lastRevision;
  const first = await valueAt(info.firstRevision);
  // Where it is being let go of, what is left is looked through; so is it where nothing says how long it is.
  const lookThrough = () =>
    seekLast(log, stream, (event) => (placeOf(event) ?? Number.NEGATIVE_INFINITY) <= most);
  if (last === undefined || !Number.isFinite(last.value) || first === undefined) return lookThrough();
  // The answer is `low`, or between it and `high`, which is too high.
  let [low, lowValue] = [info.firstRevision, first.value];
  let [high, highValue] = [info.lastRevision, last.value];
  let byHalves = false;
  while (high - low > 1 && lowValue <= most) {
    const share = byHalves ? 0.5 : (most - lowValue) / (highValue - lowValue);
    const guess = low + Math.floor((high - low) * (Number.isFinite(share) ? share : 0.5));
    const at = Math.min(Math.max(guess, low + 1), high - 1);
    const width = high - low;
    const found = await valueAt(at);
    if (found === undefined) return lookThrough();
    if (found.value <= most) [low, lowValue] = [at, found.value];
    else [high, highValue] = [at, found.value];
    byHalves = !byHalves && high - low > width / 2;
  }
  return low;
}

/** Whether something cannot be read, or run again, because it, or what it takes, is not there any more. */
export function isGone(error: unknown): error is HeadwaterError {
  return isHeadwaterError(error, "RecordGone") || isHeadwaterError(error, "StreamNotFound");
}

/** {@link readOne}; `undefined` if the event is not there any more. */
export async function readUnlessGone(
  log: EventLog,
  stream: string,
  revision: number,
): Promise<RecordedEvent | undefined> {
  try {
    return await readOne(log, stream, revision);
  } catch (error) {
    if (isHeadwaterError(error, "StreamNotFound")) return undefined;
    throw error;
  }
}

/**
 * The revision of the last event of a source's or partition's stream whose `first` is at most `n`: reading from
 * it on gives the record N = `n`, and how far the stream was complete before it. 0 for a stream that is not
 * there yet. O(log n) reads.
 */
export async function seekRecord(log: EventLog, stream: string, n: number): Promise<number> {
  return (await seekValue(log, stream, n, ({ data }) => ("first" in data ? data.first : undefined))) ?? 0;
}

/** The ordinal of the input N = `n` of a partition; −1 if its stream does not hold it. */
export async function ordinalOfInput(log: EventLog, stream: string, n: number): Promise<number> {
  if (n < 0) return THROUGH_NOTHING;
  const { type, data } = decodeEvent(await readOne(log, stream, await seekRecord(log, stream, n)));
  if (type !== "StepsRecorded" || data.ordinals === undefined) return THROUGH_NOTHING;
  return decodeDeltas(data.ordinals)[n - data.first] ?? THROUGH_NOTHING;
}

/**
 * The revision of the last event of a unit's stream that is complete up to `ordinal` at most; the first readable one
 * if all go beyond it. `undefined`: the stream is not there. O(log n) reads.
 */
export async function seekThrough(
  log: EventLog,
  stream: string,
  ordinal: number,
): Promise<number | undefined> {
  return seekValue(log, stream, ordinal, ({ data }) => ("through" in data ? data.through : undefined));
}

/** The N of the first record of a source's or partition's stream that is later than all events complete below `ordinal`. */
export async function seekOrdinal(log: EventLog, stream: string, ordinal: number): Promise<number> {
  const revision = await seekThrough(log, stream, ordinal - 1);
  if (revision === undefined) return 0;
  const { data } = decodeEvent(await readOne(log, stream, revision));
  if (!("first" in data) || !("through" in data)) return 0;
  return data.first + ("count" in data && data.through < ordinal ? data.count : 0);
}

/** The revision of the first event of a unit's stream that has `epoch` (or a later one): its claim. */
export async function seekEpoch(log: EventLog, stream: string, epoch: number): Promise<number> {
  const before = await seekLast(log, stream, ({ data }) => !("epoch" in data) || data.epoch < epoch);
  if (before === undefined) return 0;
  const { data } = decodeEvent(await readOne(log, stream, before));
  return "epoch" in data && data.epoch < epoch ? before + 1 : before;
}
