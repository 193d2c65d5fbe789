import { decodeEvent } from "../core/event-codec.ts";
import type { TypedEvent } from "../core/events.ts";
import { LIMITS } from "../core/limits.ts";
import { THROUGH_NOTHING } from "../core/ordinal.ts";
import type { EventLog, RecordedEvent, StreamInfo } from "../ports/event-log.ts";
import { readOne } from "./seek.ts";

/** An event of a unit's stream, decoded. */
export interface UnitEvent {
  readonly recorded: RecordedEvent;
  readonly typed: TypedEvent;
}

/** What there is of the N-th record of a source's, or the N-th input of a partition's stream. */
export type Sought =
  | { readonly kind: "found"; readonly event: UnitEvent }
  /** The stream has been let go of up to `before` (exclusive), and the record with it. */
  | { readonly kind: "gone"; readonly before: number }
  /** The stream has `next` records so far; 0 if it is not there. */
  | { readonly kind: "never"; readonly next: number };

/** An event of which it is known where it begins, and up to which ordinal it is complete. */
interface Probe {
  readonly revision: number;
  readonly first: number;
  /** The N that follows its records. */
  readonly end: number;
  readonly through: number;
}

/** By what an event is looked for: neither falls along a stream. */
type Measure = "first" | "through";

/**
 * Finds the event that holds a record. Remembers of each stream which events it has looked at and where these begin, so
 * that looking for records near each other, as lineage does, takes one or two reads; any one takes O(log n).
 */
export class RecordSeeker {
  readonly #log: EventLog;
  readonly #streams = new Map<string, Seen>();
  readonly #events = new Map<string, UnitEvent>();

  constructor(log: EventLog) {
    this.#log = log;
  }

  async find(stream: string, n: number): Promise<Sought> {
    const seen = await this.#seen(stream, n);
    if (seen === undefined) return { kind: "never", next: 0 };
    const { firstRevision, lastRevision } = seen.info;
    if (lastRevision < firstRevision) {
      return firstRevision === 0 ? { kind: "never", next: 0 } : { kind: "gone", before: firstRevision };
    }
    const first = await this.#probe(seen, stream, firstRevision);
    if (first.first > n) {
      return firstRevision === 0 ? { kind: "never", next: 0 } : { kind: "gone", before: firstRevision };
    }
    const event = await this.read(stream, await this.#search(seen, stream, "first", n));
    const end = endOf(event.typed);
    if (n < end) return { kind: "found", event };
    return { kind: "never", next: end };
  }

  /**
   * The revision of the last event that is complete up to `ordinal` at most; the first readable one if all go beyond it.
   * `undefined`: the stream is not there, or empty.
   */
  async lastThrough(stream: string, ordinal: number): Promise<number | undefined> {
    // What came since it was looked up is complete up to later ordinals than were known then.
    let seen = this.#streams.get(stream);
    if (seen === undefined || ordinal >= seen.through) seen = await this.#look(stream);
    if (seen === undefined || seen.info.lastRevision < seen.info.firstRevision) return undefined;
    await this.#probe(seen, stream, seen.info.firstRevision);
    return this.#search(seen, stream, "through", ordinal);
  }

  /** An event of a stream. Throws `StreamNotFound` if there is none. */
  async read(stream: string, revision: number): Promise<UnitEvent> {
    const key = `${stream}@${revision}`;
    let event = this.#events.get(key);
    if (event !== undefined) this.#events.delete(key);
    else {
      const recorded = await readOne(this.#log, stream, revision);
      event = { recorded, typed: decodeEvent(recorded) };
    }
    // The latest comes last; the first is the one that was not used for longest.
    this.#events.set(key, event);
    for (const oldest of this.#events.keys()) {
      if (this.#events.size <= LIMITS.lineageCachedEvents) break;
      this.#events.delete(oldest);
    }
    return event;
  }

  /** What is known of a stream; looked up again where it may have grown since to hold `n`. */
  async #seen(stream: string, n: number): Promise<Seen | undefined> {
    const seen = this.#streams.get(stream);
    return seen === undefined || n >= seen.end ? this.#look(stream) : seen;
  }

  async #look(stream: string): Promise<Seen | undefined> {
    const info = await this.#log.streamInfo(stream);
    if (info === undefined) return undefined;
    const seen = new Seen(info, this.#streams.get(stream)?.probes ?? []);
    this.#streams.set(stream, seen);
    if (info.lastRevision >= info.firstRevision) {
      const { typed } = await this.read(stream, info.lastRevision);
      seen.end = endOf(typed);
      seen.through = throughOf(typed);
    }
    return seen;
  }

  /** The last revision whose event has `value` at most; the first one, if there is none. */
  async #search(seen: Seen, stream: string, by: Measure, value: number): Promise<number> {
    let { low, high } = seen.around(by, value);
    for (let step = 0; low.revision < high.revision - 1; step++) {
      if (by === "first" && value < low.end) break;
      // They rise about evenly, so that it can be guessed where one is; where they do not, halving is as good.
      const share = step % 2 === 0 ? (value - low[by]) / (high[by] - low[by]) : 0.5;
      const guess = low.revision + Math.round(share * (high.revision - low.revision));
      const middle = Math.min(Math.max(guess, low.revision + 1), high.revision - 1);
      const probe = await this.#probe(seen, stream, middle);
      if (probe[by] > value) high = probe;
      else low = probe;
    }
    return low.revision;
  }

  async #probe(seen: Seen, stream: string, revision: number): Promise<Probe> {
    const known = seen.at(revision);
    if (known !== undefined) return known;
    const { typed } = await this.read(stream, revision);
    const first = "first" in typed.data ? typed.data.first : 0;
    return seen.add({ revision, first, end: endOf(typed), through: throughOf(typed) });
  }
}

