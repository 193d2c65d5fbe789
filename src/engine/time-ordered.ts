/** A record that waits for others. */
export interface Buffered {
  readonly time: number;
  /** N in the partition: the order in which records came. */
  readonly n: number;
  /** Canonical bytes of the record. */
  readonly bytes: Uint8Array;
  /** What orders it among all records, whatever the partition. */
  readonly place: string;
  /** Whether it has found a counterpart, or was given out without one. */
  matched: boolean;
}

/** Buffered records in the order of their times, those of one time as they came. */
export class TimeOrdered {
  #items: Buffered[] = [];
  /** Items before this one are gone; they are let go of now and then. */
  #from = 0;

  get size(): number {
    return this.#items.length - this.#from;
  }

  insert(item: Buffered): void {
    const items = this.#items;
    // Records come nearly in order.
    let at = items.length;
    while (at > this.#from && (items[at - 1] as Buffered).time > item.time) at--;
    if (at === items.length) items.push(item);
    else items.splice(at, 0, item);
  }

  /** Those from time `from` to time `to`, both inclusive. */
  *between(from: number, to: number): Generator<Buffered, void, undefined> {
    for (let at = this.#firstAt(from); at < this.#items.length; at++) {
      const item = this.#items[at] as Buffered;
      if (item.time > to) return;
      yield item;
    }
  }

  /** The last one up to `time`, inclusive. */
  lastUpTo(time: number): Buffered | undefined {
    const at = this.#firstAt(time + 1) - 1;
    return at >= this.#from ? this.#items[at] : undefined;
  }

  /** Lets go of those before `time`; answers how many. */
  dropBefore(time: number): number {
    const before = this.#from;
    this.#from = this.#firstAt(time);
    const dropped = this.#from - before;
    if (this.#from > 32 && this.#from * 2 > this.#items.length) {
      this.#items = this.#items.slice(this.#from);
      this.#from = 0;
    }
    return dropped;
  }

  *[Symbol.iterator](): Generator<Buffered, void, undefined> {
    for (let at = this.#from; at < this.#items.length; at++) yield this.#items[at] as Buffered;
  }

  /** Index of the first one at or after `time`. */
  #firstAt(time: number): number {
    let low = this.#from;
    let high = this.#items.length;
    while (low < high) {
      const middle = (low + high) >>> 1;
      if ((this.#items[middle] as Buffered).time < time) low = middle + 1;
      else high = middle;
    }
    return low;
  }
}
