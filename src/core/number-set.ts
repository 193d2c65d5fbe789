/** Numbers of a page. */
const PAGE = 32_768;

interface Page {
  readonly bits: Uint32Array;
  count: number;
}

/**
 * A set of whole numbers from 0 on, with a bit for each, in pages of 4 KiB: numbers that lie close together take little,
 * and asking is as fast as an array.
 */
export class NumberSet {
  readonly #pages = new Map<number, Page>();
  #size = 0;
  #lowest = Number.POSITIVE_INFINITY;
  #highest = -1;

  get size(): number {
    return this.#size;
  }

  /** The lowest number that was ever added; `undefined`: none was. */
  get lowest(): number | undefined {
    return this.#highest < 0 ? undefined : this.#lowest;
  }

  get highest(): number | undefined {
    return this.#highest < 0 ? undefined : this.#highest;
  }

  add(n: number): void {
    const at = Math.floor(n / PAGE);
    let page = this.#pages.get(at);
    if (page === undefined) {
      page = { bits: new Uint32Array(PAGE / 32), count: 0 };
      this.#pages.set(at, page);
    }
    const bit = n % PAGE;
    const word = page.bits[bit >> 5] as number;
    const mask = 1 << (bit & 31);
    if ((word & mask) !== 0) return;
    page.bits[bit >> 5] = word | mask;
    page.count++;
    this.#size++;
    if (n < this.#lowest) this.#lowest = n;
    if (n > this.#highest) this.#highest = n;
  }

  has(n: number): boolean {
    const bits = this.#pages.get(Math.floor(n / PAGE))?.bits;
    const bit = n % PAGE;
    return bits !== undefined && ((bits[bit >> 5] as number) & (1 << (bit & 31))) !== 0;
  }

  /** Whether it has one of the numbers from `from` up to, and without, `to`. */
  hasBetween(from: number, to: number): boolean {
    const last = this.below(to);
    return last !== undefined && last >= from;
  }

  /** The highest number below `n`; `undefined`: there is none. */
  below(n: number): number | undefined {
    if (this.#highest < 0) return undefined;
    const from = Math.min(n - 1, this.#highest);
    const lowestPage = Math.floor(this.#lowest / PAGE);
    for (let at = Math.floor(from / PAGE); at >= lowestPage; at--) {
      const page = this.#pages.get(at);
      if (page === undefined) continue;
      const found = highestBit(page.bits, Math.min(PAGE - 1, from - at * PAGE));
      if (found !== undefined) return at * PAGE + found;
    }
    return undefined;
  }

  /** How many there are from `from` up to, and without, `to`. */
  countBetween(from: number, to: number): number {
    let count = 0;
    for (const [at, page] of this.#pages) {
      const first = at * PAGE;
      if (first >= to || first + PAGE <= from) continue;
      if (first >= from && first + PAGE <= to) count += page.count;
      else {
        for (let n = Math.max(first, from); n < Math.min(to, first + PAGE); n++) if (this.has(n)) count++;
      }
    }
    return count;
  }
}

/** The highest bit that is set, of those up to and with `from`. */
function highestBit(bits: Uint32Array, from: number): number | undefined {
  let word = (bits[from >> 5] as number) & (0xffffffff >>> (31 - (from & 31)));
  for (let at = from >> 5; ; word = bits[--at] as number) {
    if (word !== 0) return at * 32 + 31 - Math.clz32(word);
    if (at === 0) return undefined;
  }
}
