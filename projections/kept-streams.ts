import { isForkStream } from "../src/core/streams.ts";
import type { AuditedEvent, AuditItem } from "./audit.ts";

/** What the names of streams begin with whose events count records. */
const UNITS = ["source_", "steps_", "sink_"] as const;

/**
 * From which revision on the streams of a log are kept: the one place that says whether something is missing, or was
 * let go.
 */
export class KeptStreams {
  readonly #first = new Map<string, number>();
  /** N of the first record that is kept. */
  readonly #next = new Map<string, number>();
  /** The last revision that has come. */
  readonly #last = new Map<string, number>();
  #afterGap: AuditItem | undefined;
  /** By unit, the N that comes after what has come. */
  readonly #after = new Map<string, number>();

  /** To be told of every item. */
  see(item: AuditItem): void {
    if (item.kind === "event") this.#come(item);
    if (item.kind !== "stream" || item.first === 0) return;
    this.#first.set(item.stream, item.first);
    this.#next.set(item.stream, item.next ?? Number.POSITIVE_INFINITY);
  }

  #come(item: AuditedEvent): void {
    const { stream, revision } = item;
    const last = this.#last.get(stream);
    if (last !== undefined && revision > last + 1 && this.isGone(stream, revision - 1)) this.#afterGap = item;
    this.#last.set(stream, Math.max(revision, last ?? 0));
  }

  /**
   * Whether the events before this one were let go of after others of the stream had come: what those said is not what
   * it goes on from.
   */
  isAfterGap(item: AuditItem): boolean {
    return this.#afterGap === item;
  }

  /** Whether an event was let go. */
  isGone(stream: string, revision: number): boolean {
    return revision < this.firstOf(stream);
  }

  /** Whether the record, or input, N = `n` of a stream was let go. */
  isRecordGone(stream: string, n: number): boolean {
    return n < (this.#next.get(stream) ?? 0);
  }

  /**
   * How many records, or inputs, of a unit were let go of before an event that begins with the N `first`: since the one
   * that came before it, or all that there were. To be asked once for every event that has an N.
   */
  goneBefore(
    stream: string,
    { first, count = 0 }: { readonly first: number; readonly count?: number },
    unit = stream,
  ): number {
    // A fork begins where it was put.
    const after = this.#after.get(unit) ?? (isForkStream(stream) ? first : 0);
    this.#after.set(unit, first + count);
    return this.isCut(stream) && first > after ? first - after : 0;
  }

  /**
   * The units' streams of which something was let go of, and of which nothing has come that says how many records that
   * were. To be asked at the end.
   */
  uncounted(): readonly string[] {
    const counted = new Set([...this.#after.keys()].map((unit) => unit.split(" ")[0]));
    const isUnit = (stream: string) => UNITS.some((prefix) => stream.startsWith(prefix));
    return [...this.#first.keys()].filter(
      (stream) => isUnit(stream) && !isForkStream(stream) && !counted.has(stream),
    );
  }

  /** Whether the beginning of a stream was let go. */
  isCut(stream: string): boolean {
    return this.#first.has(stream);
  }

  /** The first revision that is kept. */
  firstOf(stream: string): number {
    return this.#first.get(stream) ?? 0;
  }
}
