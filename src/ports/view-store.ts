import { equalBytes } from "../core/digest.ts";
import { HeadwaterError } from "../core/errors.ts";

/** What is written: a key and its value; `undefined`: it is to have none any more. */
export interface ViewEntry {
  readonly key: Uint8Array;
  readonly value: Uint8Array | undefined;
}

/** What is found. */
export interface ViewFound {
  readonly key: Uint8Array;
  readonly value: Uint8Array;
}

/**
 * Where a view of a log is kept: bytes by keys, ordered as bytes. A view can be dropped at any time and built from the
 * log again, so that nothing is lost with it. What a commit has written survives the process. Throws `ViewDamaged` where
 * what is stored cannot be read.
 */
export interface ViewStore {
  get(key: Uint8Array): Uint8Array | undefined;
  /** All keys that begin with `prefix`, in their order, and their values. */
  range(prefix: Uint8Array): Iterable<ViewFound>;
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
  /** Closes it, and removes it with all that it is made of, whatever that is: another one can be opened in its place. */
  discard(): Promise<void>;
  close(): Promise<void>;
}

/** Whether two values are the same, of which either may be none. */
export function isSameValue(a: Uint8Array | undefined, b: Uint8Array | undefined): boolean {
  return a === undefined || b === undefined ? a === b : equalBytes(a, b);
}

/** What is stored is not what was written. */
export function viewDamaged(where: string, cause?: unknown): HeadwaterError {
  return new HeadwaterError("ViewDamaged", "the index of the log was damaged", {
    where,
    hint: "It is no part of the log, which is as it was: delete it, or have it made anew with --rebuild.",
    cause,
  });
}
