import { sha256 } from "../src/core/digest.ts";
import type { RetryItem } from "../src/core/events.ts";
import type { AuditedRefused, AuditItem } from "./audit.ts";

/** A refused record, as far as audits have to know it: its bytes are let go. */
export interface PutBack extends Pick<AuditedRefused, "unit" | "item" | "place" | "records" | "input"> {
  readonly found: "it" | "another" | "none";
  /** Of a record that a stage refused, as it was given it. */
  readonly digest: Uint8Array | undefined;
}

/** The refused records that the next event of each partition, door or stream of retries is about. */
export class PutBackRecords {
  readonly #waiting = new Map<string, PutBack[]>();

  /** To be told of every item. */
  see(item: AuditItem): void {
    if (item.kind !== "refused") return;
    const waiting = this.#waiting.get(item.taker);
    const { unit, item: at, place, records, input } = item;
    const known = input === undefined ? {} : { input };
    const put = { unit, item: at, place, records, ...known, found: foundAs(item), digest: digestOf(item) };
    if (waiting === undefined) this.#waiting.set(item.taker, [put]);
    else waiting.push(put);
  }

  /** What came for the event that is next, in order; it is let go of. */
  take(taker: string): readonly PutBack[] {
    const waiting = this.#waiting.get(taker);
    if (waiting === undefined) return NONE;
    this.#waiting.delete(taker);
    return waiting;
  }
}

const NONE: readonly PutBack[] = [];

function foundAs({ record, place, unit }: AuditedRefused): PutBack["found"] {
  if (record === undefined) return "none";
  const { n, k, stage } = place as RetryItem;
  if (!("stage" in record)) return stage === undefined && unit.startsWith("source_") ? "it" : "another";
  const same = record.n === n && record.stage === stage && (record.k === undefined || record.k === k);
  return same ? "it" : "another";
}

function digestOf({ record }: AuditedRefused): Uint8Array | undefined {
  return record !== undefined && "record" in record ? sha256(record.record) : undefined;
}
