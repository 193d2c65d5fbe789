import { decodeCanonical } from "../src/core/canonical.ts";
import { chainStart, eventDigest, eventId, eventMetadata, linkInMetadata } from "../src/core/chain.ts";
import { equalBytes } from "../src/core/digest.ts";
import type { EventType, EventTypes, StreamAdvance } from "../src/core/events.ts";
import { type Audit, type AuditedEvent, emptyTally, fail, type Tally } from "./audit.ts";

interface State extends Tally {
  readonly logId: string;
  /** What retention says of each stream that it let go of last. */
  readonly advances: Map<string, StreamAdvance>;
  readonly streams: Map<string, Stream>;
}

interface Stream {
  /** What is below is not there any more. */
  readonly first: number;
  /** Up to where, and without, the log says outside of what is audited that it is let go of. */
  readonly said: number;
  /** The last revision that the store says it has. */
  readonly last: number;
  /** The revision that comes next. */
  next: number;
  /**
   * What the next event may begin with: the digest that the last one has, and the one that it claims to have, if they
   * differ, so that one fault is told once. Empty: not known, because it has been let go or is missing.
   */
  digests: readonly Uint8Array[];
  /** An event that came before others that belong ahead of it, as far as can be told yet. */
  early: AuditedEvent | undefined;
  /** Where what was let go of is not there: what the first event after it says of the one before it. */
  begins: { readonly event: AuditedEvent; readonly previous: Uint8Array } | undefined;
}

/**
 * Each stream's digests: every event has the id, the digest and the metadata that follow from its content and the
 * event before it, and none is missing, twice, or in another place.
 */
export const chainAudit: Audit<State> = {
  name: "chain",
  version: 1,
  init: ({ id }) => ({ ...emptyTally(), logId: id, advances: new Map(), streams: new Map() }),
  apply: (state, item) => {
    switch (item.kind) {
      case "stream":
        state.streams.set(item.stream, {
          next: 0,
          digests: [],
          early: undefined,
          begins: undefined,
          ...state.streams.get(item.stream),
          first: item.first,
          last: item.last,
          said: item.said ?? 0,
        });
        break;
      case "event":
        applyEvent(state, item);
        if (item.typed?.type === "RetentionAdvanced") {
          for (const advance of item.typed.data.streams) state.advances.set(advance.stream, advance);
        }
        break;
      case "damage":
        // What is wrong with an event of the tree shows in its chain, too, where it has its turn.
        if (item.of === "log") fail(state, item.address, "LogDamaged", item.message);
        break;
      case "end":
        for (const [name, stream] of state.streams) endStream(state, name, stream);
        break;
    }
    return state;
  },
};

function applyEvent(state: State, event: AuditedEvent): void {
  const { stream: name, revision } = event;
  const stream = state.streams.get(name) ?? {
    first: 0,
    last: -1,
    said: 0,
    next: 0,
    digests: [],
    early: undefined,
    begins: undefined,
  };
  state.streams.set(name, stream);
  state.checked++;
  const { early } = stream;
  stream.early = undefined;
  if (early !== undefined && revision === stream.next) {
    fail(state, addressOf(early), "OutOfPlace", "the event comes before others that belong ahead of it");
  } else if (early !== undefined) {
    takeAfterGap(state, stream, early);
  }
  if (revision < stream.next) {
    fail(state, addressOf(event), "OutOfPlace", "the event comes twice, or later than those after it");
  } else if (revision > Math.max(stream.first, stream.next)) {
    // Whether others are missing, or this one comes too early, is told by what follows.
    stream.early = event;
  } else {
    takeAfterGap(state, stream, event);
  }
}

