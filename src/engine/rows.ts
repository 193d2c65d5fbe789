import type { Path } from "../core/path.ts";
import type { Key } from "../pipeline/definition.ts";

/**
 * The inputs of a segment's partition, in logical order, as columns: entry i of every column is about input i.
 * A column that is `undefined` would hold the same for every row, as said with it.
 */
export interface InputRows {
  readonly count: number;
  /** Decoded; owned by whoever processes the rows. */
  readonly records: readonly unknown[];
  /** The canonical bytes of record i are bytes `starts[i]` to `ends[i]` of `buffers[i]`. */
  readonly buffers: readonly Uint8Array[];
  readonly starts: readonly number[];
  readonly ends: readonly number[];
  readonly ordinals: readonly number[];
  /** Indexes into the plan's origins; `undefined`: all are 0. */
  readonly sources: readonly number[] | undefined;
  /** N of the root at its source. */
  readonly roots: readonly number[];
  /** `undefined`: all are empty. */
  readonly paths: readonly Path[] | undefined;
  /** Event times in milliseconds since 1970; `undefined`: none has one. */
  readonly times: readonly (number | undefined)[] | undefined;
  /** Index of the upstream stream; `undefined`: all are 0. */
  readonly upstreams: readonly number[] | undefined;
  /** N in the upstream stream. */
  readonly parents: readonly number[];
  /** K in the upstream stream; `undefined`: all are 0. */
  readonly parentKs: readonly number[] | undefined;
  /** Keys, where they came with the records; `undefined`, of one or all: they did not. */
  readonly keys: readonly (Key | undefined)[] | undefined;
  /**
   * Rows that are no records but firings of the window or join that the segment begins with, ascending. They have
   * no bytes; their origin is the stage, their root the ordinal.
   */
  readonly firings: readonly number[];
  /** Rows that have a digest in the place of a record that was let go of, or nothing where none was made. */
  readonly digested?: ReadonlySet<number>;
  /** Where the rows were put back from quarantine: what each was before. `undefined`: they were not. */
  readonly before?: readonly RowBefore[];
}

/** What a record that was put back was when it failed: what is derived from that goes on to be the same. */
export interface RowBefore {
  /** Address of its root. */
  readonly root: string;
  /** Its path at the stage where it failed. */
  readonly path: Path;
}

export const NO_BYTES = new Uint8Array(0);

/** Columns of {@link InputRows} under construction. */
export class RowsBuilder implements InputRows {
  readonly records: unknown[] = [];
  readonly buffers: Uint8Array[] = [];
  readonly starts: number[] = [];
  readonly ends: number[] = [];
  readonly ordinals: number[] = [];
  readonly sources: number[] = [];
  readonly roots: number[] = [];
  readonly paths: Path[] = [];
  readonly times: (number | undefined)[] = [];
  readonly upstreams: number[] = [];
  readonly parents: number[] = [];
  readonly parentKs: number[] = [];
  readonly keys: (Key | undefined)[] = [];
  readonly firings: number[] = [];
  digested?: Set<number>;
  before?: RowBefore[];

  get count(): number {
    return this.ordinals.length;
  }
}

/** Canonical bytes of record `row`: a view, never to be written to. */
export function recordBytes(rows: InputRows, row: number): Uint8Array {
  return (rows.buffers[row] as Uint8Array).subarray(rows.starts[row], rows.ends[row]);
}
