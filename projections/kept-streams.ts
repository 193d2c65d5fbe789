import type { AuditItem } from "./audit.ts";

/**
 * From which revision on the streams of a log are kept: the one place that says whether something is missing, or was
 * let go.
 */
export class KeptStreams {
  readonly #first = new Map<string, number>();
  /** N of the first record that is kept. */
  readonly #next = new Map<string, number>();

  /** To be told of every item. */
  see(item: AuditItem): void {
    if (item.kind !== "stream" || item.first === 0) return;
    this.#first.set(item.stream, item.first);
    this.#next.set(item.stream, item.next ?? Number.POSITIVE_INFINITY);
  }

  /** Whether an event was let go. */
  isGone(stream: string, revision: number): boolean {
    return revision < this.firstOf(stream);
  }

  /** Whether the record, or input, N = `n` of a stream was let go. */
  isRecordGone(stream: string, n: number): boolean {
    return n < (this.#next.get(stream) ?? 0);
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
