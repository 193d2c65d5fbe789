import type { Watermark } from "../core/watermark.ts";
import type { StageContext } from "../pipeline/context.ts";
import type { Key } from "../pipeline/definition.ts";
import type { StageSnapshot } from "./state-snapshot.ts";
import type { TimedOutput } from "./timed-output.ts";

/** Decodes canonical bytes. */
export type DecodeBytes = (bytes: Uint8Array, start: number, end: number) => unknown;

/** A record that comes to a window or join. */
export interface TimedInput {
  readonly record: unknown;
  /** A view of its canonical bytes. */
  readonly bytes: Uint8Array;
  readonly key: Key;
  /** Milliseconds since 1970. */
  readonly time: number | undefined;
  /** Its N in the partition. */
  readonly n: number;
  /** Which of the stage's inputs it comes from. */
  readonly side: number;
  /** What orders it among all records: path elements of ordinal, source and path. */
  readonly place: string;
  readonly ctx: StageContext;
}

/** Where a firing stands: it becomes an input of its own. */
export interface Firing {
  /** Orders it among the firings of the stage at one ordinal, and tells it from all of them. */
  readonly path: string;
  readonly key: Key;
  /** Event time of its results. */
  readonly time: number | undefined;
}

/**
 * A stage that event time goes by: it gets each record and each rise of the watermark, one after the other in
 * logical order, and gives results at either. What it keeps follows from these alone.
 */
export interface TimedOperator {
  /** Entries of its state. */
  readonly size: number;
  /** Takes a record in; what comes of it goes to `output`, whatever happens. */
  take(input: TimedInput, output: TimedOutput): void;
  /** The watermark has come to `watermark`: {@link fire} gives what is due, until it gives nothing any more. */
  advance(watermark: Watermark): void;
  /** The next firing that is due. What comes of it goes to `output`. */
  fire(output: TimedOutput): Firing | undefined;
  snapshot(stage: string): StageSnapshot;
  /** Takes over a state; `watermark` is where event time stood then. */
  restore(snapshot: StageSnapshot, watermark: Watermark | undefined): void;
}
