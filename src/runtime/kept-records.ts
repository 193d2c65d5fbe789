import type { IntakeRecord } from "./intake-record.ts";

/**
 * Records that can be read only once, kept until they are durable: a door that fails leaves them to the next one.
 */
export class KeptRecords {
  readonly #iterator: AsyncIterator<readonly IntakeRecord[]>;
  #kept: IntakeRecord[] = [];
  #pending: Promise<IteratorResult<readonly IntakeRecord[]>> | undefined;
  /** Which reader is the latest; those before it get nothing more. */
  #reader = 0;

  constructor(records: AsyncIterable<readonly IntakeRecord[]>) {
    this.#iterator = records[Symbol.asyncIterator]();
  }

  /** First what earlier readers were given and did not make durable, then what follows. */
  async *read(signal: AbortSignal): AsyncIterable<readonly IntakeRecord[]> {
    const reader = ++this.#reader;
    if (this.#kept.length > 0) yield [...this.#kept];
    while (!signal.aborted) {
      this.#pending ??= this.#iterator.next();
      const result = await this.#pending;
      if (reader !== this.#reader) return;
      this.#pending = undefined;
      if (result.done) return;
      for (const record of result.value) this.#kept.push(record);
      yield result.value;
    }
  }

  /** The first `records` of those that were read are durable, or refused for good. */
  taken(records: number): void {
    this.#kept.splice(0, records);
  }

  /** Nobody will read any more. */
  abandon(error: unknown): void {
    this.#reader++;
    for (const record of this.#kept) record.settle?.({ kind: "failed", error });
    this.#kept = [];
  }
}
