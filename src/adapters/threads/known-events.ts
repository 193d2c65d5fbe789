import { LIMITS } from "../../core/limits.ts";
import { comparePositions } from "../../core/position.ts";
import type { RecordedEvent } from "../../ports/event-log.ts";

/**
 * The events that came last, each once: several partitions of a node read the same streams, and whatever one of them
 * finds out about an event (what it decodes to) need not be found out again. Bounded by their bytes.
 */
export class KnownEvents {
  /** In the order in which they came. */
  readonly #events = new Map<string, RecordedEvent>();
  #bytes = 0;

  /** The object that stands for the event: that of the first time that it came, while it is known. */
  the(event: RecordedEvent): RecordedEvent {
    const name = `${event.revision} ${event.stream}`;
    const known = this.#events.get(name);
    if (known !== undefined && comparePositions(known.position, event.position) === 0) return known;
    if (known !== undefined) this.#forget(name, known);
    this.#events.set(name, event);
    this.#bytes += bytesOf(event);
    for (const [oldest, old] of this.#events) {
      if (this.#bytes <= LIMITS.threadKnownBytes) break;
      this.#forget(oldest, old);
    }
    return event;
  }

  #forget(name: string, event: RecordedEvent): void {
    this.#events.delete(name);
    this.#bytes -= bytesOf(event);
  }
}

function bytesOf({ data, metadata }: RecordedEvent): number {
  return data.length + metadata.length;
}
