import { digestInMetadata } from "../src/core/chain.ts";
import { equalBytes } from "../src/core/digest.ts";
import { hashLeaf, KEPT_LEVEL, type Leaf } from "../src/core/leaves.ts";
import { EMPTY_ROOT, MerkleEdge } from "../src/core/merkle.ts";
import { AUDIT_STREAM } from "../src/core/streams.ts";
import {
  type Audit,
  type AuditedCheckpoint,
  type AuditedEvent,
  type AuditItem,
  emptyTally,
  fail,
  type Tally,
} from "./audit.ts";

type LeafItem = Extract<AuditItem, { readonly kind: "leaf" }>;

interface State extends Tally {
  /** Made again from the leaves. */
  readonly edge: MerkleEdge;
  /** Nodes that the event with the next leaf has to hold. */
  nodes: Uint8Array[];
  /** Those whose sizes have not been reached. */
  readonly checkpoints: AuditedCheckpoint[];
  /** Those whose notes the log does not keep, as far as it has been read. */
  readonly notKept: Set<AuditedCheckpoint>;
  /** Leaves up to which the tree is what was signed. */
  readonly covered: number;
  /** The first leaf after the last good checkpoint: the first that can be another than was signed. */
  suspect: Leaf | undefined;
  /** A leaf whose event has not come yet. */
  pending: LeafItem | undefined;
  /** A leaf whose event did not come before the one that has the leaf. */
  behind: { readonly leaf: Leaf; readonly moved: string } | undefined;
  /** Leaves and events have come apart: which belongs to which is not known any more. */
  apart: boolean;
  /** First revision that is kept, of streams that were let go of in part. */
  readonly first: Map<string, number>;
}

/**
 * The log still extends what was signed: its events have the digests that the leaves of the Merkle tree have, in the
 * order of the log, and the tree has the roots of the checkpoints. Events that no checkpoint covers are unverifiable.
 */
export const checkpointAudit: Audit<State> = {
  name: "checkpoint",
  version: 1,
  init: ({ checkpoints }) => {
    const state: State = {
      ...emptyTally(),
      edge: new MerkleEdge(),
      nodes: [],
      checkpoints: [...checkpoints],
      notKept: new Set(checkpoints),
      covered: checkpoints.at(-1)?.size ?? 0,
      suspect: undefined,
      pending: undefined,
      behind: undefined,
      apart: false,
      first: new Map(),
    };
    compareRoots(state);
    return state;
  },
  apply: (state, item) => {
    switch (item.kind) {
      case "stream":
        if (item.first > 0) state.first.set(item.stream, item.first);
        break;
      case "leaf":
        settle(state);
        takeLeaf(state, item);
        // Its event ought to have come: if it is the next one, it is behind all the same.
        if (item.comesAfter !== undefined) settle(state);
        break;
      case "event":
        if (item.stream !== AUDIT_STREAM) takeEvent(state, item);
        break;
      case "signed":
        if (item.event.first !== state.edge.size || !equalBytes(item.event.root, state.edge.root())) {
          fail(
            state,
            item.address,
            "BadRoot",
            "the root that was signed is not that of the leaves before it",
          );
        }
        for (const checkpoint of state.notKept) {
          if (item.event.first === checkpoint.size && equalBytes(item.event.root, checkpoint.root)) {
            state.notKept.delete(checkpoint);
          }
        }
        break;
      case "damage":
        if (item.address.startsWith(`${AUDIT_STREAM}@`))
          fail(state, item.address, "LogDamaged", item.message);
        break;
      case "end":
        settle(state);
        takeBehind(state, undefined);
        for (const { where, size } of state.checkpoints) {
          const message = `the log has ${state.edge.size} leaves, but ${size} were signed (${where}): it was rolled back or cut`;
          fail(state, AUDIT_STREAM, "RolledBack", message);
        }
        for (const { where } of state.notKept) {
          fail(
            state,
            AUDIT_STREAM,
            "RolledBack",
            `the log does not keep the checkpoint in ${where} any more`,
          );
        }
        break;
    }
    return state;
  },
};

