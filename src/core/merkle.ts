import { createHash } from "node:crypto";
import { DIGEST_BYTES, equalBytes, sha256 } from "./digest.ts";

/**
 * The Merkle tree of RFC 9162, section 2.1, over SHA-256. Sizes and indexes are whole numbers below 2^53, so that
 * everything here halves and doubles instead of shifting.
 *
 * Whoever keeps a tree needs only its {@link MerkleEdge} to append, and the hashes of its *nodes*, the roots of
 * perfect subtrees, to prove. Which nodes a proof is made of is told by the plans; they know no hashes.
 */

const LEAF_PREFIX = Uint8Array.of(0x00);
const NODE_PREFIX = Uint8Array.of(0x01);

/** The root of the tree without leaves. */
export const EMPTY_ROOT: Uint8Array = sha256(new Uint8Array(0));

/** The hash of a leaf that holds `bytes`. */
export function leafHash(bytes: Uint8Array): Uint8Array {
  return createHash("sha256").update(LEAF_PREFIX).update(bytes).digest();
}

/** The hash of a node out of those of its two children. */
export function nodeHash(left: Uint8Array, right: Uint8Array): Uint8Array {
  return createHash("sha256").update(NODE_PREFIX).update(left).update(right).digest();
}

/** The root of the perfect subtree over the leaves from `index` · 2^`level` up to `(index + 1)` · 2^`level`. */
export interface MerkleNode {
  readonly level: number;
  readonly index: number;
}

/** Leaves from `start` up to `end`: a subtree, perfect but for its right edge. */
export interface LeafRange {
  readonly start: number;
  readonly end: number;
}

/**
 * The right edge of a growing tree: the roots of the perfect subtrees that its leaves make up, the largest first. It
 * is all that appending needs, and has at most 53 hashes.
 */
export class MerkleEdge {
  #size: number;
  readonly #hashes: Uint8Array[];

  /**
   * The edge of a tree of `size` leaves. Throws `RangeError` when that has not as many perfect subtrees as there are
   * `hashes`.
   */
  constructor(size = 0, hashes: readonly Uint8Array[] = []) {
    if (nodesOf({ start: 0, end: size }).length !== hashes.length) {
      throw new RangeError(`${hashes.length} hashes are not the edge of a tree of ${size} leaves`);
    }
    this.#size = size;
    this.#hashes = [...hashes];
  }

  /** Leaves. */
  get size(): number {
    return this.#size;
  }

