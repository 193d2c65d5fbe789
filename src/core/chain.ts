import { createHash } from "node:crypto";
import { encodeCanonical } from "./canonical.ts";
import { sha256, toHex } from "./digest.ts";
import type { EventType, EventTypes } from "./events.ts";
import { formatUuid } from "./uuid.ts";

/** Namespace of event ids: see "Events and their chain" in docs/format.md. */
const ID_NAMESPACE = Buffer.from("8f0bd8f65a0a5b0f9d3e6c1f3a0e7b52", "hex");
const FIRST_PREFIX = Uint8Array.of(0x00);
const EVENT_PREFIX = Uint8Array.of(0x01);
const ARRAY_OF_SIX = Uint8Array.of(0x96);
const CHAIN_VERSION = 1;

/** What identifies an event beside its data. */
export interface EventPlace {
  readonly stream: string;
  readonly revision: number;
}

/** An event ready to be appended, and the digest that the next one in its stream begins with. */
export interface SealedEvent {
  readonly id: string;
  readonly type: EventType;
  readonly data: Uint8Array;
  readonly metadata: Uint8Array;
  readonly digest: Uint8Array;
}

/** `previous` of the first event of a stream. */
export function chainStart(logId: string, stream: string): Uint8Array {
  return createHash("sha256")
    .update(FIRST_PREFIX)
    .update(encodeCanonical([logId, stream]))
    .digest();
}

/** The UUID version 5 (RFC 9562) of an event: the same event at the same place always has the same id. */
export function eventId(place: EventPlace, data: Uint8Array): string {
  const hash = createHash("sha1")
    .update(ID_NAMESPACE)
    .update(`${place.stream}\0${place.revision}\0`)
    .update(sha256(data))
    .digest();
  return formatUuid(hash, 5);
}

/** The digest of an event in its stream's chain. */
export function eventDigest(
  previous: Uint8Array,
  place: EventPlace,
  id: string,
  type: string,
  data: Uint8Array,
): Uint8Array {
  return createHash("sha256")
    .update(EVENT_PREFIX)
    .update(previous)
    .update(ARRAY_OF_SIX)
    .update(encodeCanonical(CHAIN_VERSION))
    .update(encodeCanonical(place.stream))
    .update(encodeCanonical(place.revision))
    .update(encodeCanonical(id))
    .update(encodeCanonical(type))
    .update(binHeader(data.length))
    .update(data)
    .digest();
}

/** Encodes an event and links it to the one before it. */
export function sealEvent<T extends EventType>(
  previous: Uint8Array,
  place: EventPlace,
  type: T,
  event: EventTypes[T],
): SealedEvent {
  const data = encodeCanonical(event, Number.MAX_SAFE_INTEGER);
  const id = eventId(place, data);
  const digest = eventDigest(previous, place, id, type, data);
  return { id, type, data, digest, metadata: eventMetadata(event, previous, digest) };
}

/** The fields of an event that metadata repeats for people, in this order. */
const ABOUT = ["node", "epoch", "first", "count", "through"] as const;

/** The metadata that an event has: derived from it, so that a verifier can derive it again. */
export function eventMetadata(
  event: EventTypes[EventType],
  previous: Uint8Array,
  digest: Uint8Array,
): Uint8Array {
  const about: Record<string, unknown> = { wall: new Date(event.wall).toISOString() };
  for (const field of ABOUT) {
    const value = (event as unknown as Readonly<Record<string, unknown>>)[field];
    if (value !== undefined) about[field] = value;
  }
  return Buffer.from(
    JSON.stringify({ v: 1, about, previous: toHex(previous), digest: toHex(digest) }),
    "utf8",
  );
}

/** The digest that an event's metadata claims; `undefined` if it claims none. */
export function digestInMetadata(metadata: Uint8Array): Uint8Array | undefined {
  return linkInMetadata(metadata)?.digest;
}

/** The digests that an event's metadata claims for the event before it and for itself; `undefined` without both. */
export function linkInMetadata(
  metadata: Uint8Array,
): { readonly previous: Uint8Array; readonly digest: Uint8Array } | undefined {
  try {
    const parsed: unknown = JSON.parse(Buffer.from(metadata).toString("utf8"));
    const claimed = parsed as { readonly previous?: unknown; readonly digest?: unknown } | null;
    const previous = digestIn(claimed?.previous);
    const digest = digestIn(claimed?.digest);
    if (previous !== undefined && digest !== undefined) return { previous, digest };
  } catch {
    // Not ours: the caller says so.
  }
  return undefined;
}

function digestIn(text: unknown): Uint8Array | undefined {
  return typeof text === "string" && /^[0-9a-f]{64}$/.test(text) ? Buffer.from(text, "hex") : undefined;
}

function binHeader(length: number): Uint8Array {
  if (length < 0x100) return Uint8Array.of(0xc4, length);
  if (length < 0x10000) return Uint8Array.of(0xc5, length >>> 8, length & 0xff);
  return Uint8Array.of(0xc6, length >>> 24, (length >>> 16) & 0xff, (length >>> 8) & 0xff, length & 0xff);
}
