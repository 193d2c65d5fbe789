/** What is to be brought into order, and how. */
export interface SortedPasses<T> {
  /** Goes through all items, in whatever order: the same ones each time. */
  pass(): AsyncIterable<T>;
  /** No two items are alike. */
  order(a: T, b: T): number;
  /** An item as it can be held while the pass goes on. */
  hold(item: T): T;
  /** Bytes of an item that is held. */
  bytesOf(item: T): number;
  /** Items that are held at a time have at most so many bytes, and those of one more. */
  readonly bytesMost: number;
}

/**
 * The items of a sequence in order, in bounded memory, whatever order they come in: each pass holds the lowest of those
 * that have not been given yet, as many as fill at least half of the room. Where all have room that is one pass.
 */
export async function* sortedInPasses<T>(sorting: SortedPasses<T>): AsyncGenerator<T> {
  const { order } = sorting;
  let given: T | undefined;
  for (;;) {
    const { lowest, more } = await lowestOf(sorting, given);
    lowest.sort(order);
    yield* lowest;
    given = lowest.at(-1);
    if (!more || given === undefined) return;
  }
}

/** The lowest items above `given`, in any order, and whether there are others. */
async function lowestOf<T>(
  { pass, order, hold, bytesOf, bytesMost }: SortedPasses<T>,
  given: T | undefined,
): Promise<{ readonly lowest: T[]; readonly more: boolean }> {
  let lowest: T[] = [];
  let bytes = 0;
  /** Nothing from this one on has room. */
  let bound: T | undefined;
  const cut = () => {
    lowest.sort(order);
    let count = 0;
    bytes = 0;
    while (count < lowest.length && bytes <= bytesMost / 2) bytes += bytesOf(lowest[count++] as T);
    if (count === lowest.length) return;
    bound = lowest[count];
    lowest = lowest.slice(0, count);
  };
  for await (const item of pass()) {
    if (given !== undefined && order(item, given) <= 0) continue;
    if (bound !== undefined && order(item, bound) >= 0) continue;
    const held = hold(item);
    lowest.push(held);
    bytes += bytesOf(held);
    // To the half, so that each item is sorted but a few times.
    if (bytes > bytesMost) cut();
  }
  return { lowest, more: bound !== undefined };
}
