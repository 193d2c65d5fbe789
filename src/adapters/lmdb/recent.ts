import { LIMITS } from "../../core/limits.ts";
import type { RecordedEvent } from "../../ports/event-log.ts";
import { eventWeight } from "../../ports/event-log-rules.ts";

/**
 * The events committed last, at most `LIMITS.recentEventsBytes` of them: what one node has just appended,
 * others are about to read, and need not fetch from the file. A revision is never given twice, so that an
 * event found here is the one in the file; whether it may be read is for the caller to know.
 */
export class RecentEvents {
  readonly #streams = new Map<string, Map<number, RecordedEvent>>();
  readonly #order: (RecordedEvent | undefined)[] = [];
  /** Entries of `#order` before this have been let go. */
  #start = 0;
  #bytes = 0;

  add(event: RecordedEvent): void {
    const stream = this.#streams.get(event.stream);
    if (stream === undefined) this.#streams.set(event.stream, new Map([[event.revision, event]]));
    else stream.set(event.revision, event);
    this.#order.push(event);
    this.#bytes += eventWeight(event);
    while (this.#bytes > LIMITS.recentEventsBytes) this.#dropOldest();
  }

  get(stream: string, revision: number): RecordedEvent | undefined {
    return this.#streams.get(stream)?.get(revision);
  }

  #dropOldest(): void {
    const event = this.#order[this.#start];
    if (event === undefined) return;
    this.#order[this.#start] = undefined;
    this.#start += 1;
    this.#bytes -= eventWeight(event);
    const stream = this.#streams.get(event.stream);
    stream?.delete(event.revision);
    if (stream?.size === 0) this.#streams.delete(event.stream);
    if (this.#start > COMPACT && this.#start > this.#order.length / 2) {
      this.#order.splice(0, this.#start);
      this.#start = 0;
    }
  }
}

const COMPACT = 1_024;