/** A stream as far as it has been looked at. */
class Seen {
  readonly info: StreamInfo;
  /** Ascending. */
  readonly probes: Probe[];
  /** The N after all that were there when it was looked up. */
  end = 0;
  /** How far the last event was complete then. */
  through = THROUGH_NOTHING;

  constructor(info: StreamInfo, probes: readonly Probe[]) {
    this.info = info;
    this.probes = probes.filter(({ revision }) => revision >= info.firstRevision);
  }

  at(revision: number): Probe | undefined {
    const probe = this.probes[this.#placeOf(revision)];
    return probe?.revision === revision ? probe : undefined;
  }

  add(probe: Probe): Probe {
    if (this.probes.length < LIMITS.lineageProbes)
      this.probes.splice(this.#placeOf(probe.revision), 0, probe);
    return probe;
  }

  /** The nearest events that are known to have `value` at most, and more. */
  around(by: Measure, value: number): { low: Probe; high: Probe } {
    const { firstRevision, lastRevision } = this.info;
    const after = this.probes.findIndex((probe) => probe[by] > value);
    const low = (after < 0 ? this.probes.at(-1) : this.probes[after - 1]) ?? {
      revision: firstRevision,
      first: 0,
      end: 0,
      through: THROUGH_NOTHING,
    };
    const first = Math.max(value, this.end) + 1;
    const end = { revision: lastRevision + 1, first, end: first, through: Math.max(value, this.through) + 1 };
    return { low, high: this.probes[after] ?? end };
  }

  #placeOf(revision: number): number {
    let low = 0;
    let high = this.probes.length;
    while (low < high) {
      const middle = (low + high) >> 1;
      if ((this.probes[middle] as Probe).revision < revision) low = middle + 1;
      else high = middle;
    }
    return low;
  }
}

/** The N that follows all records up to and with an event. */
function endOf({ data }: TypedEvent): number {
  if (!("first" in data)) return 0;
  return data.first + ("count" in data ? data.count : 0);
}

/** Up to which ordinal a stream is complete with an event. */
function throughOf({ data }: TypedEvent): number {
  return "through" in data ? data.through : THROUGH_NOTHING;
}
