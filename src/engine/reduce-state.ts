import { encodeCanonical } from "../core/canonical.ts";
import { decodePlain, encodePlain } from "../core/columns.ts";
import type { Key } from "../pipeline/definition.ts";
import { freezeValues, packValues, thaw } from "./packed-values.ts";
import type { ReduceSnapshot, StageSnapshot } from "./state-snapshot.ts";

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
    const entry = this.#entries.get(key);
    if (entry !== undefined) entry.total = thaw(entry.total);
    return entry;
  }

  set(key: Key, entry: ReduceEntry): void {
    this.#entries.set(key, entry);
  }

  /** As a part of a snapshot. Throws `NotCanonical` for a total that no record may hold. */
  snapshot(stage: string): ReduceSnapshot {
    const sorted = sortedByKey(this.#entries);
    return {
      stage,
      kind: "reduce",
      keys: sorted.map(([key]) => key),
      totals: packValues(sorted.map(([, entry]) => entry.total)),
      last: encodePlain(sorted.map(([, entry]) => entry.last)),
    };
  }

  restore(snapshot: StageSnapshot): void {
    if (snapshot.kind !== "reduce") return;
    const last = decodePlain(snapshot.last, snapshot.keys.length);
    const totals = freezeValues(snapshot.totals, snapshot.keys.length);
    for (const [index, key] of snapshot.keys.entries()) {
      this.#entries.set(key, { total: totals[index], last: last[index] as number });
    }
  }
}

/** The entries of a map in the order of their keys' canonical bytes. */
export function sortedByKey<T>(entries: ReadonlyMap<Key, T>): [Key, T][] {
  const keyed = Array.from(entries, (entry) => ({ bytes: Buffer.from(encodeCanonical(entry[0])), entry }));
  return keyed.sort((a, b) => a.bytes.compare(b.bytes)).map(({ entry }) => entry);
}
