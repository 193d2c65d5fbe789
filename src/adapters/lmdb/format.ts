import { HeadwaterError } from "../../core/errors.ts";
import type { Position } from "../../core/position.ts";
import type { NewEvent, RecordedEvent } from "../../ports/event-log.ts";
import type { Retained } from "../../ports/event-log-rules.ts";
import { checksum, NO_CHECKSUM } from "./checksum.ts";

/**
 * The bytes of every key and value, as docs/lmdb.md describes them. Keys are big-endian, so that their order
 * is the order of their bytes; values are little-endian. Revisions and positions are float64 holding an integer.
 */
export const FORMAT = { name: "headwater-log", version: 1 } as const;

/** The meta database's one record that changes. */
export interface Tail {
  /** Position of the last event, 0 before the first. */
  readonly position: number;
  readonly nextStreamId: number;
  /** Grows with every commit of any process: who remembers it knows that nobody else has written since. */
  readonly generation: number;
}

/** What the streams database holds of a stream. */
export interface Head extends Retained {
  readonly id: number;
  /** Data and metadata of all events ever written to it. */
  readonly totalBytes: number;
  /** Revisions below this have been scavenged. */
  readonly keptFrom: number;
}

/** Where an event of a stream is. */
export interface IndexEntry {
  readonly position: number;
  readonly created: number;
  /** Data and metadata of the stream's events before this one. */
  readonly bytesBefore: number;
}

const EVENT_HEADER = 48;
/** Where checksums are in values. Of an event it covers what no digest does: the header, the names, and the key. */
const EVENT_CHECKSUM = 6;
const HEAD_CHECKSUM = 2;
const ENTRY_BYTES = 24;
const CHECKSUM_BYTES = 2;
const EVENT_VERSION = 1;
const HEAD_VERSION = 1;
const HEAD_BYTES = 64;
const DELETED = 1;
const TOMBSTONED = 2;
const TRUNCATE_BEFORE = 4;
const MAX_COUNT = 8;
const MAX_AGE = 16;

/** The key of a name in the streams and meta databases. */
export function nameKey(name: string): Buffer {
  return Buffer.from(name);
}

/** Position (8 bytes) and stream id (4): a scan of the keys alone can filter. */
export function eventKey(position: number, streamId: number, target = Buffer.allocUnsafe(12)): Buffer {
  target.writeUInt16BE(0, 0);
  target.writeUIntBE(position, 2, 6);
  target.writeUInt32BE(streamId, 8);
  return target;
}

export function readEventKey(key: Buffer): { readonly position: number; readonly streamId: number } {
  return { position: key.readUIntBE(2, 6), streamId: key.readUInt32BE(8) };
}

/** Stream id (4 bytes) and revision (8). */
export function indexKey(streamId: number, revision: number, target = Buffer.allocUnsafe(12)): Buffer {
  target.writeUInt32BE(streamId, 0);
  target.writeUInt16BE(0, 4);
  target.writeUIntBE(revision, 6, 6);
  return target;
}

/** `key` is the entry's own. */
export function encodeIndexEntry(key: Buffer, entry: IndexEntry): Buffer {
  const value = Buffer.allocUnsafe(ENTRY_BYTES + CHECKSUM_BYTES);
  value.writeDoubleLE(entry.position, 0);
  value.writeDoubleLE(entry.created, 8);
  value.writeDoubleLE(entry.bytesBefore, 16);
  return closeEntry(key, value);
}

/** Throws `LogDamaged` for an entry that is not the one that was put under its key. */
export function decodeIndexEntry(key: Buffer, value: Buffer): IndexEntry {
  checkEntry(key, value, "an entry of its index");
  return {
    position: value.readDoubleLE(0),
    created: value.readDoubleLE(8),
    bytesBefore: value.readDoubleLE(16),
  };
}

export function encodeTail(key: Buffer, tail: Tail): Buffer {
  const value = Buffer.allocUnsafe(ENTRY_BYTES + CHECKSUM_BYTES);
  value.writeDoubleLE(tail.position, 0);
  value.writeDoubleLE(tail.nextStreamId, 8);
  value.writeDoubleLE(tail.generation, 16);
  return closeEntry(key, value);
}

export function decodeTail(key: Buffer, value: Buffer): Tail {
  checkEntry(key, value, "its tail");
  return {
    position: value.readDoubleLE(0),
    nextStreamId: value.readDoubleLE(8),
    generation: value.readDoubleLE(16),
  };
}

