import { decodeCanonical, encodeCanonical, type Value } from "../../src/core/canonical.ts";
import {
  digestInMetadata,
  eventDigest,
  eventId,
  eventMetadata,
  linkInMetadata,
} from "../../src/core/chain.ts";
import { toHex } from "../../src/core/digest.ts";
import { decodeEvent } from "../../src/core/event-codec.ts";
import type { EventType, EventTypes, LeavesSequenced } from "../../src/core/events.ts";
import { decodeLeaves } from "../../src/core/leaves.ts";
import type { RecordedEvent } from "../../src/ports/event-log.ts";
import { type Random, upTo } from "./virtual-world.ts";

/** A fault, and the addresses of which one has to be named. */
export interface Fault {
  readonly what: string;
  readonly events: readonly RecordedEvent[];
  readonly affected: readonly string[];
  /** Where streams begin of which the store says that what is below is gone. */
  readonly first?: ReadonlyMap<string, number>;
}

function flipped(bytes: Uint8Array, random: Random): Uint8Array {
  const copy = Uint8Array.from(bytes);
  const at = upTo(random, copy.length - 1);
  copy[at] = (copy[at] as number) ^ (1 << upTo(random, 7));
  return copy;
}

export type Data = { readonly wall: number; readonly [field: string]: Value };
type Change = (data: Data) => Data;

/** `event` with other data, and all after it in its stream linked anew, as the program itself would have. */
export function rewritten(
  events: readonly RecordedEvent[],
  at: number,
  change: Change = (data) => ({ ...data, wall: data.wall + 1 }),
): RecordedEvent[] {
  const changed = events[at] as RecordedEvent;
  let previous: Uint8Array | undefined;
  return events.map((event, index) => {
    if (event.stream !== changed.stream || index < at) return event;
    const before = decodeCanonical(event.data, Number.MAX_SAFE_INTEGER) as Data;
    const data = index === at ? change(before) : before;
    const bytes = encodeCanonical(data, Number.MAX_SAFE_INTEGER);
    previous ??= linkInMetadata(event.metadata)?.previous as Uint8Array;
    const newId = eventId(event, bytes);
    const digest = eventDigest(previous, event, newId, event.type, bytes);
    const metadata = metadataOf(data, previous, digest);
    previous = digest;
    return { ...event, id: newId, data: bytes, metadata };
  });
}

/** Of data from which none follows, because its time is no time, whatever says what comes before and after. */
function metadataOf(data: Data, previous: Uint8Array, digest: Uint8Array): Uint8Array {
  try {
    return eventMetadata(data as unknown as EventTypes[EventType], previous, digest);
  } catch {
    const claimed = { v: 1, about: {}, previous: toHex(previous), digest: toHex(digest) };
    return Buffer.from(JSON.stringify(claimed));
  }
}

/** The events with one more, which says that retention lets go of what is below `before` in a stream of a pipeline. */
export function announced(
  events: readonly RecordedEvent[],
  pipeline: string,
  { stream, before }: { readonly stream: string; readonly before: number },
): RecordedEvent[] {
  const last = events.findLast((event) => event.stream === `pipeline_${pipeline}`) as RecordedEvent;
  const gone = events.find((event) => event.stream === stream && event.revision === before - 1);
  const digest = digestInMetadata((gone as RecordedEvent).metadata) as Uint8Array;
  const data = { v: 1, wall: 0, streams: [{ stream, before, digest }] };
  const bytes = encodeCanonical(data as unknown as Value, Number.MAX_SAFE_INTEGER);
  const event = { ...last, revision: last.revision + 1, type: "RetentionAdvanced", data: bytes };
  const previous = digestInMetadata(last.metadata) as Uint8Array;
  const newId = eventId(event, bytes);
  const linked = eventDigest(previous, event, newId, event.type, bytes);
  const metadata = eventMetadata(data as unknown as EventTypes[EventType], previous, linked);
  return [...events, { ...event, id: newId, metadata }];
}

export const covered = (event: RecordedEvent) => event.stream !== "audit_log";
export const addressOf = ({ stream, revision }: Pick<RecordedEvent, "stream" | "revision">) =>
  `${stream}@${revision}`;

const flippedText = (text: string, random: Random) =>
  Buffer.from(flipped(Buffer.from(text, "latin1"), random)).toString("latin1");
const flipData = ({ data }: RecordedEvent, random: Random) => ({ data: flipped(data, random) });

