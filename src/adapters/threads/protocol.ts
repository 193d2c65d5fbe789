import { HeadwaterError } from "../../core/errors.ts";
import type { ToldError } from "../../core/told-error.ts";
import type {
  Append,
  EventLog,
  NewEvent,
  ReadAllOptions,
  ReadOptions,
  RecordedEvent,
  StreamInfo,
  SubscriptionMessage,
} from "../../ports/event-log.ts";
import type { KnownEvents } from "./known-events.ts";
import type { TakeBytes } from "./packets.ts";

/** Methods of a log that answer once, with plain data. */
export type CallName =
  | "streamInfo"
  | "getMetadata"
  | "setMetadata"
  | "delete"
  | "tombstone"
  | "scavenge"
  | "size"
  | "backup";

/** Something of a log that gives one thing after the other. */
export type Opening =
  | { readonly what: "read"; readonly stream: string; readonly options: Omit<ReadOptions, "signal"> }
  | { readonly what: "readAll"; readonly options: Omit<ReadAllOptions, "signal"> }
  | {
      readonly what: "subscribe";
      readonly stream: string;
      readonly from: number;
      readonly along: boolean;
    }
  | { readonly what: "subscribeAll"; readonly args: FirstTwo<Parameters<EventLog["subscribeAll"]>> }
  | { readonly what: "streams"; readonly args: Parameters<EventLog["streams"]> };

type FirstTwo<T extends readonly unknown[]> = readonly [T[0], T[1]];

/** What a thread says to the log. `id` tells what is asked apart; answers carry it. */
export type ToLog =
  | { readonly kind: "append"; readonly id: number; readonly appends: readonly PackedAppend[] }
  | { readonly kind: "call"; readonly id: number; readonly name: CallName; readonly args: readonly unknown[] }
  | { readonly kind: "open"; readonly id: number; readonly opening: Opening }
  /** What was said of an opening up to this cost has been used: so much more may be on its way. */
  | { readonly kind: "used"; readonly id: number; readonly cost: number }
  | { readonly kind: "stop"; readonly id: number };

/** What the log says to a thread. */
export type FromLog =
  | { readonly kind: "answer"; readonly id: number; readonly value: unknown }
  | { readonly kind: "failed"; readonly id: number; readonly error: ToldError }
  | {
      readonly kind: "events";
      readonly id: number;
      readonly events: readonly RecordedHead[];
      /** What these refer to, as far as it comes along. */
      readonly along: readonly RecordedHead[];
    }
  | {
      readonly kind: "message";
      readonly id: number;
      readonly message: Exclude<SubscriptionMessage, { readonly kind: "events" }>;
    }
  | { readonly kind: "info"; readonly id: number; readonly info: StreamInfo }
  | { readonly kind: "end"; readonly id: number };

/** An event without its bytes, which lie behind the frames: data, then metadata. */
type NewHead = Pick<NewEvent, "id" | "type"> & { readonly data: number; readonly metadata: number };
/** One that the other side knows is named by its place alone. */
type RecordedHead =
  | (NewHead & Omit<RecordedEvent, keyof NewEvent>)
  | (Pick<RecordedEvent, "stream" | "revision" | "position"> & { readonly known: true });
type PackedAppend = Omit<Append, "events"> & { readonly events: readonly NewHead[] };

/** What anything costs beside its bytes, in bytes. */
const COST = 256;

/** How much of what may be on its way a frame takes, in bytes. */
export function costOf(frame: FromLog): number {
  if (frame.kind !== "events") return COST;
  return costOfHeads(frame.events) + costOfHeads(frame.along);
}

function costOfHeads(heads: readonly RecordedHead[]): number {
  return heads.reduce((sum, event) => sum + COST + ("known" in event ? 0 : event.data + event.metadata), 0);
}

export function costOfEvent({ data, metadata }: RecordedEvent): number {
  return data.length + metadata.length + COST;
}

export function packAppends(appends: readonly Append[]): { heads: PackedAppend[]; parts: Uint8Array[] } {
  const parts: Uint8Array[] = [];
  const heads = appends.map(({ stream, expected, events }) => ({
    stream,
    expected,
    events: events.map((event) => head(event, parts)),
  }));
  return { heads, parts };
}

export function unpackAppends(appends: readonly PackedAppend[], take: TakeBytes): Append[] {
  return appends.map((append) => ({
    ...append,
    events: append.events.map((event) => withBytes(event, take)),
  }));
}

/** `known` is what the other side knows by now. */
export function packEvents(
  events: readonly RecordedEvent[],
  known: KnownEvents,
): { heads: RecordedHead[]; parts: Uint8Array[] } {
  const parts: Uint8Array[] = [];
  const heads = events.map((event): RecordedHead => {
    const { stream, revision, position, created } = event;
    if (known.find(event) !== undefined) return { stream, revision, position, known: true };
    known.add(event);
    return { ...head(event, parts), stream, revision, position, created };
  });
  return { heads, parts };
}

export function unpackEvents(
  heads: readonly RecordedHead[],
  take: TakeBytes,
  known: KnownEvents,
): RecordedEvent[] {
  return heads.map((each) => {
    if (!("known" in each)) {
      const event = withBytes(each, take);
      known.add(event);
      return event;
    }
    const event = known.find(each);
    if (event !== undefined) return event;
    throw new HeadwaterError("Internal", "an event was taken for known, and is not", {
      where: `${each.stream}@${each.revision}`,
    });
  });
}

function head({ id, type, data, metadata }: NewEvent, parts: Uint8Array[]): NewHead {
  parts.push(data, metadata);
  return { id, type, data: data.length, metadata: metadata.length };
}

function withBytes<T extends NewHead>(event: T, take: TakeBytes): Omit<T, "data" | "metadata"> & NewEvent {
  const data = take(event.data);
  return { ...event, data, metadata: take(event.metadata) };
}