/** Puts the checksum at the end of the value of a key. */
function closeEntry(key: Buffer, value: Buffer): Buffer {
  value.writeUInt16LE(checksum(value.subarray(0, ENTRY_BYTES), key), ENTRY_BYTES);
  return value;
}

/** Shorter values are of a time before there were checksums. */
function checkEntry(key: Buffer, value: Buffer, what: string): void {
  if (value.length === ENTRY_BYTES) return;
  const whole = value.length === ENTRY_BYTES + CHECKSUM_BYTES;
  if (whole && value.readUInt16LE(ENTRY_BYTES) === checksum(value.subarray(0, ENTRY_BYTES), key)) return;
  throw damaged(what);
}

export function encodeHead(key: Buffer, head: Head): Buffer {
  const { truncateBefore, maxCount, maxAgeSeconds } = head.metadata;
  const value = Buffer.alloc(HEAD_BYTES);
  value.writeUInt8(HEAD_VERSION, 0);
  value.writeUInt8(
    (head.deleted ? DELETED : 0) |
      (head.tombstoned ? TOMBSTONED : 0) |
      (truncateBefore === undefined ? 0 : TRUNCATE_BEFORE) |
      (maxCount === undefined ? 0 : MAX_COUNT) |
      (maxAgeSeconds === undefined ? 0 : MAX_AGE),
    1,
  );
  value.writeUInt32LE(head.id, 4);
  value.writeDoubleLE(head.lastRevision, 8);
  value.writeDoubleLE(head.totalBytes, 16);
  value.writeDoubleLE(head.keptFrom, 24);
  value.writeDoubleLE(head.bornAt, 32);
  value.writeDoubleLE(truncateBefore ?? 0, 40);
  value.writeDoubleLE(maxCount ?? 0, 48);
  value.writeDoubleLE(maxAgeSeconds ?? 0, 56);
  value.writeUInt16LE(headChecksum(key, value), HEAD_CHECKSUM);
  return value;
}

/** Throws `LogDamaged` for a record that is not the one that was put under its key, the stream's name. */
export function decodeHead(key: Buffer, value: Buffer): Head {
  if (value.length < HEAD_BYTES || value.readUInt8(0) !== HEAD_VERSION) throw damaged("a stream's record");
  const said = value.readUInt16LE(HEAD_CHECKSUM);
  if (said !== NO_CHECKSUM && said !== headChecksum(key, value)) throw damaged("a stream's record");
  const flags = value.readUInt8(1);
  return {
    id: value.readUInt32LE(4),
    lastRevision: value.readDoubleLE(8),
    totalBytes: value.readDoubleLE(16),
    keptFrom: value.readDoubleLE(24),
    bornAt: value.readDoubleLE(32),
    deleted: (flags & DELETED) !== 0,
    tombstoned: (flags & TOMBSTONED) !== 0,
    metadata: {
      ...((flags & TRUNCATE_BEFORE) !== 0 && { truncateBefore: value.readDoubleLE(40) }),
      ...((flags & MAX_COUNT) !== 0 && { maxCount: value.readDoubleLE(48) }),
      ...((flags & MAX_AGE) !== 0 && { maxAgeSeconds: value.readDoubleLE(56) }),
    },
  };
}

function headChecksum(key: Buffer, value: Buffer): number {
  return checksum(
    value.subarray(0, HEAD_CHECKSUM),
    value.subarray(HEAD_CHECKSUM + CHECKSUM_BYTES, HEAD_BYTES),
    key,
  );
}

/** The value of an event, but for its place, which {@link placeEvent} fills in once it is known. */
export function encodeEvent(stream: string, event: NewEvent): Buffer {
  const { type, data, metadata } = event;
  const typeBytes = Buffer.byteLength(type);
  const streamBytes = Buffer.byteLength(stream);
  const metadataAt = EVENT_HEADER + typeBytes + streamBytes;
  const dataAt = metadataAt + metadata.length;
  const value = Buffer.allocUnsafe(dataAt + data.length);
  value.writeUInt16LE(EVENT_VERSION, 0);
  value.writeUInt16LE(typeBytes, 2);
  value.writeUInt16LE(streamBytes, 4);
  value.writeUInt16LE(0, 6);
  value.writeUInt32LE(metadata.length, 12);
  value.write(event.id.replaceAll("-", ""), 32, "hex");
  value.write(type, EVENT_HEADER);
  value.write(stream, EVENT_HEADER + typeBytes);
  value.set(metadata, metadataAt);
  value.set(data, dataAt);
  return value;
}

