import type { Address } from "../core/address.ts";
import { decodeEvent } from "../core/event-codec.ts";
import type { OutputsDelivered } from "../core/events.ts";
import { sinkStream } from "../core/streams.ts";
import type { EventLog } from "../ports/event-log.ts";
import type { LineageReader } from "./lineage-reader.ts";
import { readInSteps } from "./seek.ts";
import { placeInDelivery } from "./sink-position.ts";

/** A record as a sink delivered it. */
export interface Delivered {
  readonly pipeline: string;
  readonly sink: string;
  /** Which of its outputs it is: `PIPELINE/SINK#N`. */
  readonly n: number;
  readonly target: string;
  readonly node: string;
  /** When it was said to be delivered, milliseconds since 1970. */
  readonly time: number;
  readonly ordinal: number;
}

/** Finds out whether, and as which of its outputs, a sink has delivered a record. */
export class SinkDeliveries {
  readonly #log: EventLog;
  readonly #reader: LineageReader;

  constructor(log: EventLog, reader: LineageReader) {
    this.#log = log;
    this.#reader = reader;
  }

  /** `undefined`: it has not. `gone`: it has, and as which of its outputs is not kept any more. */
  async find(
    pipeline: string,
    sink: string,
    address: Address,
    ordinal: number,
  ): Promise<Delivered | "gone" | undefined> {
    const stream = sinkStream(pipeline, sink);
    for await (const event of this.#covering(stream, ordinal)) {
      const query = { log: this.#log, reader: this.#reader, pipeline, sink };
      const n = await placeInDelivery(query, event, address);
      if (n === undefined) continue;
      if (n === "gone") return n;
      const { target, node, wall: time } = event;
      return { pipeline, sink, n, target, node, time, ordinal };
    }
    const info = await this.#log.streamInfo(stream);
    if (info === undefined || info.firstRevision === 0) return undefined;
    // What came before is not there: it has delivered what it is complete up to.
    const last = await this.#atOrBefore(stream, info.lastRevision, info.firstRevision);
    return last === undefined || last.through >= ordinal ? "gone" : undefined;
  }

  /**
   * Deliveries that may hold a record with this ordinal: their `from` is before it, their `through` at most one behind,
   * as a batch may end between records of one ordinal. To each target a sink goes through its records in order; of
   * several targets, the first that is found counts.
   */
  async *#covering(stream: string, ordinal: number): AsyncGenerator<OutputsDelivered> {
    const info = await this.#log.streamInfo(stream);
    if (info === undefined) return;
    let low = info.firstRevision;
    let high = info.lastRevision;
    // The first revision from which on everything is complete up to the ordinal.
    while (low < high) {
      const middle = Math.floor((low + high) / 2);
      const delivery = await this.#atOrBefore(stream, middle, low);
      if (delivery !== undefined && delivery.through >= ordinal - 1) high = middle;
      else low = middle + 1;
    }
    let tried = 0;
    for await (const recorded of readInSteps(this.#log, stream, low, "forwards")) {
      const { type, data } = decodeEvent(recorded);
      if (type !== "OutputsDelivered" || data.count === 0) continue;
      if (data.through >= ordinal - 1) yield data;
      if (data.through >= ordinal && ++tried === DELIVERIES_TRIED) return;
    }
  }

  async #atOrBefore(stream: string, revision: number, least: number): Promise<OutputsDelivered | undefined> {
    for await (const recorded of readInSteps(this.#log, stream, revision, "backwards")) {
      if (recorded.revision < least) return undefined;
      const { type, data } = decodeEvent(recorded);
      if (type === "OutputsDelivered") return data;
    }
    return undefined;
  }
}

/** Deliveries that are complete up to a record's ordinal and are looked into for it: of one target the first has it. */
const DELIVERIES_TRIED = 4;
