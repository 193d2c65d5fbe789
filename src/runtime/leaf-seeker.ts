import { isHeadwaterError } from "../core/errors.ts";
import { comparePositions, type Position } from "../core/position.ts";
import type { EventLog, RecordedEvent } from "../ports/event-log.ts";
import type { MerkleReader } from "./merkle-reader.ts";
import { readOne } from "./seek.ts";

/**
 * The index of an event's leaf among the first `size` of the Merkle tree; `undefined` if it is not among them. Leaves
 * are in the order of the log, so that it is found by O(log n) reads; where events are gone, those leaves are passed over.
 */
export async function seekLeaf(
  log: EventLog,
  tree: MerkleReader,
  size: number,
  event: RecordedEvent,
): Promise<number | undefined> {
  let low = 0;
  let high = size;
  while (low < high) {
    const middle = Math.floor((low + high) / 2);
    const found = await positionFrom(log, tree, middle, high);
    const order = found === undefined ? 1 : comparePositions(found.position, event.position);
    if (found !== undefined && order === 0) return found.leaf;
    if (found !== undefined && order < 0) low = found.leaf + 1;
    else high = middle;
  }
  return undefined;
}

/** The first leaf from `from` up to `end` whose event is there, and where that is in the log. */
async function positionFrom(
  log: EventLog,
  tree: MerkleReader,
  from: number,
  end: number,
): Promise<{ readonly leaf: number; readonly position: Position } | undefined> {
  for (let leaf = from; leaf < end; leaf++) {
    const { stream, revision } = await tree.leaf(leaf);
    try {
      return { leaf, position: (await readOne(log, stream, revision)).position };
    } catch (error) {
      if (!isHeadwaterError(error, "StreamNotFound") && !isHeadwaterError(error, "StreamTombstoned"))
        throw error;
    }
  }
  return undefined;
}