/** Faults of each kind in a log with these events, made of random numbers. */
export function faultKinds(events: readonly RecordedEvent[]): readonly ((random: Random) => Fault)[] {
  const pick = (random: Random, from: (event: RecordedEvent) => boolean = () => true) => {
    const places = events.flatMap((event, at) => (from(event) ? [at] : []));
    return places[upTo(random, places.length - 1)] as number;
  };

  /** A fault that changes one event where it is. */
  const changing =
    (
      what: string,
      change: (event: RecordedEvent, random: Random) => Partial<RecordedEvent>,
      of: (event: RecordedEvent) => boolean = () => true,
    ) =>
    (random: Random): Fault => {
      const at = pick(random, of);
      const event = events[at] as RecordedEvent;
      const changed = { ...event, ...change(event, random) };
      return { what, events: events.with(at, changed), affected: [addressOf(event)] };
    };

  return [
    changing("a bit of data", flipData),
    changing("a bit of a payload", flipData, ({ stream }) => stream.startsWith("payload_")),
    changing("a bit of metadata", ({ metadata }, random) => ({ metadata: flipped(metadata, random) })),
    changing("a bit of an id", ({ id: old }, random) => ({ id: flippedText(old, random) })),
    changing("a bit of a type", ({ type }, random) => ({ type: flippedText(type, random) })),
    (random) => {
      const at = pick(random);
      const event = events[at] as RecordedEvent;
      return {
        what: "an event removed",
        events: events.toSpliced(at, 1),
        affected: [addressOf(event), ...(event.stream === "audit_log" ? ["audit_log"] : [])],
      };
    },
    (random) => {
      const at = pick(random);
      const event = events[at] as RecordedEvent;
      const to = upTo(random, events.length);
      return {
        what: "an event doubled",
        events: events.toSpliced(to, 0, event),
        // Where it was put in, what belongs there has another place.
        affected: [addressOf(event), ...events.slice(to).filter(covered).slice(0, 1).map(addressOf)],
      };
    },
    (random) => {
      const at = pick(random, covered);
      const event = events[at] as RecordedEvent;
      const rest = events.toSpliced(at, 1);
      // To another place among those that the tree is about, so that the order is another.
      const places = rest.flatMap((other, place) =>
        covered(other) && Math.abs(place - at) > 1 ? [place] : [],
      );
      const to = places[upTo(random, places.length - 1)] as number;
      const moved = rest.toSpliced(to, 0, event);
      const first = events.findIndex((other, place) => other !== moved[place]);
      const coveredFrom = events.slice(first).find(covered) as RecordedEvent;
      return { what: "an event moved", events: moved, affected: [addressOf(event), addressOf(coveredFrom)] };
    },
    (random) => {
      const at = pick(random, ({ type }) => type === "LeavesSequenced");
      const event = events[at] as RecordedEvent;
      // Between its last leaf's event and itself there may be others, of which it has no leaves yet.
      const { data } = decodeEvent(event);
      const leaf = decodeLeaves(data as LeavesSequenced).at(-1);
      const last = events.findIndex(
        (other) => leaf?.stream === other.stream && leaf.revision === other.revision,
      );
      const moved = events.toSpliced(at, 1).toSpliced(upTo(random, last), 0, event);
      return {
        what: "leaves before what they are of",
        events: moved,
        // Before the last of them: as if that had been moved behind.
        affected: [event, events[last] as RecordedEvent].map(addressOf),
      };
    },
    (random) => {
      const [one, other] = [pick(random, covered), pick(random, covered)].toSorted((a, b) => a - b) as [
        number,
        number,
      ];
      const [a, b] = [events[one] as RecordedEvent, events[other] as RecordedEvent];
      if (a === b) return { what: "nothing", events: events.toSpliced(one, 1), affected: [addressOf(a)] };
      return { what: "two swapped", events: events.with(one, b).with(other, a), affected: [addressOf(a)] };
    },
    (random) => {
      // The contents change places; revisions stay where they were.
      const [one, other] = [pick(random), pick(random)].toSorted((a, b) => a - b) as [number, number];
      const [a, b] = [events[one] as RecordedEvent, events[other] as RecordedEvent];
      if (a === b)
        return { what: "nothing", events: events.toSpliced(one, 1), affected: [addressOf(a), "audit_log"] };
      const place = ({ stream, revision }: RecordedEvent) => ({ stream, revision });
      return {
        what: "the contents of two swapped",
        events: events.with(one, { ...b, ...place(a) }).with(other, { ...a, ...place(b) }),
        affected: [addressOf(a)],
      };
    },
    (random) => {
      const at = pick(random, covered);
      return {
        what: "one replaced by a well-formed one, its chain made anew",
        events: rewritten(events, at),
        affected: [addressOf(events[at] as RecordedEvent)],
      };
    },
    (random) => {
      const { stream, revision } = events[pick(random)] as RecordedEvent;
      return {
        what: "a stream cut",
        events: events.filter((event) => event.stream !== stream || event.revision < revision),
        affected: [`${stream}@${revision}`, ...(stream === "audit_log" ? ["audit_log"] : [])],
      };
    },
    (random) => {
      const { stream, revision } = events[pick(random)] as RecordedEvent;
      return {
        what: "the beginning of a stream cut off, as the store's own interface does",
        events: events.filter((event) => event.stream !== stream || event.revision > revision),
        affected: [`${stream}@0`],
        first: new Map([[stream, revision + 1]]),
      };
    },
    (random) => {
      const at = pick(random, ({ type }) => type === "LeavesSequenced");
      const node = (data: Data) => ({ ...data, edge: flipped(data["edge"] as Uint8Array, random) });
      return {
        what: "a node of the tree replaced, its chain made anew",
        events: rewritten(events, at, node),
        affected: [addressOf(events[at] as RecordedEvent)],
      };
    },
    (random) => {
      const at = pick(random, ({ type }) => type === "CheckpointSigned");
      const root = (data: Data) => ({ ...data, root: flipped(data["root"] as Uint8Array, random) });
      return {
        what: "a root that was signed replaced, its chain made anew",
        events: rewritten(events, at, root),
        affected: [addressOf(events[at] as RecordedEvent)],
      };
    },
    (random) => ({
      what: "a log rolled back",
      events: events.slice(0, upTo(random, events.length - 1)),
      affected: ["audit_log"],
    }),
  ];
}
