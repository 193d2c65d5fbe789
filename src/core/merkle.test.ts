import { createHash } from "node:crypto";
import { assert, integer, nat, property } from "fast-check";
import { describe, expect, it } from "vitest";
import { fromHex, toHex } from "./digest.ts";
import {
  consistencyPlan,
  EMPTY_ROOT,
  inclusionPlan,
  joinNodes,
  type LeafRange,
  leafHash,
  MerkleEdge,
  nodesOf,
  verifyConsistency,
  verifyInclusion,
} from "./merkle.ts";

/** The leaves, roots and proofs that implementations of Certificate Transparency are tested with. */
const PUBLISHED = {
  leaves: [
    "",
    "00",
    "10",
    "2021",
    "3031",
    "40414243",
    "5051525354555657",
    "606162636465666768696a6b6c6d6e6f",
  ].map(fromHex),
  roots: [
    "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855",
    "6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d",
    "fac54203e7cc696cf0dfcb42c92a1d9dbaf70ad9e621f4bd8d98662f00e3c125",
    "aeb6bcfe274b70a14fb067a5e5578264db0fa9b51af5e0ba159158f329e06e77",
    "d37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7",
    "4e3bbb1f7b478dcfe71fb631631519a3bca12c9aefca1612bfce4c13a86264d4",
    "76e67dadbcdf1e10e1b74ddc608abd2f98dfb16fbce75277b5232a127f2087ef",
    "ddb89be403809e325750d3d263cd78929c2942b7942a34b77e122c9594a74c8c",
    "5dc9da79a70659a9ad559cb701ded9a2ab9d823aad2f4960cfe370eff4604328",
  ],
  inclusion: [
    {
      index: 0,
      size: 8,
      proof: [
        "96a296d224f285c67bee93c30f8a309157f0daa35dc5b87e410b78630a09cfc7",
        "5f083f0a1a33ca076a95279832580db3e0ef4584bdff1f54c8a360f50de3031e",
        "6b47aaf29ee3c2af9af889bc1fb9254dabd31177f16232dd6aab035ca39bf6e4",
      ],
    },
    {
      index: 5,
      size: 8,
      proof: [
        "bc1a0643b12e4d2d7c77918f44e0f4f79a838b6cf9ec5b5c283e1f4d88599e6b",
        "ca854ea128ed050b41b35ffc1b87b8eb2bde461e9e3b5596ece6b9d5975a0ae0",
        "d37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7",
      ],
    },
  ],
  consistency: [
    { first: 1, second: 1, proof: [] },
    {
      first: 6,
      second: 8,
      proof: [
        "0ebc5d3437fbe2db158b9f126a1d118e308181031d0a949f8dededebc558ef6a",
        "ca854ea128ed050b41b35ffc1b87b8eb2bde461e9e3b5596ece6b9d5975a0ae0",
        "d37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7",
      ],
    },
    {
      first: 2,
      second: 5,
      proof: [
        "5f083f0a1a33ca076a95279832580db3e0ef4584bdff1f54c8a360f50de3031e",
        "bc1a0643b12e4d2d7c77918f44e0f4f79a838b6cf9ec5b5c283e1f4d88599e6b",
      ],
    },
  ],
} as const;

/** MTH of RFC 9162, 2.1.1, as it is written there. */
function naiveRoot(leaves: readonly Uint8Array[]): Buffer {
  const sha = (...parts: Uint8Array[]) => {
    const hash = createHash("sha256");
    for (const part of parts) hash.update(part);
    return hash.digest();
  };
  if (leaves.length === 0) return sha();
  if (leaves.length === 1) return sha(Uint8Array.of(0), leaves[0] as Uint8Array);
  let k = 1;
  while (k * 2 < leaves.length) k *= 2;
  return sha(Uint8Array.of(1), naiveRoot(leaves.slice(0, k)), naiveRoot(leaves.slice(k)));
}

const LEAVES = Array.from({ length: 130 }, (_, index) => Buffer.from(`leaf ${index}`));
const ROOTS = LEAVES.concat(Buffer.of()).map((_, size) => naiveRoot(LEAVES.slice(0, size)));

/** The hashes of a plan's ranges, each made of its nodes. */
function hashesOf(plan: readonly LeafRange[], leaves: readonly Uint8Array[]): Uint8Array[] {
  return plan.map((range) =>
    joinNodes(
      nodesOf(range).map(({ level, index }) =>
        naiveRoot(leaves.slice(index * 2 ** level, (index + 1) * 2 ** level)),
      ),
    ),
  );
}

const edgeOf = (leaves: readonly Uint8Array[], completed?: (level: number, hash: Uint8Array) => void) => {
  const edge = new MerkleEdge();
  for (const leaf of leaves) edge.append(leafHash(leaf), completed);
  return edge;
};
const root = (size: number): Uint8Array => ROOTS[size] as Uint8Array;
const leaf = (index: number): Uint8Array => leafHash(LEAVES[index] as Uint8Array);

