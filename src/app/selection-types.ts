import type { Key } from "../pipeline/definition.ts";

/**
 * Which records a replay tells of: those that satisfy all that is given; everything if nothing is. What is told of is not
 * all that is run: a window, join or total needs all that went into it, so that partitions with state are run from where
 * their state is known, and what is not asked for is left out of the report. At most one of `key`, `record` and
 * `quarantined` may be given.
 */
export interface ReplaySelection {
  /** Only what descends from this source; with `key`, what has it from this source. */
  readonly source?: string;
  /**
   * Records with this key, and all that comes of them: those that their source gave the key, and those that a keyed
   * stage took by it.
   */
  readonly key?: Key;
  /**
   * An address, `[PIPELINE/]SOURCE:ID`, `[PIPELINE/]SINK#N` or `[PIPELINE/]SINK@KEY`: that record, all that it was made of, back to its sources,
   * and all that comes of it, down to the outputs (with later totals and windows that it went into).
   */
  readonly record?: string;
  /** Records that stages refused, and what comes of them where they are refused no more (or were put back). */
  readonly quarantined?: boolean;
  /** With `key` or `quarantined`: at this stage alone. */
  readonly stage?: string;
}
