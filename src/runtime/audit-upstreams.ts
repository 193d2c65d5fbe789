import {
  type AuditedEvent,
  type AuditItem,
  areCursors,
  sinkTaker,
  type Taker,
  takerOf,
} from "../../projections/audit.ts";
import { stepRowsOf } from "../../projections/step-rows.ts";
import { decodeEvent } from "../core/event-codec.ts";
import { type SinkOpened, TAKEN_OF_GROUP, type TypedEvent } from "../core/events.ts";
import { LIMITS } from "../core/limits.ts";
import { isRetryStream } from "../core/streams.ts";
import type { EventLog } from "../ports/event-log.ts";
import { seekRecord } from "./seek.ts";
import { isUnreadable } from "./unreadable.ts";

/** An event that others take records from. */
interface Upstream {
  readonly revision: number;
  readonly typed: TypedEvent;
  /** The N after its records. */
  readonly end: number;
  readonly bytes: number;
}

/** How far a taker has come in a stream. */
interface Walk {
  /** The cursor at which its last event ended. */
  cursor: number;
  /** The revision that is next. */
  next: number;
  /** The N after the records of what it was given last. */
  end: number;
  /** Read again, and not given yet. */
  ahead: Upstream[];
}

/**
 * For each partition and sink the events that it takes records from, read side by side with its own, so that nobody has
 * to remember records. Takers are seldom far behind what they read: the events that were read last are kept in mind, up
 * to a bound, and only what is older is read a second time.
 */
export class AuditUpstreams {
  readonly #log: EventLog;
  readonly #walks = new Map<string, Map<string, Walk>>();
  readonly #recent = new RecentEvents();
  /** The target that a sink delivered to last: what it has not taken yet is pending. */
  readonly #current = new Map<string, string>();

  constructor(log: EventLog) {
    this.#log = log;
  }

  /** What an event takes records from, as far as it has not come for its taker before. To be asked for every event. */
  async *before(event: AuditedEvent): AsyncGenerator<AuditItem> {
    const { stream, revision, typed } = event;
    if (typed === undefined) return;
    const taker = takerOf(stream, typed);
    if (taker !== undefined) {
      this.#current.set(stream, taker.name);
      for (const upstream of Object.keys(taker.to)) {
        if (isRead(upstream)) yield* this.#bring(taker, upstream, beyondCursors(typed, upstream));
      }
      this.#leave(taker);
    }
    if (typed.type === "SinkOpened") await this.#open(stream, typed.data);
    if (stream.startsWith("source_") || stream.startsWith("steps_")) {
      this.#recent.add(stream, revision, upstreamOf(revision, typed, event.data.length));
    }
  }

  /** What no taker has taken. */
  async *rest(): AsyncGenerator<AuditItem> {
    for (const taker of this.#current.values()) {
      for (const [stream, walk] of this.#walks.get(taker) ?? []) {
        const beyond = Number.POSITIVE_INFINITY;
        for await (const upstream of this.#upTo(stream, walk, beyond))
          yield item(taker, stream, upstream, true);
      }
    }
  }

  async *#bring({ name, from, to }: Taker, stream: string, beyond: number): AsyncGenerator<AuditItem> {
    const start = from[stream] ?? 0;
    const walks = this.#walksOf(name);
    let walk = walks.get(stream);
    // A new version begins where it was deployed, and a target after whatever was delivered last, wherever to.
    if (walk === undefined || start !== walk.cursor) {
      walk = await this.#walkFrom(stream, start);
      walks.set(stream, walk);
    }
    const cursor = to[stream] ?? 0;
    for await (const upstream of this.#upTo(stream, walk, Math.max(cursor, beyond))) {
      if (upstream.end > start) yield item(name, stream, upstream, false);
    }
    walk.cursor = cursor;
  }

