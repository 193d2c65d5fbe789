import { createHash } from "node:crypto";
import { Packr } from "msgpackr";
import type { EventLog } from "../src/ports/event-log.ts";

const packr = new Packr({ useRecords: false });
const NOT_COVERED = "audit_log";

function sha256(...parts: readonly Uint8Array[]): Buffer {
  const hash = createHash("sha256");
  for (const part of parts) hash.update(part);
  return hash.digest();
}

/** MTH of RFC 9162, 2.1.1, over the hashes of leaves. */
export function merkleRoot(hashes: readonly Uint8Array[]): Buffer {
  if (hashes.length < 2) return Buffer.from(hashes[0] ?? sha256());
  let k = 1;
  while (k * 2 < hashes.length) k *= 2;
  return sha256(Uint8Array.of(1), merkleRoot(hashes.slice(0, k)), merkleRoot(hashes.slice(k)));
}

/**
 * The hashes of the leaves that the tree over a log has, as docs/format.md says, with nothing of the program's own:
 * each event's digest is made again from its content and the event before it.
 */
export async function independentLeaves(log: EventLog): Promise<Buffer[]> {
  const digests = new Map<string, Buffer>();
  const leaves: Buffer[] = [];
  for await (const { stream, revision, id, type, data } of log.readAll()) {
    if (stream === NOT_COVERED) continue;
    const previous = digests.get(stream) ?? sha256(Uint8Array.of(0), packr.pack([log.id, stream]));
    const body = packr.pack([1, stream, revision, id, type, Buffer.from(data)]);
    const digest = sha256(Uint8Array.of(1), previous, body);
    digests.set(stream, digest);
    leaves.push(sha256(Uint8Array.of(0), packr.pack([stream, revision, digest])));
  }
  return leaves;
}
