import type { Key } from "../pipeline/definition.ts";
import type { HistoryPoint } from "./history-point.ts";
import type { ViewOptions } from "./lineage-types.ts";

/** What records are looked for: those that satisfy everything that is given, of which there has to be something. */
export interface SearchRequest extends ViewOptions {
  /** `lmdb:<dir>` or `esdb://…`. Another process may be at work on it. */
  readonly log: string;
  /** The name of a pipeline that is deployed in the log. */
  readonly pipeline: string;
  /** The sender's own id, as text. */
  readonly id?: string;
  /** Their key at their source; the source's function tells it, which is run from the log. */
  readonly key?: Key;
  /** SHA-256 of their canonical bytes, in hex: of what was accepted, or of what a stage made. */
  readonly digest?: string;
  /** Event times or times of acceptance (or ordinals) of what was accepted; `from` inclusive, `to` exclusive. */
  readonly from?: HistoryPoint;
  readonly to?: HistoryPoint;
  /** The node that took the step. */
  readonly node?: string;
  /** The deployment that did: its identity in hex, or the beginning of it, or its version. */
  readonly deployment?: string | number;
  /** Only what this source accepted, or this stage made. */
  readonly at?: string;
  /** Called for a stream of which not all is there that was to be looked through: what was before the revision is not. */
  readonly onGone?: (stream: string, before: number) => void;
  /** Called for a record of which it cannot be told whether it has the key, as it is not kept. */
  readonly onKeyUnknown?: (address: string) => void;
  readonly signal?: AbortSignal;
}

/** A record that was found. */
export interface FoundRecord {
  readonly address: string;
  /** `source`, or the kind of the stage that made it. */
  readonly kind: string;
  readonly stage: string;
  readonly node: string;
  readonly version: number;
  /** When the step was recorded, and the record's event time: milliseconds since 1970. */
  readonly time: number;
  readonly eventTime: number | null;
  readonly digest: string | null;
  readonly id: string | null;
}
