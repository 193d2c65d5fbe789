/**
 * Which of a partition's last inputs were named, each by one that came after it: whether one is named a second time. Of
 * older ones it is not known.
 */
export class NamedOnce {
  readonly #most: number;
  readonly #named: Uint8Array;
  /** The highest input that has come. */
  #top = -1;

  /** `most`: how many inputs are remembered, a multiple of 8. */
  constructor(most: number) {
    this.#most = most;
    this.#named = new Uint8Array(most / 8);
  }

  /** The input N = `by` names `n`, which is before it. Answers whether none is known to have named it before. */
  name(n: number, by: number): boolean {
    for (let at = Math.max(this.#top + 1, by - this.#most + 1); at <= by; at++) this.#set(at, false);
    this.#top = Math.max(this.#top, by);
    if (n < 0 || n <= this.#top - this.#most || n >= by) return true;
    const at = n % this.#most;
    const known = ((this.#named[at >> 3] as number) & (1 << (at & 7))) !== 0;
    this.#set(n, true);
    return !known;
  }

  #set(n: number, named: boolean): void {
    const at = n % this.#most;
    const byte = this.#named[at >> 3] as number;
    this.#named[at >> 3] = named ? byte | (1 << (at & 7)) : byte & ~(1 << (at & 7));
  }
}
