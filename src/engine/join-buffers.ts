import {
  decodeByteTexts,
  decodeDeltas,
  decodeRuns,
  encodeByteTexts,
  encodeDeltas,
  encodeRuns,
} from "../core/columns.ts";
import type { Key } from "../pipeline/definition.ts";
import type { FiringSubject } from "./failures.ts";
import { encodeMembers } from "./members.ts";
import { freezeValues, packBytes } from "./packed-values.ts";
import { sortedByKey } from "./reduce-state.ts";
import type { JoinSide, JoinSnapshot } from "./state-snapshot.ts";
import { type Buffered, TimeOrdered } from "./time-ordered.ts";

/** What a join keeps of a key. */
export interface JoinBuffers {
  readonly left: TimeOrdered;
  readonly right: TimeOrdered;
  /** For when it stands in the join's timers; ∞: it does not. */
  scheduled: number;
}

/** What the firing of a join is about: a left record that comes out now. */
export function subjectOf(key: Key, { time, n, bytes }: Buffered): () => FiringSubject {
  return () => ({ key, time, left: bytes, members: encodeMembers([n, 1]) });
}

const KEY_TYPES = ["string", "number", "bigint", "boolean", "object"];

/** The buffered records of a join's two sides by key. */
export class JoinState {
  readonly keys = new Map<Key, JoinBuffers>();
  /** For each side which types of keys it has had: bits, in the order of `KEY_TYPES`. */
  readonly #types: [number, number] = [0, 0];
  /** Buffered records. */
  size = 0;

  of(key: Key): JoinBuffers {
    let buffers = this.keys.get(key);
    if (buffers === undefined) {
      buffers = { left: new TimeOrdered(), right: new TimeOrdered(), scheduled: Number.POSITIVE_INFINITY };
      this.keys.set(key, buffers);
    }
    return buffers;
  }

  /** Notes the type of a key that a side has had. */
  noteKey(key: Key, side: number): void {
    this.#types[side] = (this.#types[side] as number) | (1 << KEY_TYPES.indexOf(typeof key));
  }

  snapshot(stage: string, kind: JoinSnapshot["kind"]): JoinSnapshot {
    const keys = sortedByKey(this.keys);
    return {
      stage,
      kind,
      types: this.#types,
      keys: keys.map(([key]) => key),
      left: sideSnapshot(keys.map(([, { left }]) => left)),
      right: sideSnapshot(keys.map(([, { right }]) => right)),
    };
  }

  restore(snapshot: JoinSnapshot): void {
    [this.#types[0], this.#types[1]] = snapshot.types;
    const left = restoreSide(snapshot.left, snapshot.keys.length);
    const right = restoreSide(snapshot.right, snapshot.keys.length);
    for (const [index, key] of snapshot.keys.entries()) {
      const buffers = { left: left[index], right: right[index], scheduled: Number.POSITIVE_INFINITY };
      this.size += (left[index]?.size ?? 0) + (right[index]?.size ?? 0);
      this.keys.set(key, buffers as JoinBuffers);
    }
  }
}

function sideSnapshot(buffers: readonly TimeOrdered[]): JoinSide {
  const items = buffers.flatMap((buffer) => [...buffer]);
  return {
    counts: encodeRuns(buffers.map((buffer) => buffer.size)),
    times: encodeDeltas(items.map((item) => item.time)),
    ns: encodeDeltas(items.map((item) => item.n)),
    flags: encodeRuns(items.map((item) => (item.matched ? 1 : 0))),
    places: encodeByteTexts(items.map((item) => item.place)),
    records: packBytes(items.map((item) => item.bytes)),
  };
}

function restoreSide(side: JoinSide, keys: number): TimeOrdered[] {
  const counts = decodeRuns(side.counts, keys);
  const times = decodeDeltas(side.times);
  const ns = decodeDeltas(side.ns, times.length);
  const flags = decodeRuns(side.flags, times.length);
  const places = decodeByteTexts(side.places, times.length);
  const records = freezeValues(side.records, times.length);
  let at = 0;
  return counts.map((count) => {
    const buffer = new TimeOrdered();
    for (const end = at + count; at < end; at++) {
      buffer.insert({
        time: times[at] as number,
        n: ns[at] as number,
        place: places[at] as string,
        matched: flags[at] === 1,
        bytes: (records[at] as { readonly bytes: Uint8Array }).bytes,
      } satisfies Buffered);
    }
    return buffer;
  });
}