  /** What its cursors do not name any more a taker has let go of. */
  #leave({ name, to }: Taker): void {
    const walks = this.#walksOf(name);
    for (const stream of walks.keys()) if (to[stream] === undefined) walks.delete(stream);
  }

  /** A target is begun, or begun anew. */
  async #open(stream: string, { target, cursors }: SinkOpened): Promise<void> {
    const name = sinkTaker(stream, target);
    this.#current.set(stream, name);
    const walks = new Map<string, Walk>();
    this.#walks.set(name, walks);
    for (const [upstream, n] of Object.entries(areCursors(cursors) ? cursors : {})) {
      if (isRead(upstream)) walks.set(upstream, await this.#walkFrom(upstream, n));
    }
  }

  #walksOf(name: string): Map<string, Walk> {
    let walks = this.#walks.get(name);
    if (walks === undefined) {
      walks = new Map();
      this.#walks.set(name, walks);
    }
    return walks;
  }

  async #walkFrom(stream: string, n: number): Promise<Walk> {
    return { cursor: n, next: await this.#seek(stream, n), end: n, ahead: [] };
  }

  async #seek(stream: string, n: number): Promise<number> {
    if (n === 0) return 0;
    try {
      return await seekRecord(this.#log, stream, n);
    } catch (error) {
      // What is wrong with an event is told when it has its turn.
      if (isUnreadable(error)) return 0;
      throw error;
    }
  }

  /** The events with records below N = `n`. */
  async *#upTo(stream: string, walk: Walk, n: number): AsyncGenerator<Upstream> {
    while (walk.end < n) {
      const upstream = await this.#next(stream, walk);
      if (upstream === undefined) return;
      walk.next = upstream.revision + 1;
      walk.end = upstream.end;
      yield upstream;
    }
  }

  async #next(stream: string, walk: Walk): Promise<Upstream | undefined> {
    const read = walk.ahead.shift();
    if (read !== undefined) return read;
    const recent = this.#recent.after(stream, walk.next);
    if (recent !== "unknown") return recent;
    walk.ahead = await this.#read(stream, walk);
    return walk.ahead.shift();
  }

  async #read(stream: string, walk: Walk): Promise<Upstream[]> {
    const found: Upstream[] = [];
    while (found.length === 0) {
      const from = walk.next;
      try {
        for await (const event of this.#log.read(stream, { from, limit: LIMITS.auditReadEvents })) {
          walk.next = Math.max(walk.next, event.revision + 1);
          const upstream = upstreamOf(event.revision, decodeEvent(event), event.data.length);
          if (upstream !== undefined) found.push(upstream);
        }
      } catch (error) {
        if (!isUnreadable(error)) throw error;
      }
      if (walk.next === from) break;
    }
    return found;
  }
}

/** The last events of each stream. */
class RecentEvents {
  readonly #streams = new Map<string, { from: number; upTo: number; readonly events: Upstream[] }>();
  readonly #order: { readonly stream: string; readonly upstream: Upstream }[] = [];
  #gone = 0;
  #bytes = 0;

  /** `upstream`: `undefined` if the event has no records. */
  add(stream: string, revision: number, upstream: Upstream | undefined): void {
    let recent = this.#streams.get(stream);
    // Revisions that do not follow each other are no stream's.
    if (recent === undefined || revision !== recent.upTo + 1) {
      recent = { from: revision, upTo: revision, events: [] };
      this.#streams.set(stream, recent);
    }
    recent.upTo = revision;
    if (upstream === undefined) return;
    recent.events.push(upstream);
    this.#order.push({ stream, upstream });
    this.#bytes += upstream.bytes;
    while (this.#bytes > LIMITS.auditRecentBytes) this.#letGo();
  }

  /** The first event with records from `revision` on; `unknown` if it may be one that is not kept in mind. */
  after(stream: string, revision: number): Upstream | undefined | "unknown" {
    const recent = this.#streams.get(stream);
    if (recent === undefined || revision < recent.from || revision > recent.upTo) return "unknown";
    const { events } = recent;
    let low = 0;
    let high = events.length;
    while (low < high) {
      const middle = (low + high) >>> 1;
      if ((events[middle] as Upstream).revision < revision) low = middle + 1;
      else high = middle;
    }
    return events[low] ?? "unknown";
  }

  #letGo(): void {
    const oldest = this.#order[this.#gone++];
    if (oldest === undefined) return;
    this.#bytes -= oldest.upstream.bytes;
    const recent = this.#streams.get(oldest.stream);
    if (recent !== undefined && recent.events[0] === oldest.upstream) {
      recent.events.shift();
      recent.from = oldest.upstream.revision + 1;
    }
    if (this.#gone > this.#order.length / 2) {
      this.#order.splice(0, this.#gone);
      this.#gone = 0;
    }
  }
}

/** Whether a name among cursors is that of a stream that records are taken from by their N's. */
function isRead(name: string): boolean {
  return name !== TAKEN_OF_GROUP && !isRetryStream(name);
}

/** Where records of one ordinal are parted, some are taken that come after the cursors: the N after the last of them. */
function beyondCursors({ type, data }: TypedEvent, stream: string): number {
  if (type !== "StepsRecorded" || data.count === 0 || data.to[TAKEN_OF_GROUP] === undefined) return 0;
  try {
    const { upstream, parents, firings } = stepRowsOf(data).inputs;
    const of = data.streams?.indexOf(stream);
    return parents.reduce(
      (most, n, row) => ((upstream?.[row] ?? 0) === of && !firings.has(row) ? Math.max(most, n + 1) : most),
      0,
    );
  } catch {
    // What is wrong with the event is told when it has its turn.
    return 0;
  }
}

function upstreamOf(revision: number, typed: TypedEvent, bytes: number): Upstream | undefined {
  if (typed.type !== "RecordsAccepted" && typed.type !== "StepsRecorded") return undefined;
  const end = typed.data.first + typed.data.count;
  return typed.data.count > 0 && Number.isSafeInteger(end) ? { revision, typed, end, bytes } : undefined;
}

function item(taker: string, stream: string, { revision, typed }: Upstream, pending: boolean): AuditItem {
  return { kind: "upstream", taker, stream, revision, typed, pending };
}
