import { decodeCanonical, type Value } from "../core/canonical.ts";
import { equalBytes, sha256 } from "../core/digest.ts";
import { HeadwaterError, isHeadwaterError } from "../core/errors.ts";
import { decodeEventAs } from "../core/event-codec.ts";
import type { EventRange, RecordsStored } from "../core/events.ts";
import { LIMITS } from "../core/limits.ts";
import { besideStream } from "../core/streams.ts";
import { acceptedRows, decodeBlock, type StoredBlock } from "../engine/outlet-decoder.ts";
import { placeAmong, type StoredAt } from "../engine/stored-rows.ts";
import { SEGMENT_INPUT } from "../pipeline/plan.ts";
import type { EventLog } from "../ports/event-log.ts";
import type { AcceptedPlace, GonePlace, RecordPlace, RefusedPlace, ResultPlace } from "./lineage-places.ts";
import { type LineageReader, ownerOf } from "./lineage-reader.ts";
import type { FoundValue, Recomputation } from "./lineage-recompute.ts";

const NOT_KEPT = { kind: "none", reason: "the record is not kept", lost: true } as const;
/** Nor was it asked whether it can be made again. */
const NOT_ASKED = { ...NOT_KEPT, lost: false } as const;
const NO_RECORD = { kind: "none", reason: "a firing is no record", lost: false } as const;

export interface LineageValuesOptions {
  readonly log: EventLog;
  readonly reader: LineageReader;
  /** Makes records again by the code that the log holds. Absent: the log is not trusted, and only what is stored counts. */
  readonly recomputation?: Recomputation;
}

/**
 * The records behind addresses: what is stored, or what the deployed code makes of their parents. Either is held to
 * the digest that its step event names, so that a value which is answered is the one that was there.
 */
export class LineageValues {
  readonly #options: LineageValuesOptions;
  readonly #payloads = new Map<string, Promise<readonly RecordsStored[] | undefined>>();

  readonly #blocks = new WeakMap<readonly RecordsStored[], Map<number, StoredBlock>>();

  constructor(options: LineageValuesOptions) {
    this.#options = options;
  }

  async valueOf(place: RecordPlace | GonePlace): Promise<FoundValue> {
    if (place.kind === "gone") return { kind: "none", reason: goneReason(place), lost: true };
    if (place.kind === "firing") return NO_RECORD;
    if (place.kind === "retry") return this.valueOf(await this.#options.reader.refusedAs(place));
    if (place.kind === "quarantined" && place.record.firing !== undefined) return NO_RECORD;
    const digest = await this.#options.reader.digestOf(place);
    const stored = await this.#kept(place);
    if (stored !== undefined) {
      if (digest === undefined || equalBytes(sha256(stored), digest))
        return { kind: "stored", bytes: stored };
      return {
        kind: "none",
        reason: 'the record that is stored does not have its digest: see "headwater audit"',
        lost: true,
      };
    }
    if (place.kind === "rejected")
      return { kind: "none", reason: "what came in could not be read", lost: false };
    return place.kind === "result" ? this.#madeAgain(place, digest) : NOT_KEPT;
  }

  #kept(place: AcceptedPlace | ResultPlace | RefusedPlace): Promise<Uint8Array | undefined> {
    switch (place.kind) {
      case "source":
        return this.#accepted(place);
      case "result":
        return this.#stored(place);
      case "quarantined":
        return Promise.resolve(place.record.record);
      case "rejected":
        return Promise.resolve(place.record.value);
    }
  }

  async #madeAgain(place: ResultPlace, digest: Uint8Array | undefined): Promise<FoundValue> {
    const { reader, recomputation } = this.#options;
    const owner = ownerOf(place);
    if (owner.stage === SEGMENT_INPUT) return this.valueOf(await reader.inputOf(place, owner.row));
    if (recomputation === undefined) return wasStored(place) ? NOT_KEPT : NOT_ASKED;
    if (digest === undefined)
      return { kind: "none", reason: "the record is not kept, and neither is its digest", lost: true };
    const made = await recomputation.recordOf(reader.resultAt(place, owner), (input) => this.valueOf(input));
    if (made.kind === "none") return made;
    if (equalBytes(sha256(made.bytes), digest)) return made;
    return {
      kind: "none",
      reason:
        "the record is not kept, and its stage, run again, gives another one: it depends on more than its input",
      lost: true,
    };
  }

  async #accepted({ event, stream, row }: AcceptedPlace) {
    const stored = placeAmong(acceptedRows(event), row);
    return stored && this.#fromBlock(stream, event[stored.beside], SEGMENT_INPUT, stored);
  }

  /** The stored bytes of a result; `undefined`: it was not kept, or is not any more. */
  async #stored(place: ResultPlace): Promise<Uint8Array | undefined> {
    const { graph, stream } = place;
    const { stage, row } = ownerOf(place);
    const stored = graph.shape.storedAt(stage, row);
    return stored && this.#fromBlock(stream, graph.event[stored.beside], stage, stored);
  }

  async #fromBlock(
    main: string,
    range: EventRange | undefined,
    stage: number,
    { beside, index }: StoredAt,
  ): Promise<Uint8Array | undefined> {
    if (range === undefined) return undefined;
    const events = await this.#payload(besideStream(main, beside), range);
    if (events === undefined) return undefined;
    const { buffers, starts, ends } = this.#block(events, stage);
    return buffers[index]?.subarray(starts[index], ends[index]);
  }

  /** A block of a payload: many records of one are asked for, one after the other. */
  #block(events: readonly RecordsStored[], stage: number): StoredBlock {
    const known = this.#blocks.get(events) ?? new Map<number, StoredBlock>();
    this.#blocks.set(events, known);
    const block = known.get(stage) ?? decodeBlock(events, stage);
    known.set(stage, block);
    return block;
  }

  /** The events of one payload; `undefined`: not all of them are there any more. */
  #payload(stream: string, range: EventRange): Promise<readonly RecordsStored[] | undefined> {
    const key = `${stream}@${range.revision}`;
    let payload = this.#payloads.get(key);
    if (payload === undefined) {
      payload = this.#read(stream, range);
      this.#payloads.set(key, payload);
      for (const oldest of this.#payloads.keys()) {
        if (this.#payloads.size <= LIMITS.lineageCachedPayloads) break;
        this.#payloads.delete(oldest);
      }
    }
    return payload;
  }

  async #read(
    stream: string,
    { revision, events }: EventRange,
  ): Promise<readonly RecordsStored[] | undefined> {
    const found: RecordsStored[] = [];
    try {
      for await (const event of this.#options.log.read(stream, { from: revision, limit: events })) {
        if (event.revision >= revision + events) break;
        found.push(decodeEventAs(event, "RecordsStored"));
      }
    } catch (error) {
      if (!isHeadwaterError(error, "StreamNotFound")) throw error;
    }
    return found.length === events ? found : undefined;
  }
}

/** Whether a result was to be kept, and not only until it was taken further down. */
function wasStored(place: ResultPlace): boolean {
  const { stage, row } = ownerOf(place);
  return place.graph.shape.storedAt(stage, row)?.beside === "payload";
}

/** What has been let go of, in words. */
export function goneReason({ stream, before }: GonePlace): string {
  return `let go of: ${stream} has its events from revision ${before} on`;
}

/** A record as it is in memory. Throws `LogDamaged` for bytes that no record has. */
export function decodeRecord(bytes: Uint8Array, where: string): Value {
  try {
    return decodeCanonical(bytes);
  } catch (cause) {
    throw new HeadwaterError("LogDamaged", "a record is not canonical", { where, cause });
  }
}