function takeLeaf(state: State, item: LeafItem): void {
  const { leaf, ends } = item;
  state.suspect ??= leaf;
  state.pending = item;
  state.edge.append(hashLeaf(leaf), (level, hash) => {
    if (level >= KEPT_LEVEL) state.nodes.push(hash);
  });
  compareRoots(state);
  if (ends === undefined) return;
  const { event, address } = ends;
  const fits =
    event.first + event.count === state.edge.size &&
    equalBytes(event.edge, Buffer.concat(state.edge.hashes)) &&
    equalBytes(event.nodes ?? Buffer.alloc(0), Buffer.concat(state.nodes));
  if (!fits)
    fail(state, address, "BadTree", "the tree's nodes are not those of its leaves: they were changed");
  state.nodes = [];
}

function compareRoots(state: State): void {
  for (let next = state.checkpoints[0]; next?.size === state.edge.size; next = state.checkpoints[0]) {
    state.checkpoints.shift();
    const root = state.edge.size === 0 ? EMPTY_ROOT : state.edge.root();
    if (equalBytes(next.root, root)) {
      state.suspect = undefined;
      continue;
    }
    const address = state.suspect === undefined ? AUDIT_STREAM : addressOf(state.suspect);
    const message = `the first ${next.size} events are not those that were signed (${next.where}): the first that differs is this one or a later one`;
    fail(state, address, "NotAsSigned", message);
  }
}

/** The leaf before has got no event of its own. */
function settle(state: State): void {
  const { leaf, comesAfter, ends } = state.pending ?? {};
  state.pending = undefined;
  if (leaf === undefined) return;
  if (state.apart || isGone(state, leaf)) {
    state.unverifiable++;
  } else if (comesAfter === undefined) {
    comeApart(state, addressOf(leaf), "the event that has this place in the tree is missing");
  } else {
    state.apart = true;
    state.unverifiable++;
    // Of one event that stands behind its leaf, it is that which was moved; where several do, it is the one with the leaves.
    state.behind = { leaf, moved: ends === undefined ? comesAfter : addressOf(leaf) };
  }
}

/** The event of a leaf has come behind the leaf; `undefined`: it is nowhere. */
function takeBehind(state: State, event: AuditedEvent | undefined): void {
  const { behind } = state;
  if (behind === undefined || (event !== undefined && !isOf(behind.leaf, event))) return;
  state.behind = undefined;
  const { leaf, moved } = behind;
  if (event === undefined)
    notInTree(state, addressOf(leaf), "the event that has this place in the tree is missing");
  else notInTree(state, moved, "the leaves of the tree stand before the events that they are of");
}

function takeEvent(state: State, event: AuditedEvent): void {
  if (state.pending !== undefined && !isOf(state.pending.leaf, event) && isGone(state, state.pending.leaf))
    settle(state);
  const leaf = state.pending?.leaf;
  state.pending = undefined;
  if (leaf === undefined || state.apart) {
    takeBehind(state, event);
    state.unverifiable++;
    return;
  }
  if (!isOf(leaf, event)) {
    const found = `the log has ${event.stream}@${event.revision} where the tree has this event`;
    comeApart(state, addressOf(leaf), found);
    return;
  }
  const digest = digestInMetadata(event.metadata);
  if (digest === undefined || !equalBytes(digest, leaf.digest)) {
    fail(state, addressOf(leaf), "NotInTree", "the event has another digest than its leaf in the tree");
  }
  if (state.edge.size <= state.covered) state.checked++;
  else state.unverifiable++;
}

function isOf(leaf: Leaf, { stream, revision }: AuditedEvent): boolean {
  return leaf.stream === stream && leaf.revision === revision;
}

function isGone({ first }: State, { stream, revision }: Leaf): boolean {
  return revision < (first.get(stream) ?? 0);
}

function comeApart(state: State, address: string, message: string): void {
  state.apart = true;
  state.unverifiable++;
  notInTree(state, address, message);
}

function notInTree(state: State, address: string, message: string): void {
  fail(state, address, "NotInTree", `${message}; what comes after it is not compared`);
}

function addressOf({ stream, revision }: Leaf): string {
  return `${stream}@${revision}`;
}
