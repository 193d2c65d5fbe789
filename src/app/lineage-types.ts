import type { LineageVertex } from "../runtime/lineage-vertices.ts";

export type { LineageVertex } from "../runtime/lineage-vertices.ts";

/** Whose way is asked for. */
export interface LineageRequest extends ViewOptions {
  /** `lmdb:<dir>` or `esdb://…`. Another process may be at work on it. */
  readonly log: string;
  /** An address, `[PIPELINE/]SOURCE:ID`, `[PIPELINE/]SINK#N` or `[PIPELINE/]SINK@KEY`. */
  readonly record: string;
  /** What it went into, instead of where it came from. */
  readonly forward?: boolean;
  /** Steps to go at most; all of them if absent. */
  readonly depth?: number;
  /** Records and deliveries to show at most; 1,000 if absent. */
  readonly limit?: number;
  /** Whether what is not stored may be made again by code from the log, which is then run; yes if absent. */
  readonly recompute?: boolean;
  /** Aborting it rejects with `Stopped`. */
  readonly signal?: AbortSignal;
}

/** The index of a log that ways forward and searches need: a view, which follows the log. */
export interface ViewOptions {
  /** The folder that it is kept in; beside the log if absent. */
  readonly views?: string;
  /** Whether it is dropped and built anew. */
  readonly rebuild?: boolean;
  /** Whether to wait until it has come to the end of the log; yes if absent. If not, `ViewBehind` says how far it is. */
  readonly wait?: boolean;
  /** Called while it follows the log: which share of it, from 0 to 1, it has come through. */
  readonly onProgress?: (progress: number) => void;
  /** Called where the index had seen events that the log does not have, and is built anew for it. */
  readonly onPutBack?: () => void;
}

/** Where a record came from, or what it went into. */
export interface Lineage {
  /** Its address: that of the first vertex. */
  readonly record: string;
  readonly value: LineageVertex["value"];
  /** Whether the value is not stored but was made again, by the deployed code, and has its digest. */
  readonly recomputed: boolean;
  /**
   * Whether all that was come by is kept, or can be made again: events and values. If not, vertices of kind `gone`, and
   * the reasons of others, say what is not. What was not asked for, as values that are made again, does not count.
   */
  readonly complete: boolean;
  /** Whether there is more beyond the depth or the number of records asked for. */
  readonly cut: boolean;
  /** Nearest first, each once. */
  readonly vertices: readonly LineageVertex[];
  /** `from` went into `to`. */
  readonly edges: readonly { readonly from: string; readonly to: string }[];
}
