import { HeadwaterError } from "../core/errors.ts";
import { LIMITS } from "../core/limits.ts";
import { hasLoneSurrogate } from "../core/utf8.ts";
import type { Append, ExpectedRevision, RecordedEvent, StreamFilter, StreamMetadata } from "./event-log.ts";

/**
 * The rules of an {@link EventLog} that do not depend on how it stores: what may be offered, what fits a
 * filter, and when an append is made, repeated or refused. Adapters that keep their own streams decide by
 * these; one that talks to a server that decides for itself uses the checks alone.
 */

/** What an event takes in memory beside its bytes. */
const EVENT_OBJECT_BYTES = 512;

const UUID = /^[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}$/;
const STREAM_NAME_BYTES = 1_024;
const TYPE_CHARS = 128;

/** Throws `BadName` for a name that not every store can keep. Names that start with `$` are EventStoreDB's own. */
export function checkStreamName(stream: string): void {
  const fits =
    stream.length > 0 &&
    !stream.startsWith("$") &&
    !hasLoneSurrogate(stream) &&
    (stream.length <= STREAM_NAME_BYTES / 3 || Buffer.byteLength(stream) <= STREAM_NAME_BYTES);
  if (fits) return;
  throw new HeadwaterError(
    "BadName",
    `not a name that a stream can have: ${JSON.stringify(stream.slice(0, 80))}`,
    {
      hint: `A stream's name has 1 to ${STREAM_NAME_BYTES} bytes of UTF-8 and does not start with "$".`,
    },
  );
}

/** Bytes that count towards `LIMITS.appendBytes`: EventStoreDB counts each character of a type as two. */
export function appendBytes(append: Append): number {
  let bytes = 0;
  for (const { type, data, metadata } of append.events)
    bytes += type.length * 2 + data.length + metadata.length;
  return bytes;
}

/** Throws `BadName`, `BadUsage` or `AppendTooLarge` for an append that no log may take, whatever it holds. */
export function checkAppend(append: Append): void {
  checkStreamName(append.stream);
  checkExpected(append.expected, append.stream);
  if (append.events.length === 0) {
    throw new HeadwaterError("BadUsage", "an append without events", { where: append.stream });
  }
  if (append.events.length > LIMITS.appendEvents) {
    throw new HeadwaterError(
      "AppendTooLarge",
      `an append of ${append.events.length} events; one may have ${LIMITS.appendEvents}`,
      { hint: "Split it into several appends.", where: append.stream },
    );
  }
  for (const event of append.events) {
    if (!UUID.test(event.id)) {
      throw new HeadwaterError("BadUsage", `not a lower-case UUID: ${JSON.stringify(event.id)}`, {
        where: append.stream,
      });
    }
    const { type } = event;
    if (type.length === 0 || type.length > TYPE_CHARS || hasLoneSurrogate(type)) {
      throw new HeadwaterError(
        "BadUsage",
        `not a type that an event can have: ${JSON.stringify(type.slice(0, 80))}`,
        {
          hint: `A type has 1 to ${TYPE_CHARS} characters.`,
          where: append.stream,
        },
      );
    }
  }
  const bytes = appendBytes(append);
  if (bytes > LIMITS.appendBytes) {
    throw new HeadwaterError(
      "AppendTooLarge",
      `an append of ${bytes} bytes; one may have ${LIMITS.appendBytes}, all its events together`,
      { hint: "Split it into several appends.", where: append.stream },
    );
  }
}

/** Throws `BadUsage` for what is neither a revision nor one of the words. */
export function checkExpected(expected: ExpectedRevision, stream: string): void {
  if (expected === "any" || expected === "no-stream" || expected === "stream-exists") return;
  checkRevision(expected, stream);
}

/** Throws `BadUsage` unless `revision` is a whole number from 0 on. */
export function checkRevision(revision: number, stream: string): void {
  if (Number.isSafeInteger(revision) && revision >= 0) return;
  throw new HeadwaterError("BadUsage", `not a revision: ${revision}`, { where: stream });
}

/** Throws `BadUsage` for settings that mean nothing. */
export function checkMetadata(stream: string, metadata: StreamMetadata): void {
  checkStreamName(stream);
  const { truncateBefore = 0, maxCount = 1, maxAgeSeconds = 1 } = metadata;
  checkRevision(truncateBefore, stream);
  if (
    !Number.isSafeInteger(maxCount) ||
    maxCount < 1 ||
    !Number.isSafeInteger(maxAgeSeconds) ||
    maxAgeSeconds < 1
  ) {
    throw new HeadwaterError("BadUsage", "maxCount and maxAgeSeconds are whole numbers from 1 on", {
      where: stream,
    });
  }
}