/** Takes an event that comes after those of its stream so far; what is in between has been let go, or is missing. */
function takeAfterGap(state: State, stream: Stream, event: AuditedEvent): void {
  const { stream: name, revision } = event;
  const address = addressOf(event);
  if (revision > stream.next) {
    const gone = Math.min(revision, Math.max(stream.first, stream.next));
    state.unverifiable += gone - stream.next;
    if (gone < revision) missing(state, name, gone, revision - 1);
    stream.digests = [];
  } else if (revision === 0) {
    stream.digests = [chainStart(state.logId, name)];
  }
  const claimed = linkInMetadata(event.metadata);
  const begins = claimed && stream.digests.find((digest) => equalBytes(digest, claimed.previous));
  const previous = begins ?? stream.digests[0] ?? claimed?.previous;
  if (stream.next === 0 && revision > 0 && revision === stream.first && claimed !== undefined) {
    stream.begins = { event, previous: claimed.previous };
  }
  stream.next = revision + 1;
  if (claimed === undefined || previous === undefined) {
    fail(state, address, "BadMetadata", "the event's metadata does not hold its digest");
    const digest = previous && digestOf(event, previous);
    stream.digests = digest === undefined ? [] : [digest];
    return;
  }
  const digest = digestOf(event, previous);
  stream.digests = equalBytes(digest, claimed.digest) ? [digest] : [digest, claimed.digest];
  const [code, message] = faultOf(event, previous, digest, claimed) ?? [];
  if (code !== undefined && message !== undefined) fail(state, address, code, message);
}

function faultOf(
  event: AuditedEvent,
  previous: Uint8Array,
  digest: Uint8Array,
  claimed: { readonly previous: Uint8Array; readonly digest: Uint8Array },
): readonly [string, string] | undefined {
  if (eventId(event, event.data) !== event.id) {
    return ["BadId", "the event's id is not that of its content: its data or its id was changed"];
  }
  if (!equalBytes(previous, claimed.previous)) {
    return ["BadLink", "the event does not follow the one before it: one of them was changed or replaced"];
  }
  if (!equalBytes(digest, claimed.digest)) {
    return ["BadDigest", "the event's digest is not that of its content: it was changed"];
  }
  const metadata = metadataOf(event, previous, digest);
  if (metadata === undefined) return ["BadData", "the event's data cannot be decoded"];
  if (equalBytes(metadata, event.metadata)) {
    // What a newer program wrote is not known here, and told apart.
    if (event.typed !== undefined || event.tooNew !== undefined) return undefined;
    return ["BadData", "the event's data is not what its type says: it was changed"];
  }
  return ["BadMetadata", "the event's metadata is not what follows from its data: it was changed"];
}

function digestOf(event: AuditedEvent, previous: Uint8Array): Uint8Array {
  return eventDigest(previous, event, event.id, event.type, event.data);
}

/** What metadata repeats is the same in every version of an event. */
function metadataOf(event: AuditedEvent, previous: Uint8Array, digest: Uint8Array): Uint8Array | undefined {
  if (event.typed !== undefined) return eventMetadata(event.typed.data, previous, digest);
  try {
    // Of an event that a newer program wrote it can be told all the same.
    const data = decodeCanonical(event.data, Number.MAX_SAFE_INTEGER) as unknown as EventTypes[EventType];
    return eventMetadata(data, previous, digest);
  } catch {
    return undefined;
  }
}

function endStream(state: State, name: string, stream: Stream): void {
  if (stream.early !== undefined) takeAfterGap(state, stream, stream.early);
  const { next, first, last, said, begins } = stream;
  const advance = state.advances.get(name);
  // Retention says what it lets go of before it does, and leaves each stream its last event.
  const letGo = Math.max(said, advance?.before ?? 0);
  const gone = Math.min(first, last + 1);
  if (gone > letGo) missing(state, name, letGo, gone - 1, true);
  const follows = begins !== undefined && advance?.before === begins.event.revision;
  if (follows && !equalBytes(begins.previous, advance.digest)) {
    const message =
      "the event does not follow the one that retention let go of last: one of them was replaced";
    fail(state, addressOf(begins.event), "BadLink", message);
  }
  const kept = Math.max(next, Math.min(first, last + 1));
  state.unverifiable += kept - next;
  if (kept <= last) missing(state, name, kept, last);
}

function addressOf({ stream, revision }: AuditedEvent): string {
  return `${stream}@${revision}`;
}

/** `unsaid`: nothing says why. */
function missing(state: State, stream: string, first: number, last: number, unsaid = false): void {
  const [which, them] =
    first === last ? ["the event is", "it"] : [`the events up to ${stream}@${last} are`, "them"];
  const cut = unsaid ? `: the stream was cut, no retention has let go of ${them}` : "";
  fail(state, `${stream}@${first}`, "Missing", `${which} missing${cut}`);
}
