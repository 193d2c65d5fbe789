/**
 * `map` of each item of `source`, in order. Goes on with the next items, `most` at a time, while the result of one is
 * awaited or used: what takes a round trip each takes them side by side. Throws what `source` and `map` throw.
 */
export async function* mapAhead<T, R>(
  source: AsyncIterable<T>,
  most: number,
  map: (item: T) => Promise<R> | R,
): AsyncGenerator<R, void, undefined> {
  const results: Promise<R>[] = [];
  let ended = false;
  let failure: { readonly error: unknown } | undefined;
  let wake: (() => void) | undefined;
  let makeRoom: (() => void) | undefined;
  const iterator = source[Symbol.asyncIterator]();
  const pull = async () => {
    for (;;) {
      const next = await iterator.next();
      if (next.done || ended) return;
      const result = Promise.resolve(map(next.value));
      // Who iterates hears of it in its turn.
      result.catch(() => {});
      results.push(result);
      wake?.();
      if (results.length >= most) {
        await new Promise<void>((resolve) => {
          makeRoom = resolve;
        });
      }
      if (ended) return;
    }
  };
  pull()
    .catch((error: unknown) => {
      failure = { error };
    })
    .finally(() => {
      ended = true;
      wake?.();
    });
  try {
    for (;;) {
      const [result] = results;
      if (result !== undefined) {
        const value = await result;
        results.shift();
        makeRoom?.();
        yield value;
      } else if (failure !== undefined) throw failure.error;
      else if (ended) return;
      else {
        await new Promise<void>((resolve) => {
          wake = resolve;
        });
      }
    }
  } finally {
    ended = true;
    makeRoom?.();
    // An iterator that is in the middle of something ends when whoever made it says so.
    iterator.return?.().catch(() => {});
  }
}
