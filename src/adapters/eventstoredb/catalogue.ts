import { comparePositions, type Position, START } from "../../core/position.ts";
import { compareUtf8 } from "../../core/utf8.ts";
import type { StreamFilter } from "../../ports/event-log.ts";
import type { Reads } from "./reads.ts";

/** How many events of a stream were seen, and how many bytes of data and metadata they have. */
interface Seen {
  readonly first: number;
  count: number;
  bytes: number;
}

/**
 * Which streams there are. The server keeps no list of them without projections of its own, which would slow down
 * every write; so all events are looked through, from where the last time ended.
 */
export class Catalogue {
  readonly #reads: Reads;
  readonly #seen = new Map<string, Seen>();
  #after: Position = START;
  #updating: Promise<void> | undefined;

  constructor(reads: Reads) {
    this.#reads = reads;
  }

  /** The names that pass, in the order of their bytes. */
  async names(passes: (stream: string) => boolean): Promise<readonly string[]> {
    this.#updating ??= this.#update().finally(() => {
      this.#updating = undefined;
    });
    await this.#updating;
    return [...this.#seen.keys()].filter(passes).sort(compareUtf8);
  }

  /** Bytes of a stream's events, if it has been seen whole up to `lastRevision` and begins at its beginning. */
  bytes(stream: string, firstRevision: number, lastRevision: number): number | undefined {
    const seen = this.#seen.get(stream);
    const whole = seen?.first === 0 && firstRevision === 0 && seen.count === lastRevision + 1;
    return whole ? seen.bytes : undefined;
  }

  async #update(): Promise<void> {
    const end = await this.#reads.lastPosition();
    if (comparePositions(end, this.#after) <= 0) return;
    const filter: StreamFilter = { everything: true };
    const options = { direction: "forwards", filter, limit: Number.POSITIVE_INFINITY } as const;
    for await (const events of this.#reads.all({ ...options, from: this.#after })) {
      for (const { stream, revision, position, data, metadata } of events) {
        if (comparePositions(position, this.#after) <= 0) continue;
        this.#after = position;
        let seen = this.#seen.get(stream);
        if (seen === undefined) {
          seen = { first: revision, count: 0, bytes: 0 };
          this.#seen.set(stream, seen);
        }
        seen.count += 1;
        seen.bytes += data.length + metadata.length;
      }
      if (comparePositions(this.#after, end) >= 0) return;
    }
  }
}