/** Throws `BadUsage` for a prefix that would also fit names of others: one that ends in neither `.` nor `_`. */
export function filterTest(filter: StreamFilter | undefined): (stream: string) => boolean {
  if (filter === undefined || "everything" in filter) return () => true;
  if ("stream" in filter) return (stream) => stream === filter.stream;
  const { prefixes } = filter;
  for (const prefix of prefixes) {
    if (!prefix.endsWith(".") && !prefix.endsWith("_")) {
      throw new HeadwaterError("BadUsage", `a prefix has to end in "." or "_": ${JSON.stringify(prefix)}`);
    }
  }
  return (stream) => prefixes.some((prefix) => stream.startsWith(prefix));
}

/** What of a stream decides about an append. */
export interface StreamState {
  /** −1 if it was never written. */
  readonly lastRevision: number;
  readonly deleted: boolean;
  readonly tombstoned: boolean;
  /** The first revision after the last deletion, 0 if there was none: where a `no-stream` append was made. */
  readonly bornAt: number;
}

/**
 * Decides about an append: `undefined` if it is to be made after `state.lastRevision`, the revision of its last
 * event if it has been made already. Throws `WrongExpectedRevision` or `StreamTombstoned`.
 *
 * @param idAt the id of the event at a revision up to `lastRevision`, `undefined` if it is gone
 */
export function judgeAppend(
  append: Append,
  state: StreamState,
  idAt: (revision: number) => string | undefined,
): number | undefined {
  const { stream, expected, events } = append;
  if (meets(stream, expected, state)) return undefined;
  if (typeof expected === "number" || expected === "no-stream") {
    const first = expected === "no-stream" ? state.bornAt : expected + 1;
    const last = first + events.length - 1;
    if (last <= state.lastRevision && events.every((event, i) => idAt(first + i) === event.id)) return last;
  }
  throw wrongRevision(stream, expected, state);
}

/** Throws `WrongExpectedRevision` or `StreamTombstoned` unless the stream is as expected. */
export function checkState(stream: string, expected: ExpectedRevision, state: StreamState): void {
  if (!meets(stream, expected, state)) throw wrongRevision(stream, expected, state);
}

function meets(stream: string, expected: ExpectedRevision, state: StreamState): boolean {
  if (state.tombstoned) throw tombstonedError(stream);
  switch (expected) {
    case "any":
      return true;
    case "no-stream":
      return state.lastRevision < 0 || state.deleted;
    case "stream-exists":
      return state.lastRevision >= 0 && !state.deleted;
    default:
      return expected === state.lastRevision;
  }
}

function wrongRevision(stream: string, expected: ExpectedRevision, state: StreamState): HeadwaterError {
  const is =
    state.lastRevision < 0
      ? "the stream was never written"
      : `its last event has revision ${state.lastRevision}${state.deleted ? ", and it is deleted" : ""}`;
  return new HeadwaterError("WrongExpectedRevision", `expected revision ${expected}, but ${is}`, {
    hint: "Someone else has written. Read the stream's end and decide again.",
    where: stream,
  });
}

export function tombstonedError(stream: string): HeadwaterError {
  return new HeadwaterError("StreamTombstoned", "the stream was ended for ever", { where: stream });
}

export function notFoundError(stream: string): HeadwaterError {
  return new HeadwaterError("StreamNotFound", "there is no such stream, or it is deleted", { where: stream });
}

export function closedError(): HeadwaterError {
  return new HeadwaterError("LogClosed", "the log was closed");
}

/** What of a stream decides which of its events are read. */
export interface Retained extends StreamState {
  readonly metadata: StreamMetadata;
}

/**
 * The first revision that may be read; after the last one if none may.
 *
 * @param firstSince the first revision from `from` on whose event was taken at or after `time`, or the one after the last
 */
export function firstReadable(
  stream: Retained,
  now: number,
  firstSince: (from: number, time: number) => number,
): number {
  const end = stream.lastRevision + 1;
  if (stream.deleted || stream.tombstoned) return end;
  const { truncateBefore = 0, maxCount, maxAgeSeconds } = stream.metadata;
  let first = Math.max(stream.bornAt, truncateBefore, maxCount === undefined ? 0 : end - maxCount);
  if (first < end && maxAgeSeconds !== undefined) first = firstSince(first, now - maxAgeSeconds * 1_000);
  return Math.min(first, end);
}

/** About how many bytes of memory an event takes. */
export function eventWeight({ data, metadata }: Pick<RecordedEvent, "data" | "metadata">): number {
  return data.length + metadata.length + EVENT_OBJECT_BYTES;
}
