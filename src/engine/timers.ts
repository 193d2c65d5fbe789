/**
 * What is to happen when event time has come so far. Items of one time are kept together, so that the many windows
 * that end at the same time cost one entry of the heap.
 */
export class Timers<T> {
  readonly #items = new Map<number, T[]>();
  /** A binary heap of the times that there are items for, the least first. */
  readonly #heap: number[] = [];

  add(time: number, item: T): void {
    const items = this.#items.get(time);
    if (items !== undefined) {
      items.push(item);
      return;
    }
    this.#items.set(time, [item]);
    this.#push(time);
  }

  /** The earliest time that there is something for. */
  get earliest(): number | undefined {
    return this.#heap[0];
  }

  /** Takes out all items of the earliest time, in the order in which they were added. */
  take(): T[] {
    const time = this.#heap[0];
    if (time === undefined) return [];
    const items = this.#items.get(time) ?? [];
    this.#items.delete(time);
    this.#pop();
    return items;
  }

  #push(time: number): void {
    const heap = this.#heap;
    let at = heap.push(time) - 1;
    while (at > 0) {
      const parent = (at - 1) >> 1;
      if ((heap[parent] as number) <= time) break;
      heap[at] = heap[parent] as number;
      at = parent;
    }
    heap[at] = time;
  }

  #pop(): void {
    const heap = this.#heap;
    const time = heap.pop() as number;
    if (heap.length === 0) return;
    let at = 0;
    for (;;) {
      let child = 2 * at + 1;
      if (child >= heap.length) break;
      if (child + 1 < heap.length && (heap[child + 1] as number) < (heap[child] as number)) child++;
      if ((heap[child] as number) >= time) break;
      heap[at] = heap[child] as number;
      at = child;
    }
    heap[at] = time;
  }
}
