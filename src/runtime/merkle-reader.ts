import { HeadwaterError } from "../core/errors.ts";
import { decodeEvent, decodeEventAs } from "../core/event-codec.ts";
import type { LeavesSequenced } from "../core/events.ts";
import { decodeLeaves, hashLeaf, KEPT_LEVEL, keptNode, type Leaf } from "../core/leaves.ts";
import {
  consistencyPlan,
  inclusionPlan,
  joinNodes,
  type LeafRange,
  MerkleEdge,
  type MerkleNode,
  nodesOf,
} from "../core/merkle.ts";
import { AUDIT_STREAM } from "../core/streams.ts";
import type { EventLog } from "../ports/event-log.ts";
import { readOne, seekRecord } from "./seek.ts";

/** Reads the Merkle tree in `audit_log`: any node by O(log n) reads, and so roots and proofs. */
export class MerkleReader {
  readonly #log: EventLog;
  /** The event that was read last: the next node is often in it. */
  #held: LeavesSequenced | undefined;

  constructor(log: EventLog) {
    this.#log = log;
  }

  /** How many leaves the tree has. */
  async size(): Promise<number> {
    for await (const event of this.#log.read(AUDIT_STREAM, { direction: "backwards", limit: 1 })) {
      const { type, data } = decodeEvent(event);
      if (type === "LeavesSequenced" || type === "CheckpointSigned") return data.first + data.count;
    }
    return 0;
  }

  /** What leaf `index` says. Throws `StreamNotFound` or `LogDamaged` when the tree is not as large. */
  async leaf(index: number): Promise<Leaf> {
    const event = await this.#eventOf(index);
    return decodeLeaves(event)[index - event.first] as Leaf;
  }

  /** The root of the tree of the first `size` leaves. */
  async root(size: number): Promise<Uint8Array> {
    return this.#range({ start: 0, end: size });
  }

  /** What shows that leaf `index` is in the tree of `size` leaves. Throws `RangeError` when it is not. */
  inclusion(index: number, size: number): Promise<Uint8Array[]> {
    return this.#ranges(inclusionPlan(index, size));
  }

  /** What shows that the tree of `second` leaves begins with that of `first`. Throws `RangeError` unless 0 < `first` ≤ `second`. */
  consistency(first: number, second: number): Promise<Uint8Array[]> {
    return this.#ranges(consistencyPlan(first, second));
  }

  async #ranges(ranges: readonly LeafRange[]): Promise<Uint8Array[]> {
    const hashes: Uint8Array[] = [];
    for (const range of ranges) hashes.push(await this.#range(range));
    return hashes;
  }

  async #range(range: LeafRange): Promise<Uint8Array> {
    const hashes: Uint8Array[] = [];
    for (const node of nodesOf(range)) hashes.push(await this.#node(node));
    return joinNodes(hashes);
  }

  async #node(node: MerkleNode): Promise<Uint8Array> {
    const start = node.index * 2 ** node.level;
    const end = start + 2 ** node.level;
    if (node.level >= KEPT_LEVEL) return keptNode(await this.#eventOf(end - 1), node);
    const edge = new MerkleEdge();
    for (let index = start; index < end; ) {
      const event = await this.#eventOf(index);
      const leaves = decodeLeaves(event).slice(index - event.first, end - event.first);
      for (const leaf of leaves) edge.append(hashLeaf(leaf));
      index += leaves.length;
    }
    return edge.root();
  }

  async #eventOf(leaf: number): Promise<LeavesSequenced> {
    if (this.#held !== undefined && holds(this.#held, leaf)) return this.#held;
    const revision = await seekRecord(this.#log, AUDIT_STREAM, leaf);
    const event = decodeEventAs(await readOne(this.#log, AUDIT_STREAM, revision), "LeavesSequenced");
    if (!holds(event, leaf)) {
      throw new HeadwaterError("LogDamaged", `the Merkle tree has no leaf ${leaf}`, {
        where: `${AUDIT_STREAM}@${revision}`,
      });
    }
    this.#held = event;
    return event;
  }
}

function holds({ first, count }: LeavesSequenced, leaf: number): boolean {
  return leaf >= first && leaf < first + count;
}
