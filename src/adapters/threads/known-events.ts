import { LIMITS } from "../../core/limits.ts";
import { comparePositions } from "../../core/position.ts";
import type { RecordedEvent } from "../../ports/event-log.ts";

/**
 * The events that came over a port last: several partitions of a node read the same streams, and an event that one of
 * them has got need not be sent, nor decoded, once more. Both sides of a port have one and put in the same events in
 * the same order, so that each knows what the other has. Bounded by the bytes of its events.
 */
export class KnownEvents {
  /** In the order in which they came. */
  readonly #events = new Map<string, RecordedEvent>();
  #bytes = 0;

  /** The object that stands for an event, if it is known. */
  find(event: Place): RecordedEvent | undefined {
    const known = this.#events.get(nameOf(event));
    return known !== undefined && comparePositions(known.position, event.position) === 0 ? known : undefined;
  }

  /** The events of a stream from a revision on, if all of them are known. */
  range(stream: string, from: number, count: number): readonly RecordedEvent[] | undefined {
    const events: RecordedEvent[] = [];
    for (let revision = from; revision < from + count; revision++) {
      const event = this.#events.get(nameOf({ stream, revision }));
      if (event === undefined) return undefined;
      events.push(event);
    }
    return events;
  }

  /** Puts in an event that is not known; the oldest ones make room. */
  add(event: RecordedEvent): void {
    const name = nameOf(event);
    const other = this.#events.get(name);
    if (other !== undefined) this.#forget(name, other);
    this.#events.set(name, event);
    this.#bytes += bytesOf(event);
    for (const [oldest, old] of this.#events) {
      if (this.#bytes <= LIMITS.threadKnownBytes) break;
      this.#forget(oldest, old);
    }
  }

  #forget(name: string, event: RecordedEvent): void {
    this.#events.delete(name);
    this.#bytes -= bytesOf(event);
  }
}

type Place = Pick<RecordedEvent, "stream" | "revision" | "position">;

function nameOf({ stream, revision }: Omit<Place, "position">): string {
  return `${revision} ${stream}`;
}

function bytesOf({ data, metadata }: RecordedEvent): number {
  return data.length + metadata.length;
}