describe("the published vectors", () => {
  it("roots", () => {
    const { leaves, roots } = PUBLISHED;
    expect(roots.map((_, size) => toHex(edgeOf(leaves.slice(0, size)).root()))).toEqual(roots);
  });

  it.each(PUBLISHED.inclusion)("inclusion of leaf $index in $size", ({ index, size, proof }) => {
    const { leaves, roots } = PUBLISHED;
    const made = hashesOf(inclusionPlan(index, size), leaves);
    expect(made.map(toHex)).toEqual(proof);
    const at = leafHash(leaves[index] as Uint8Array);
    expect(verifyInclusion(at, index, size, made, fromHex(roots[size] as string))).toBe(true);
  });

  it.each(PUBLISHED.consistency)("consistency of $first with $second", ({ first, second, proof }) => {
    const { leaves, roots } = PUBLISHED;
    const made = hashesOf(consistencyPlan(first, second), leaves);
    expect(made.map(toHex)).toEqual(proof);
    const [from, to] = [fromHex(roots[first] as string), fromHex(roots[second] as string)];
    expect(verifyConsistency(first, second, from, to, made)).toBe(true);
  });
});

describe("the edge", () => {
  it("gives the root of every size, and goes on from where it was kept", () => {
    for (const [size, expected] of ROOTS.entries()) {
      const edge = edgeOf(LEAVES.slice(0, size));
      expect(edge.size).toBe(size);
      expect(toHex(edge.root())).toBe(toHex(expected));
      const next = LEAVES[size];
      if (next === undefined) continue;
      const kept = new MerkleEdge(edge.size, edge.hashes);
      kept.append(leafHash(next));
      expect(toHex(kept.root())).toBe(toHex(root(size + 1)));
    }
  });

  it("tells each node once, when its last leaf comes", () => {
    const told: string[] = [];
    const edge = new MerkleEdge();
    for (const [at, bytes] of LEAVES.entries()) {
      edge.append(leafHash(bytes), (level, hash) => {
        const width = 2 ** level;
        expect((at + 1) % width).toBe(0);
        expect(toHex(hash)).toBe(toHex(naiveRoot(LEAVES.slice(at + 1 - width, at + 1))));
        told.push(`${level}/${(at + 1) / width - 1}`);
      });
    }
    const all = [1, 2, 3, 4, 5, 6, 7].flatMap((level) =>
      Array.from({ length: Math.floor(LEAVES.length / 2 ** level) }, (_, index) => `${level}/${index}`),
    );
    expect(told.toSorted()).toEqual(all.toSorted());
  });

  it("refuses hashes that are not the edge of its size", () => {
    expect(() => new MerkleEdge(3, [EMPTY_ROOT])).toThrow(RangeError);
    expect(() => new MerkleEdge(0, [EMPTY_ROOT])).toThrow(RangeError);
  });
});

describe("proofs", () => {
  it("of every leaf in every size are true, and of nothing else", () => {
    for (let size = 1; size <= 70; size++) {
      for (let index = 0; index < size; index++) {
        const proof = hashesOf(inclusionPlan(index, size), LEAVES);
        const holds = (change: Partial<{ leaf: Uint8Array; at: number; of: number; proof: Uint8Array[] }>) =>
          verifyInclusion(
            change.leaf ?? leaf(index),
            change.at ?? index,
            change.of ?? size,
            change.proof ?? proof,
            root(size),
          );
        expect(holds({})).toBe(true);
        expect(holds({ leaf: leaf(index + 1) })).toBe(false);
        if (size > 1) expect(holds({ at: index === 0 ? 1 : index - 1 })).toBe(false);
        expect(holds({ at: size })).toBe(false);
        expect(holds({ proof: [...proof, EMPTY_ROOT] })).toBe(false);
        if (proof.length > 0) expect(holds({ proof: proof.slice(1) })).toBe(false);
        if (proof.length > 0) expect(holds({ proof: proof.with(-1, EMPTY_ROOT) })).toBe(false);
        expect(holds({ proof: [new Uint8Array(31), ...proof.slice(1)] })).toBe(false);
      }
    }
  }, 120_000);

  it("of any two sizes are true, and of no others", () => {
    assert(
      property(integer({ min: 1, max: 130 }), nat(129), nat(1_000), (second, less, at) => {
        const first = Math.max(1, second - less);
        const proof = hashesOf(consistencyPlan(first, second), LEAVES);
        expect(verifyConsistency(first, second, root(first), root(second), proof)).toBe(true);
        expect(verifyConsistency(first, second, root(first - 1), root(second), proof)).toBe(false);
        expect(verifyConsistency(first, second, root(first), root(second - 1), proof)).toBe(false);
        expect(verifyConsistency(first, second, root(first), root(second), [...proof, EMPTY_ROOT])).toBe(
          false,
        );
        if (proof.length === 0) return;
        expect(verifyConsistency(first, second, root(first), root(second), proof.slice(0, -1))).toBe(false);
        const changed = proof.with(at % proof.length, EMPTY_ROOT);
        expect(verifyConsistency(first, second, root(first), root(second), changed)).toBe(false);
      }),
    );
  });

  it("of the empty tree need nothing", () => {
    expect(verifyConsistency(0, 5, EMPTY_ROOT, root(5), [])).toBe(true);
    expect(verifyConsistency(0, 5, root(1), root(5), [])).toBe(false);
    expect(() => consistencyPlan(0, 5)).toThrow(RangeError);
    expect(() => consistencyPlan(6, 5)).toThrow(RangeError);
    expect(() => inclusionPlan(5, 5)).toThrow(RangeError);
  });

  it("are planned in the largest trees, too", () => {
    const size = Number.MAX_SAFE_INTEGER;
    expect(inclusionPlan(size - 1, size)).toHaveLength(52);
    expect(inclusionPlan(0, size)).toHaveLength(53);
    expect(nodesOf({ start: 0, end: size })).toHaveLength(53);
    expect(consistencyPlan(2 ** 52, size)).toEqual([{ start: 2 ** 52, end: size }]);
  });
});