/** `key` is the event's own. */
export function placeEvent(
  key: Buffer,
  value: Buffer,
  streamId: number,
  revision: number,
  created: number,
): void {
  value.writeUInt32LE(streamId, 8);
  value.writeDoubleLE(revision, 16);
  value.writeDoubleLE(created, 24);
  value.writeUInt16LE(eventChecksum(key, value), EVENT_CHECKSUM);
}

function eventChecksum(key: Buffer, value: Buffer): number {
  const namesEnd = EVENT_HEADER + value.readUInt16LE(2) + value.readUInt16LE(4);
  return checksum(
    value.subarray(0, EVENT_CHECKSUM),
    value.subarray(EVENT_CHECKSUM + CHECKSUM_BYTES, namesEnd),
    key,
  );
}

/** The id of the event whose value this is. */
export function eventId(value: Buffer): string {
  const hex = value.toString("hex", 32, 48);
  return `${hex.slice(0, 8)}-${hex.slice(8, 12)}-${hex.slice(12, 16)}-${hex.slice(16, 20)}-${hex.slice(20)}`;
}

/**
 * The event whose value this is. Its bytes are shared with `value`, which has to stay as it is. Throws `LogDamaged` for
 * one that is not what was put under its key; what its digest covers is left to whoever checks that.
 */
export function decodeEvent(key: Buffer, value: Buffer, stream?: string): RecordedEvent {
  const { position } = readEventKey(key);
  if (value.length < EVENT_HEADER || value.readUInt16LE(0) !== EVENT_VERSION) {
    throw damaged(`the event at position ${position}`);
  }
  const said = value.readUInt16LE(EVENT_CHECKSUM);
  if (said !== NO_CHECKSUM && said !== eventChecksum(key, value)) {
    throw damaged(`the event at position ${position}`);
  }
  const typeEnd = EVENT_HEADER + value.readUInt16LE(2);
  const streamEnd = typeEnd + value.readUInt16LE(4);
  const metadataEnd = streamEnd + value.readUInt32LE(12);
  if (metadataEnd > value.length) throw damaged(`the event at position ${position}`);
  return {
    id: eventId(value),
    type: value.toString("utf8", EVENT_HEADER, typeEnd),
    data: bytes(value, metadataEnd, value.length),
    metadata: bytes(value, streamEnd, metadataEnd),
    stream: stream ?? value.toString("utf8", typeEnd, streamEnd),
    revision: value.readDoubleLE(16),
    position: toPosition(position),
    created: value.readDoubleLE(24),
  };
}

/** The event as a log gives it back, from what was offered and the value that was written. */
export function recordedEvent(
  offered: NewEvent,
  stream: string,
  value: Buffer,
  place: { readonly revision: number; readonly position: number; readonly created: number },
): RecordedEvent {
  const dataAt = value.length - offered.data.length;
  return {
    id: offered.id,
    type: offered.type,
    data: bytes(value, dataAt, value.length),
    metadata: bytes(value, dataAt - offered.metadata.length, dataAt),
    stream,
    revision: place.revision,
    position: toPosition(place.position),
    created: place.created,
  };
}

/** Throws `LogDamaged` for what is no position: what is read from a file may be anything. */
export function toPosition(position: number): Position {
  if (!Number.isSafeInteger(position) || position < 0) throw damaged("a position");
  const commit = BigInt(position);
  return { commit, prepare: commit };
}

/** The first of this log's positions that is not before `position`. */
export function fromPosition(position: Position): number {
  const commit = position.commit > MOST ? MOST : position.commit;
  return Number(commit) + (position.prepare > position.commit ? 1 : 0);
}

const MOST = 2n ** 48n - 2n;

function bytes(value: Buffer, from: number, to: number): Uint8Array {
  return new Uint8Array(value.buffer, value.byteOffset + from, to - from);
}

export function damaged(what: string): HeadwaterError {
  return new HeadwaterError("LogDamaged", `${what} cannot be read`, {
    hint: "The log's file is damaged. Restore it from a copy.",
  });
}