  /** The roots of the perfect subtrees, the largest first. */
  get hashes(): readonly Uint8Array[] {
    return [...this.#hashes];
  }

  /** Takes in a leaf's hash. `completed` is told each node above leaves that has all its leaves now, from below. */
  append(leaf: Uint8Array, completed?: (level: number, hash: Uint8Array) => void): void {
    let hash = leaf;
    let level = 0;
    for (let index = this.#size; index % 2 === 1; index = Math.floor(index / 2)) {
      hash = nodeHash(this.#hashes.pop() as Uint8Array, hash);
      completed?.(++level, hash);
    }
    this.#hashes.push(hash);
    this.#size++;
  }

  root(): Uint8Array {
    return joinNodes(this.#hashes);
  }
}

/** The nodes whose hashes {@link joinNodes} makes that of `range` of; none for a range without leaves. */
export function nodesOf({ start, end }: LeafRange): MerkleNode[] {
  const nodes: MerkleNode[] = [];
  for (let at = start; at < end; ) {
    const level = floorLog2(end - at);
    nodes.push({ level, index: at / 2 ** level });
    at += 2 ** level;
  }
  return nodes;
}

/** The hash of a range out of those of its {@link nodesOf}. */
export function joinNodes(hashes: readonly Uint8Array[]): Uint8Array {
  return hashes.length === 0 ? EMPTY_ROOT : hashes.reduceRight((right, left) => nodeHash(left, right));
}

/**
 * The ranges whose hashes prove that leaf `index` is in the tree of `size` leaves, in the order of the proof (RFC
 * 9162, 2.1.3.1). Throws `RangeError` when the tree has no such leaf.
 */
export function inclusionPlan(index: number, size: number): LeafRange[] {
  if (!isWhole(index) || !isWhole(size) || index >= size) {
    throw new RangeError(`a tree of ${size} leaves has no leaf ${index}`);
  }
  const plan: LeafRange[] = [];
  for (let [start, end] = [0, size]; end - start > 1; ) {
    const middle = start + split(end - start);
    if (index < middle) {
      plan.unshift({ start: middle, end });
      end = middle;
    } else {
      plan.unshift({ start, end: middle });
      start = middle;
    }
  }
  return plan;
}

/**
 * The ranges whose hashes prove that the tree of `second` leaves begins with the tree of `first` leaves, in the order
 * of the proof (RFC 9162, 2.1.4.1). Throws `RangeError` unless 0 < `first` ≤ `second`.
 */
export function consistencyPlan(first: number, second: number): LeafRange[] {
  if (!isWhole(first) || !isWhole(second) || first < 1 || first > second) {
    throw new RangeError(`a tree of ${second} leaves cannot be shown to begin with one of ${first}`);
  }
  const plan: LeafRange[] = [];
  let [start, end] = [0, second];
  while (end > first) {
    const middle = start + split(end - start);
    if (first <= middle) {
      plan.unshift({ start: middle, end });
      end = middle;
    } else {
      plan.unshift({ start, end: middle });
      start = middle;
    }
  }
  // What is a tree of the first size by itself is known to whoever verifies.
  if (start > 0) plan.unshift({ start, end });
  return plan;
}

/** Whether `proof` shows that the leaf hash `leaf` is at `index` in the tree of `size` leaves with `root`. */
export function verifyInclusion(
  leaf: Uint8Array,
  index: number,
  size: number,
  proof: readonly Uint8Array[],
  root: Uint8Array,
): boolean {
  if (!isWhole(index) || !isWhole(size) || index >= size || !areDigests([leaf, root, ...proof])) return false;
  let node = index;
  let last = size - 1;
  let hash = leaf;
  for (const sibling of proof) {
    if (last === 0) return false;
    if (node % 2 === 1 || node === last) {
      hash = nodeHash(sibling, hash);
      // A node without a right sibling is its own parent.
      while (node % 2 === 0 && node !== 0) [node, last] = [half(node), half(last)];
    } else {
      hash = nodeHash(hash, sibling);
    }
    [node, last] = [half(node), half(last)];
  }
  return last === 0 && equalBytes(hash, root);
}

/**
 * Whether `proof` shows that the tree of `second` leaves with `secondRoot` begins with that of `first` leaves with
 * `firstRoot`. Every tree begins with the empty one; that takes no proof.
 */
export function verifyConsistency(
  first: number,
  second: number,
  firstRoot: Uint8Array,
  secondRoot: Uint8Array,
  proof: readonly Uint8Array[],
): boolean {
  if (!isWhole(first) || !isWhole(second) || first > second) return false;
  if (!areDigests([firstRoot, secondRoot, ...proof])) return false;
  if (first === 0) return proof.length === 0 && equalBytes(firstRoot, EMPTY_ROOT);
  if (first === second) return proof.length === 0 && equalBytes(firstRoot, secondRoot);
  // A first tree that is perfect is a node of the second one: the proof leaves it out.
  const path = 2 ** floorLog2(first) === first ? [firstRoot, ...proof] : proof;
  const [begin, ...siblings] = path;
  if (begin === undefined) return false;
  let node = first - 1;
  let last = second - 1;
  while (node % 2 === 1) [node, last] = [half(node), half(last)];
  let firstHash = begin;
  let secondHash = begin;
  for (const sibling of siblings) {
    if (last === 0) return false;
    if (node % 2 === 1 || node === last) {
      firstHash = nodeHash(sibling, firstHash);
      secondHash = nodeHash(sibling, secondHash);
      while (node % 2 === 0 && node !== 0) [node, last] = [half(node), half(last)];
    } else {
      secondHash = nodeHash(secondHash, sibling);
    }
    [node, last] = [half(node), half(last)];
  }
  return last === 0 && equalBytes(firstHash, firstRoot) && equalBytes(secondHash, secondRoot);
}

/** The largest power of two below `size`, which is at least 2. */
function split(size: number): number {
  return 2 ** floorLog2(size - 1);
}

/** `Math.log2` rounds: just below a large power of two it answers that power's. */
function floorLog2(value: number): number {
  const rounded = Math.floor(Math.log2(value));
  return 2 ** rounded > value ? rounded - 1 : rounded;
}

function half(value: number): number {
  return Math.floor(value / 2);
}

function isWhole(value: number): boolean {
  return Number.isSafeInteger(value) && value >= 0;
}

function areDigests(hashes: readonly Uint8Array[]): boolean {
  return hashes.every((hash) => hash.length === DIGEST_BYTES);
}
