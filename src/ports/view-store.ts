/** A key and its value; `undefined`: it is to have none any more. */
export interface ViewEntry {
  readonly key: Uint8Array;
  readonly value: Uint8Array | undefined;
}

/**
 * Where a view of a log is kept: bytes by keys, ordered as bytes. A view can be dropped at any time and built from the
 * log again, so that nothing is lost with it. What a commit has written survives the process.
 */
export interface ViewStore {
  get(key: Uint8Array): Uint8Array | undefined;
  /** The values of all keys that begin with `prefix`, in the order of the keys. */
  range(prefix: Uint8Array): Iterable<Uint8Array>;
  /**
   * Writes all or nothing, and only if the value of `guard.key` is still `guard.value` (`undefined`: it has none).
   * Answers whether it did. Of several processes with a view, one goes on.
   */
  commit(
    guard: { readonly key: Uint8Array; readonly value: Uint8Array | undefined },
    entries: readonly ViewEntry[],
  ): Promise<boolean>;
  /** Removes everything. */
  clear(): Promise<void>;
  close(): Promise<void>;
}
