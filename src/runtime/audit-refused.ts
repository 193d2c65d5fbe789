import type { AuditedEvent, AuditedRefused, AuditItem } from "../../projections/audit.ts";
import { isHeadwaterError } from "../core/errors.ts";
import { decodeEvent } from "../core/event-codec.ts";
import type { EventRange, RetryItem, StepsRecorded, TypedEvent } from "../core/events.ts";
import { besideStream, isRetryStream, pipelineOf, retryStream } from "../core/streams.ts";
import { recordedInput } from "../engine/recorded-inputs.ts";
import type { EventLog } from "../ports/event-log.ts";
import { GoneReferences } from "./refused-runs.ts";
import { EventCursor, seekRecord } from "./seek.ts";
import { isUnreadable } from "./unreadable.ts";

/** How far a partition or door has taken what it is to take back. */
interface Walk {
  /** The I that is next. */
  next: number;
  /** Revision of the event that has it, or comes before it; `undefined`: not looked for yet. */
  revision: number | undefined;
}

/**
 * The refused records that an event is about which puts them back, or decides about them, read where they are kept: so
 * few are put back that nothing is kept in mind of them.
 */
export class AuditRefused {
  readonly #log: EventLog;
  readonly #walks = new Map<string, Walk>();
  readonly #cursors = new Map<string, EventCursor>();
  readonly #gone = new Map<string, GoneReferences>();

  constructor(log: EventLog) {
    this.#log = log;
  }

  /** What an event takes back, or decides about. To be asked for every event. */
  async *before({ stream, typed }: AuditedEvent): AsyncGenerator<AuditItem> {
    if (typed?.type === "RetryAsked" || typed?.type === "RecordsDiscarded") {
      const { unit, items } = typed.data;
      if (!isRetryStream(stream) || typeof unit !== "string" || !Array.isArray(items)) return;
      const first = typed.type === "RetryAsked" ? typed.data.first : 0;
      for (const [at, place] of items.entries()) yield await this.#refused(stream, unit, first + at, place);
    } else if (typed?.type === "StepsRecorded") {
      const retries = retryStream(pipelineOf(stream));
      yield* this.#taken(stream, retries, typed.data.from?.[retries], typed.data.to?.[retries]);
    } else if (typed?.type === "DoorClaimed") {
      const { retry: next = 0 } = typed.data;
      if (!this.#walks.has(stream)) this.#walks.set(stream, { next, revision: undefined });
    } else if (typed?.type === "RecordsAccepted" || typed?.type === "InputEnded") {
      yield* this.#taken(stream, retryStream(pipelineOf(stream)), undefined, typed.data.retry);
    }
  }

  /** What was asked of a unit from I = `from` up to, and without, `to`. */
  async *#taken(
    unit: string,
    retries: string,
    from: number | undefined,
    to: number | undefined,
  ): AsyncGenerator<AuditItem> {
    let walk = this.#walks.get(unit);
    const start = from ?? walk?.next ?? 0;
    if (!Number.isSafeInteger(start) || !Number.isSafeInteger(to) || (to as number) <= start) return;
    if (walk === undefined || walk.next !== start) {
      walk = { next: start, revision: undefined };
      this.#walks.set(unit, walk);
    }
    const end = to as number;
    walk.revision ??= await this.#seek(retries, start);
    for (; ; walk.revision++) {
      const typed = await this.#eventAt(retries, walk.revision);
      if (typed === undefined) break;
      if (typed.type !== "RetryAsked") continue;
      const { first, count, items } = typed.data;
      if (typed.data.unit === unit && Array.isArray(items)) {
        for (const [at, place] of items.entries()) {
          const item = first + at;
          if (item >= start && item < end) yield await this.#refused(unit, unit, item, place);
        }
      }
      if (!(first + count <= end)) break;
    }
    walk.next = end;
  }

  /** A record that `unit` refused. */
  async #refused(taker: string, unit: string, item: number, place: RetryItem): Promise<AuditedRefused> {
    const said = { kind: "refused", taker, unit, item, place } as const;
    try {
      const event = await this.#eventAt(besideStream(unit, "quarantine"), place.revision);
      const known = event?.type === "RecordsQuarantined" || event?.type === "RecordsRejected";
      const records = known ? event.data.records : [];
      const partition = unit.startsWith("steps_");
      const steps = partition ? await this.#stepsOf(unit, place.n) : undefined;
      const range = partition ? steps?.quarantine : await this.#rejectedBy(unit, event);
      const holds = steps !== undefined && place.n >= steps.first && place.n < steps.first + steps.count;
      const input = holds ? recordedInput(steps, place.n) : undefined;
      const referred = covers(range, place.revision) || (await this.#goneOf(unit).include(place.revision));
      return {
        ...said,
        record: referred ? records[place.index] : undefined,
        records: records.length,
        ...(input !== undefined && { input: { origin: input.origin, time: input.time } }),
      };
    } catch (error) {
      if (isHeadwaterError(error) && !isUnreadable(error)) throw error;
      // What was tampered with may be of any shape: no record is there.
      return { ...said, record: undefined, records: 0 };
    }
  }

  /** What is let go of referred to. */
  #goneOf(unit: string): GoneReferences {
    let gone = this.#gone.get(unit);
    if (gone === undefined) {
      gone = new GoneReferences(this.#log, pipelineOf(unit), unit);
      this.#gone.set(unit, gone);
    }
    return gone;
  }

  async #stepsOf(unit: string, n: number): Promise<StepsRecorded | undefined> {
    const typed = await this.#eventAt(unit, await this.#seek(unit, n));
    return typed?.type === "StepsRecorded" ? typed.data : undefined;
  }

  /** The event of a door that refers to rejected records. Older logs do not say which it is: then any is. */
  async #rejectedBy(unit: string, event: TypedEvent | undefined): Promise<EventRange | undefined> {
    if (event?.type !== "RecordsRejected") return undefined;
    const { main } = event.data;
    if (main === undefined) return { revision: 0, events: Number.POSITIVE_INFINITY };
    const typed = await this.#eventAt(unit, main);
    return typed !== undefined && "rejected" in typed.data ? typed.data.rejected : undefined;
  }

  /** `undefined`: it is not there, or what is there cannot be read, which is told when it has its turn. */
  async #eventAt(stream: string, revision: number): Promise<TypedEvent | undefined> {
    if (!Number.isSafeInteger(revision) || revision < 0) return undefined;
    let cursor = this.#cursors.get(stream);
    if (cursor === undefined) {
      cursor = new EventCursor(this.#log, stream);
      this.#cursors.set(stream, cursor);
    }
    try {
      return decodeEvent(await cursor.at(revision));
    } catch (error) {
      if (isUnreadable(error)) return undefined;
      throw error;
    }
  }

  async #seek(stream: string, n: number): Promise<number> {
    try {
      return await seekRecord(this.#log, stream, n);
    } catch (error) {
      if (isUnreadable(error)) return 0;
      throw error;
    }
  }
}

function covers(range: EventRange | undefined, revision: number): boolean {
  return range !== undefined && revision >= range.revision && revision < range.revision + range.events;
}
