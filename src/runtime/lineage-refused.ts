import { type Address, formatAddress, parseUnitStream } from "../core/address.ts";
import { decodeDeltas } from "../core/columns.ts";
import { HeadwaterError, isHeadwaterError } from "../core/errors.ts";
import { decodeEventAs } from "../core/event-codec.ts";
import type { QuarantinedRecord, RecordsAccepted, RetryItem } from "../core/events.ts";
import { besideStream, retryStream } from "../core/streams.ts";
import { SEGMENT_INPUT } from "../pipeline/plan.ts";
import type { EventLog, RecordedEvent } from "../ports/event-log.ts";
import {
  type AcceptedPlace,
  type FiringPlace,
  type GonePlace,
  type QuarantinedPlace,
  type RefusedPlace,
  type RejectedPlace,
  type ResultPlace,
  type RetryPlace,
  stagesOf,
} from "./lineage-places.ts";
import { readRefused } from "./quarantine.ts";
import type { RecordSeeker, Sought } from "./record-seeker.ts";
import { readOne } from "./seek.ts";

/** The detour of records that were put back: {@link RetryPlace}s, and what they were refused as. */
export class RefusedReader {
  readonly #log: EventLog;
  readonly #seeker: RecordSeeker;
  readonly #inputAt: (stream: string, n: number) => Promise<FiringPlace | GonePlace>;

  /** `inputAt` answers an input of a partition as a place of its own. */
  constructor(
    log: EventLog,
    seeker: RecordSeeker,
    inputAt: (stream: string, n: number) => Promise<FiringPlace | GonePlace>,
  ) {
    this.#log = log;
    this.#seeker = seeker;
    this.#inputAt = inputAt;
  }

  /** `retry_P@I`; how far the stream is, where it has no such record. */
  async retry(address: Address): Promise<RetryPlace | Exclude<Sought, { readonly kind: "found" }>> {
    const { stream, n } = address;
    const sought = await this.#seeker.find(stream, n);
    if (sought.kind !== "found") return sought;
    const { recorded, typed } = sought.event;
    const item = typed.type === "RetryAsked" ? typed.data.items[n - typed.data.first] : undefined;
    if (typed.type !== "RetryAsked" || item === undefined)
      throw misplaced(recorded, "an item that it counts");
    return {
      kind: "retry",
      address: formatAddress({ stream, n }),
      stream,
      n,
      recorded,
      event: typed.data,
      item,
    };
  }

  /** What a record that was put back had been refused as. */
  async refusedAs({ event, item }: RetryPlace): Promise<RefusedPlace | GonePlace> {
    const stream = besideStream(event.unit, "quarantine");
    const { n, k, stage, revision, index } = item;
    const quarantined = stage !== undefined;
    const address = formatAddress({ stream, n, ...(quarantined && { k: k ?? 0, stage }) });
    const recorded = await this.#find(stream, revision);
    if (recorded === undefined) return { kind: "gone", address, stream, before: revision + 1 };
    if (!quarantined) {
      const record = decodeEventAs(recorded, "RecordsRejected").records[index];
      if (record === undefined) throw misplaced(recorded, "a rejected record that was asked for");
      return { kind: "rejected", address, stream, n, recorded, record, unit: event.unit };
    }
    const record = decodeEventAs(recorded, "RecordsQuarantined").records[index];
    const input = await this.#inputAt(event.unit, n);
    if (input.kind === "gone") return { ...input, address };
    const range = input.graph.event.quarantine;
    const meant =
      range !== undefined && revision >= range.revision && revision < range.revision + range.events;
    if (record?.n !== n || record.stage !== stage || !meant)
      throw misplaced(recorded, "a quarantined record that was asked for");
    return placeOf(input, recorded, record);
  }

  /** The record that a stage refused of an input: the `row`-th that it was given in the event. */
  async quarantined(
    { stream, n, graph }: ResultPlace | FiringPlace,
    stage: string,
    row: number,
  ): Promise<QuarantinedPlace | undefined> {
    const input = await this.#inputAt(stream, n);
    if (input.kind === "gone") return undefined;
    for await (const recorded of this.#quarantineOf(stream, graph.event.quarantine)) {
      const { records } = decodeEventAs(recorded, "RecordsQuarantined");
      const record = records.find((each) => each.n === n && each.stage === stage && each.row === row);
      if (record !== undefined) return placeOf(input, recorded, record);
    }
    return undefined;
  }

  /** The record that a stage refused of an input: the K-th that it was given of it. */
  async quarantinedAt(input: FiringPlace, stage: string, k: number): Promise<QuarantinedPlace | undefined> {
    for await (const recorded of this.#quarantineOf(input.stream, input.graph.event.quarantine)) {
      for (const record of decodeEventAs(recorded, "RecordsQuarantined").records) {
        if (record.n !== input.n || record.stage !== stage) continue;
        const place = placeOf(input, recorded, record);
        if (place.k === k) return place;
      }
    }
    return undefined;
  }

