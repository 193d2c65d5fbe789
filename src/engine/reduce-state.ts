import { decodeCanonical, encodeCanonical } from "../core/canonical.ts";
import { decodePlain, encodePlain } from "../core/columns.ts";
import { HeadwaterError } from "../core/errors.ts";
import type { Key } from "../pipeline/definition.ts";

/** What a reduce keeps for a key. */
export interface ReduceEntry {
  total: unknown;
  /** N of the key's last step in this partition. */
  last: number;
}

/** A reduce's state in one partition. */
export class ReduceState {
  readonly #entries = new Map<Key, ReduceEntry>();

  get size(): number {
    return this.#entries.size;
  }

  get(key: Key): ReduceEntry | undefined {
    return this.#entries.get(key);
  }

  set(key: Key, entry: ReduceEntry): void {
    this.#entries.set(key, entry);
  }

  /** As a part of a snapshot. Throws `NotCanonical` for a total that no record may hold. */
  snapshot(stage: string): StageSnapshot {
    const sorted = [...this.#entries].map(([key, entry]) => ({
      bytes: Buffer.from(encodeCanonical(key)),
      key,
      entry,
    }));
    sorted.sort((a, b) => a.bytes.compare(b.bytes));
    return {
      stage,
      keys: sorted.map((item) => item.key),
      totals: sorted.map((item) => encodeCanonical(item.entry.total)),
      last: encodePlain(sorted.map((item) => item.entry.last)),
    };
  }

  restore(snapshot: StageSnapshot): void {
    const last = decodePlain(snapshot.last, snapshot.keys.length);
    for (const [index, key] of snapshot.keys.entries()) {
      const total = decodeCanonical(snapshot.totals[index] as Uint8Array);
      this.#entries.set(key, { total, last: last[index] as number });
    }
  }
}

/** A reduce's state as it is kept. */
export interface StageSnapshot {
  readonly stage: string;
  readonly keys: readonly Key[];
  /** Canonical bytes of each. */
  readonly totals: readonly Uint8Array[];
  readonly last: Uint8Array;
}

/** A partition's state as it is kept: see "state_" in docs/format.md. */
export interface StateSnapshot {
  readonly v: 1;
  /** The N before which it was taken. */
  readonly next: number;
  readonly cursors: Readonly<Record<string, number>>;
  readonly through: number;
  readonly stages: readonly StageSnapshot[];
}

export function decodeSnapshot(bytes: Uint8Array, where: string): StateSnapshot {
  const snapshot = decodeCanonical(bytes, Number.MAX_SAFE_INTEGER) as unknown as StateSnapshot;
  if (snapshot.v !== 1) {
    throw new HeadwaterError("LogTooNew", `a snapshot has version ${String(snapshot.v)}, known is 1`, {
      where,
      hint: "Use a newer version of Headwater.",
    });
  }
  return snapshot;
}
