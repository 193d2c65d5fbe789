import { equalBytes, sha256 } from "../core/digest.ts";
import { HeadwaterError } from "../core/errors.ts";
import { decodeEventAs } from "../core/event-codec.ts";
import type { EventRange, SnapshotReference } from "../core/events.ts";
import { besideStream } from "../core/streams.ts";
import { decodeSnapshot, type StateSnapshot } from "../engine/state-snapshot.ts";
import type { EventLog } from "../ports/event-log.ts";
import type { ChunkType } from "./unit-log.ts";

/** Reads the snapshot that an event of `main` refers to. Throws `LogDamaged` if it is not what was written. */
export async function loadSnapshot(
  log: EventLog,
  main: string,
  reference: SnapshotReference,
): Promise<StateSnapshot> {
  const stream = besideStream(main, "state");
  const where = `${stream}@${reference.revision}`;
  const bytes = await readChunks(log, stream, "SnapshotChunk", reference.revision, reference.chunks);
  if (!equalBytes(sha256(bytes), reference.digest)) {
    throw new HeadwaterError("LogDamaged", "a snapshot of a partition's state does not have its digest", {
      where,
    });
  }
  return decodeSnapshot(bytes, where);
}

/** The members of results that an event of `main` refers to, as it would have them in its own column. */
export function readMembersColumn(
  log: EventLog,
  main: string,
  { revision, events }: EventRange,
): Promise<Uint8Array> {
  return readChunks(log, besideStream(main, "members"), "MembersNamed", revision, events);
}

/** The bytes of a value that is kept in `chunks` events from `revision` on. */
export async function readChunks(
  log: EventLog,
  stream: string,
  type: ChunkType,
  revision: number,
  chunks: number,
): Promise<Uint8Array> {
  const parts: Uint8Array[] = [];
  for await (const event of log.read(stream, { from: revision, limit: chunks })) {
    if (event.revision !== revision + parts.length) break;
    parts.push(decodeEventAs(event, type).bytes);
  }
  if (parts.length !== chunks) {
    if (((await log.streamInfo(stream))?.firstRevision ?? 0) > revision) {
      throw new HeadwaterError("RecordGone", `what is needed of ${stream} is not kept any more`, {
        where: `${stream}@${revision}`,
        hint: 'Retention has let it go: see "How long history is kept" in the README.',
      });
    }
    throw new HeadwaterError("LogDamaged", `${chunks} chunks should be here, ${parts.length} are`, {
      where: `${stream}@${revision}`,
    });
  }
  return Buffer.concat(parts);
}
