import { decodeCanonical } from "../core/canonical.ts";
import { HeadwaterError } from "../core/errors.ts";
import type { WatermarkColumns } from "../core/watermark.ts";
import type { Key } from "../pipeline/definition.ts";
import { type PackedValues, packValues } from "./packed-values.ts";

/** A reduce's state as it is kept. */
export interface ReduceSnapshot {
  readonly stage: string;
  readonly kind: "reduce";
  readonly keys: readonly Key[];
  readonly totals: PackedValues;
  readonly last: Uint8Array;
}

/** Flags of a kept window: it has fired at its end; something was added since it last fired. */
export const FIRED = 1;
export const CHANGED = 2;
export const EARLY = 4;

/** A window stage's open windows as they are kept: key by key, the windows of each by their start. */
export interface WindowSnapshot {
  readonly stage: string;
  readonly kind: "window";
  readonly keys: readonly Key[];
  /** Runs: how many windows each key has. */
  readonly windows: Uint8Array;
  /** Deltas; 0 for global windows. */
  readonly starts: Uint8Array;
  readonly ends: Uint8Array;
  /** Runs: the sum of a window's flags, {@link FIRED} and {@link CHANGED}. */
  readonly flags: Uint8Array;
  /** Plain: records added since it began (or, of a global window, began anew). */
  readonly added: Uint8Array;
  readonly totals: PackedValues;
  /** For each window its members, as in `members` of a step event. */
  readonly members: Uint8Array;
}

/** One side of a join's buffered records, key by key, each key's in the order of their times. */
export interface JoinSide {
  /** Runs: how many records each key has. */
  readonly counts: Uint8Array;
  /** Deltas. */
  readonly times: Uint8Array;
  /** Deltas: their N's. */
  readonly ns: Uint8Array;
  /** Runs: 1 it has found a counterpart (or has been given out without). */
  readonly flags: Uint8Array;
  /** Texts: what orders them among all records. */
  readonly places: Uint8Array;
  readonly records: PackedValues;
}

/** A join's state as it is kept. */
export interface JoinSnapshot {
  readonly stage: string;
  readonly kind: "join" | "tableJoin";
  /** For the left and the right side which types of keys it has had: 1 text, 2 number, 4 BigInt, 8 boolean, 16 null. */
  readonly types: readonly [number, number];
  readonly keys: readonly Key[];
  readonly left: JoinSide;
  readonly right: JoinSide;
}

export type StageSnapshot = ReduceSnapshot | WindowSnapshot | JoinSnapshot;

/** A partition's state as it is kept: see "state_" in docs/format.md. */
export interface StateSnapshot {
  readonly v: 2;
  /** The N before which it was taken. */
  readonly next: number;
  readonly cursors: Readonly<Record<string, number>>;
  readonly through: number;
  readonly watermark?: WatermarkColumns;
  readonly stages: readonly StageSnapshot[];
}

const VERSION = 2;

/** Throws `LogTooNew` for a snapshot of a later version. Those of earlier ones come out as the newest has them. */
export function decodeSnapshot(bytes: Uint8Array, where: string): StateSnapshot {
  const snapshot = decodeCanonical(bytes, Number.MAX_SAFE_INTEGER) as unknown as { readonly v: number };
  if (snapshot.v === 1) return fromVersion1(snapshot as unknown as SnapshotV1);
  if (snapshot.v === VERSION) return snapshot as StateSnapshot;
  throw new HeadwaterError("LogTooNew", `a snapshot has version ${String(snapshot.v)}, known is ${VERSION}`, {
    where,
    hint: "Use a newer version of Headwater.",
  });
}

/** Version 1 knew reduces alone, and kept each total as bytes of its own. */
interface SnapshotV1 {
  readonly next: number;
  readonly cursors: Readonly<Record<string, number>>;
  readonly through: number;
  readonly stages: readonly {
    readonly stage: string;
    readonly keys: readonly Key[];
    readonly totals: readonly Uint8Array[];
    readonly last: Uint8Array;
  }[];
}

function fromVersion1({ next, cursors, through, stages }: SnapshotV1): StateSnapshot {
  return {
    v: VERSION,
    next,
    cursors,
    through,
    stages: stages.map(({ stage, keys, totals, last }) => ({
      stage,
      kind: "reduce",
      keys,
      totals: packValues(totals.map((total) => decodeCanonical(total))),
      last,
    })),
  };
}
