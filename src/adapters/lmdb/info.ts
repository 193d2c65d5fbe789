import type { StreamInfo } from "../../ports/event-log.ts";
import { checkStreamName } from "../../ports/event-log-rules.ts";
import { BOUNDS } from "./bounds.ts";
import { nameKey } from "./format.ts";
import type { Reader } from "./reader.ts";
import type { Store } from "./store.ts";

/** What is known of a stream in the current snapshot; `undefined` if it was never written. */
export function describeStream(store: Store, reader: Reader, stream: string): StreamInfo | undefined {
  checkStreamName(stream);
  const head = store.head(stream);
  if (head === undefined || head.lastRevision < 0) return undefined;
  const firstRevision = reader.firstReadable(head);
  const first = store.indexEntry(head.id, firstRevision);
  const last = first && store.indexEntry(head.id, head.lastRevision);
  return {
    stream,
    firstRevision,
    lastRevision: head.lastRevision,
    deleted: head.deleted,
    tombstoned: head.tombstoned,
    bytes: first === undefined ? 0 : head.totalBytes - first.bytesBefore,
    firstCreated: first?.created,
    lastCreated: last?.created,
  };
}

/** The names of the next streams after `after`, in the order of their bytes. */
export function streamNames(store: Store, after: string | undefined): readonly string[] {
  // The least key that comes after a name is that name and a zero.
  const start = after === undefined ? Buffer.from([0]) : Buffer.concat([nameKey(after), Buffer.from([0])]);
  const keys = store.environment.streams.getKeys({ start, limit: BOUNDS.chunkEvents });
  return Array.from(keys, (key) => key.toString());
}

/** Whether a stream has events that a scavenge would remove. */
export function hasGone(store: Store, reader: Reader, stream: string): boolean {
  const head = store.head(stream);
  return head !== undefined && reader.firstReadable(head) > head.keptFrom;
}
