import { decodePlain } from "../src/core/columns.ts";
import { sha256Batch } from "../src/core/digest.ts";
import type { PayloadBlock } from "../src/core/events.ts";

const known = new WeakMap<PayloadBlock, Uint8Array>();

/** The digests of the records in a block, one after the other. Hashed once, whoever asks. */
export function blockDigests(block: PayloadBlock): Uint8Array {
  let digests = known.get(block);
  if (digests === undefined) {
    const lengths = decodePlain(block.lengths);
    const offsets = new Uint32Array(lengths.length + 1);
    let end = 0;
    for (const [at, length] of lengths.entries()) {
      end += length;
      offsets[at + 1] = end;
    }
    if (end !== block.bytes.length) throw new Error("the lengths of its records do not fit its bytes");
    digests = sha256Batch(block.bytes, offsets, lengths.length);
    known.set(block, digests);
  }
  return digests;
}