  /** `quarantine_P.S@I`. They are counted over what the source refers to, so that all before it are gone through. */
  rejected({ stream, n }: Address): Promise<RejectedPlace | undefined> {
    return this.#rejected(stream, (place) => place.n === n);
  }

  /** As what a retried record of a source was rejected again. */
  rejectedAgain({ stream, n, event }: RetryPlace): Promise<RejectedPlace | undefined> {
    const again = ({ item }: RejectedPlace["record"]) => item === n && stream === retryOf(event.unit);
    return this.#rejected(besideStream(event.unit, "quarantine"), (_, record) => again(record));
  }

  /** The record that was asked for, if an accepted one is one that was put back. */
  async retryOf({ stream, event, row }: AcceptedPlace): Promise<RetryPlace | GonePlace | undefined> {
    const item = itemOfRow(event, row);
    return item === undefined ? undefined : this.#retryOf(retryOf(stream), item);
  }

  /** The record that was asked for, if a rejected one is one that was put back. */
  async retryOfRejected({ unit, record }: RejectedPlace): Promise<RetryPlace | GonePlace | undefined> {
    return record.item === undefined ? undefined : this.#retryOf(retryOf(unit), record.item);
  }

  async #retryOf(stream: string, n: number): Promise<RetryPlace | GonePlace> {
    const found = await this.retry({ stream, n });
    if (found.kind === "retry") return found;
    const address = formatAddress({ stream, n });
    if (found.kind === "gone") return { kind: "gone", address, stream, before: found.before };
    throw new HeadwaterError("LogDamaged", "a record names a retry that is not in the log", {
      where: address,
    });
  }

  async #rejected(
    stream: string,
    wanted: (place: RetryItem, record: RejectedPlace["record"]) => boolean,
  ): Promise<RejectedPlace | undefined> {
    const unit = stream.replace(/^quarantine_/, "source_");
    const { pipeline = "" } = parseUnitStream(unit) ?? {};
    if ((await this.#log.streamInfo(stream)) === undefined) return undefined;
    for await (const { place, record, address } of readRefused(this.#log, pipeline, { unit })) {
      if (record.kind !== "rejected" || !wanted(place, record.rejected)) continue;
      const recorded = await readOne(this.#log, stream, place.revision);
      return { kind: "rejected", address, stream, n: place.n, recorded, record: record.rejected, unit };
    }
    return undefined;
  }

  async *#quarantineOf(
    stream: string,
    range: { readonly revision: number; readonly events: number } | undefined,
  ): AsyncGenerator<RecordedEvent> {
    for (let event = 0; event < (range?.events ?? 0); event++) {
      const found = await this.#find(besideStream(stream, "quarantine"), (range?.revision ?? 0) + event);
      if (found !== undefined) yield found;
    }
  }

  async #find(stream: string, revision: number): Promise<RecordedEvent | undefined> {
    try {
      return await readOne(this.#log, stream, revision);
    } catch (error) {
      if (isHeadwaterError(error, "StreamNotFound")) return undefined;
      throw error;
    }
  }
}

function retryOf(unit: string): string {
  return retryStream(parseUnitStream(unit)?.pipeline ?? "");
}

/** The I of an accepted record that was put back. */
export function itemOfRow({ retried }: RecordsAccepted, row: number): number | undefined {
  if (retried === undefined) return undefined;
  const at = decodeDeltas(retried.rows).indexOf(row);
  return at < 0 ? undefined : decodeDeltas(retried.items)[at];
}

function placeOf(input: FiringPlace, recorded: RecordedEvent, record: QuarantinedRecord): QuarantinedPlace {
  const { graph, stream, n, deployed } = input;
  const stages = stagesOf(deployed, input.stage.segment);
  const stage = stages.findIndex(({ name }) => name === record.stage);
  const ahead = stage < 0 ? SEGMENT_INPUT : graph.shape.ahead(stage);
  // Older logs leave K to be worked out.
  const k = record.k ?? record.row - graph.rowsOf(ahead, n - graph.event.first).start;
  const address = formatAddress({ stream: besideStream(stream, "quarantine"), n, k, stage: record.stage });
  const at = { stage: ahead, row: record.row };
  return { kind: "quarantined", address, stream, n, recorded, record, k, input, at, deployed };
}

function misplaced({ stream, revision }: RecordedEvent, what: string): HeadwaterError {
  return new HeadwaterError("LogDamaged", `an event does not hold ${what}`, {
    where: `${stream}@${revision}`,
  });
}
