import type { ServerEvent } from "./events.ts";
import type { Reads } from "./reads.ts";

/** Reads of more events than this are made by whoever asks. */
const MOST_EVENTS = 64;

/**
 * Reads of a few events at a known place. Partitions that are woken by one event all ask for the records that it
 * refers to: they get them by one read. It begins after all of them have asked, so that none sees an older state
 * than it would by itself.
 */
export class SharedReads {
  readonly #reads: Reads;
  readonly #asked = new Map<string, Promise<readonly ServerEvent[]>>();

  constructor(reads: Reads) {
    this.#reads = reads;
  }

  /** Whether a read is one to be shared. */
  static suits(from: number | undefined, limit: number): from is number {
    return from !== undefined && limit <= MOST_EVENTS;
  }

  /** Throws what `EventLog.read` throws. */
  read(stream: string, from: number, limit: number): Promise<readonly ServerEvent[]> {
    const key = `${from} ${limit} ${stream}`;
    const asked = this.#asked.get(key) ?? this.#begin(key, stream, from, limit);
    this.#asked.set(key, asked);
    return asked;
  }

  async #begin(key: string, stream: string, from: number, limit: number): Promise<readonly ServerEvent[]> {
    await new Promise<void>((resolve) => {
      setImmediate(resolve);
    });
    this.#asked.delete(key);
    const events: ServerEvent[] = [];
    for await (const chunk of this.#reads.stream({ stream, direction: "forwards", from, limit })) {
      events.push(...chunk);
    }
    return events;
  }
}
