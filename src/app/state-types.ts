import type { Key } from "../pipeline/definition.ts";
import type { JoinStateEntry, ReduceStateEntry, WindowStateEntry } from "../runtime/partition-state.ts";
import type { HistoryPoint } from "./history-point.ts";

export type {
  JoinStateEntry,
  KeptRecord,
  OpenWindow,
  ReduceStateEntry,
  WindowStateEntry,
} from "../runtime/partition-state.ts";
export type { HistoryPoint } from "./history-point.ts";

/** Whose state is asked for, and as of when. */
export interface StateRequest {
  /** `lmdb:<dir>` or `esdb://…`. Another process may be at work on it. */
  readonly log: string;
  /** The name of a pipeline that is deployed in the log, or its module's path. The code that counts is the log's. */
  readonly pipeline: string;
  /** A reduce, window or join. */
  readonly stage: string;
  /** Of all keys if absent. */
  readonly key?: Key;
  /** The end of the log if absent. */
  readonly at?: HistoryPoint;
  /** Aborting it rejects with `Stopped`. */
  readonly signal?: AbortSignal;
}

interface StateOf<K extends string, E> {
  readonly pipeline: string;
  readonly stage: string;
  readonly kind: K;
  /** The deployment that records at this point are for: its identity in hex, and which version of the pipeline it is. */
  readonly deployment: string;
  readonly version: number;
  /** The state is that after all records and firings up to this ordinal; −1: before all. */
  readonly ordinal: number;
  /** The ordinal that was asked for: of the end, the highest that the stage's sources have given or promised. */
  readonly asked: number;
  /** Whether it is the state as of `asked`. If not, the log has not come further than `ordinal` yet. */
  readonly complete: boolean;
  /** How many entries there are. */
  readonly keys: number;
  /**
   * Keys and what is kept of them, in the order of the keys' canonical bytes. Made anew, and values decoded, at each
   * iteration: a large state stays packed. Empty if there is nothing of the key that was asked for.
   */
  readonly entries: Iterable<E>;
}

/** A stage's state as of a point in the pipeline's history. */
export type StageState =
  | StateOf<"reduce", ReduceStateEntry>
  | StateOf<"window", WindowStateEntry>
  | StateOf<"join" | "tableJoin", JoinStateEntry>;
