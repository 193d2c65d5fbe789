/** Something whose turn has come. */
export interface Due {
  /** Orders what is due at one time. */
  readonly path: string;
  /** Because the inputs have ended, and not because its time has come. */
  readonly end: boolean;
}

/**
 * What is due: first, time by time, what event time has reached, then what the end of the inputs gives out.
 */
export class DueList<T extends Due> {
  /** The last first. */
  #items: T[] = [];

  /** Adds what one time has made due. */
  addTimed(items: T[]): void {
    this.#items = this.#items.concat(latestFirst(items));
  }

  /** Adds what the end of the inputs gives out. */
  addEnd(items: T[]): void {
    this.#items = latestFirst(items).concat(this.#items);
  }

  /** The next one. `collect` adds what is due at the next time that has been reached; it answers whether there is one. */
  take(collect: () => boolean): T | undefined {
    for (;;) {
      const next = this.#items.at(-1);
      if (next !== undefined && !next.end) return this.#items.pop();
      if (!collect()) return this.#items.pop();
    }
  }
}

function latestFirst<T extends Due>(items: T[]): T[] {
  return items.sort((a, b) => (a.path < b.path ? 1 : a.path > b.path ? -1 : 0));
}
