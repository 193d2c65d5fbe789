import { encodeCanonical } from "./canonical.ts";
import { decodeDeltas, decodeRuns, encodeDeltas, encodeRuns } from "./columns.ts";
import { DIGEST_BYTES } from "./digest.ts";
import { HeadwaterError } from "./errors.ts";
import type { LeavesSequenced } from "./events.ts";
import { leafHash, MerkleEdge, type MerkleNode } from "./merkle.ts";

/** What the Merkle tree says of an event. */
export interface Leaf {
  readonly stream: string;
  readonly revision: number;
  /** In the chain of its stream. */
  readonly digest: Uint8Array;
}

/**
 * Nodes from this level on are kept in the events of `audit_log`; those below are made again from at most 2^8 leaves.
 * So the nodes take a 256th of what the leaves take, and any node is found by reading few events.
 */
export const KEPT_LEVEL = 8;

/** The hash of a leaf in the tree. */
export function hashLeaf({ stream, revision, digest }: Leaf): Uint8Array {
  return leafHash(encodeCanonical([stream, revision, digest]));
}

/** Appends `leaves` to `edge`, and makes the event that says so. */
export function sequenceLeaves(edge: MerkleEdge, leaves: readonly Leaf[], wall: number): LeavesSequenced {
  const first = edge.size;
  const streams = [...new Set(leaves.map(({ stream }) => stream))];
  const indexOf = new Map(streams.map((stream, index) => [stream, index]));
  const nodes: Uint8Array[] = [];
  for (const leaf of leaves) {
    edge.append(hashLeaf(leaf), (level, hash) => {
      if (level >= KEPT_LEVEL) nodes.push(hash);
    });
  }
  return {
    v: 1,
    wall,
    first,
    count: leaves.length,
    streams,
    ...(streams.length > 1 && {
      stream: encodeRuns(leaves.map(({ stream }) => indexOf.get(stream) as number)),
    }),
    revisions: encodeDeltas(leaves.map(({ revision }) => revision)),
    digests: joined(leaves.map(({ digest }) => digest)),
    ...(nodes.length > 0 && { nodes: joined(nodes) }),
    edge: joined(edge.hashes),
  };
}

/** The leaves of an event. Throws `LogDamaged` when its columns are not there or do not fit each other. */
export function decodeLeaves(event: LeavesSequenced): Leaf[] {
  const { count, streams } = event;
  const columns = [
    event.revisions,
    event.digests,
    event.edge,
    event.nodes ?? event.edge,
    event.stream ?? event.edge,
  ];
  if (!Array.isArray(streams) || !columns.every((column) => column instanceof Uint8Array)) throw damaged();
  const stream = event.stream === undefined ? undefined : decodeRuns(event.stream, count);
  const digests = parted(event.digests);
  if (digests.length !== count) throw damaged();
  return decodeDeltas(event.revisions, count).map((revision, row) => {
    const name = streams[stream?.[row] ?? 0];
    const digest = digests[row];
    if (typeof name !== "string" || digest === undefined) throw damaged();
    return { stream: name, revision, digest };
  });
}

/** The tree's edge after an event. Throws `LogDamaged` when it is not one of a tree of that size. */
export function edgeAfter(event: LeavesSequenced): MerkleEdge {
  try {
    return new MerkleEdge(event.first + event.count, parted(event.edge));
  } catch (error) {
    if (error instanceof RangeError) throw damaged();
    throw error;
  }
}

/**
 * The hash of a node from level {@link KEPT_LEVEL} on, in the event that has its last leaf. Throws `LogDamaged` when
 * it is not there.
 */
export function keptNode(event: LeavesSequenced, { level, index }: MerkleNode): Uint8Array {
  const last = (index + 1) * 2 ** level;
  const width = 2 ** KEPT_LEVEL;
  let place = level - KEPT_LEVEL;
  for (let end = (Math.floor(event.first / width) + 1) * width; end < last; end += width) {
    for (let at = end; at % width === 0; at /= 2) place++;
  }
  const hash = parted(event.nodes ?? new Uint8Array(0))[place];
  if (hash === undefined) throw damaged();
  return hash;
}

function joined(hashes: readonly Uint8Array[]): Uint8Array {
  return new Uint8Array(Buffer.concat(hashes));
}

function parted(bytes: Uint8Array): Uint8Array[] {
  if (bytes.length % DIGEST_BYTES !== 0) throw damaged();
  return Array.from({ length: bytes.length / DIGEST_BYTES }, (_, row) =>
    bytes.subarray(row * DIGEST_BYTES, (row + 1) * DIGEST_BYTES),
  );
}

function damaged(): HeadwaterError {
  return new HeadwaterError("LogDamaged", "an event of the Merkle tree does not fit itself", {
    hint: "The event was not written by Headwater, or was changed after it.",
  });
}
