import { HeadwaterError } from "../../core/errors.ts";
import type { Append, Appended, ExpectedRevision, StreamMetadata } from "../../ports/event-log.ts";
import {
  appendBytes,
  checkState,
  judgeAppend,
  notFoundError,
  tombstonedError,
} from "../../ports/event-log-rules.ts";
import { BOUNDS } from "./bounds.ts";
import { encodeEvent, type Head, toPosition } from "./format.ts";
import type { Store } from "./store.ts";
import type { Transaction } from "./transaction.ts";

/** Something to be done in a write transaction. */
export interface Job<T> {
  /** About what it adds to the log; 0 for what makes room, which is done also when there is none. */
  readonly bytes: number;
  /** Called when it is admitted, to copy what belongs to the caller, before the transaction begins. */
  prepare?(): void;
  /** Called in the transaction. If it throws a HeadwaterError, it has changed nothing. */
  run(transaction: Transaction): T;
}

/** What came of appends made in order: all up to the first that failed. */
export interface AppendsMade {
  readonly made: readonly Appended[];
  readonly failed?: HeadwaterError;
}

/** What LMDB needs for an event beside its bytes, about. */
const OVERHEAD_BYTES = 256;

/** Makes appends in order, up to the first that fails. They have been checked. */
export function appendsJob(appends: readonly Append[], store: Store): Job<AppendsMade> {
  let bytes = 0;
  for (const append of appends) bytes += appendBytes(append) + append.events.length * OVERHEAD_BYTES;
  let values: readonly (readonly Buffer[])[] = [];
  return {
    bytes,
    prepare() {
      values = appends.map(({ stream, events }) => events.map((event) => encodeEvent(stream, event)));
    },
    run(transaction) {
      const made: Appended[] = [];
      for (const [i, append] of appends.entries()) {
        try {
          made.push(makeAppend(transaction, store, append, values[i] ?? []));
        } catch (thrown) {
          if (thrown instanceof HeadwaterError) return { made, failed: thrown };
          throw thrown;
        }
      }
      return { made };
    },
  };
}

function makeAppend(
  transaction: Transaction,
  store: Store,
  append: Append,
  values: readonly Buffer[],
): Appended {
  const { stream, events } = append;
  const head = transaction.headOrNew(stream);
  const repeated = judgeAppend(append, head, (revision) => transaction.idAt(head, revision));
  if (repeated !== undefined) {
    const position = store.indexEntry(head.id, repeated)?.position ?? 0;
    return { revision: repeated, position: toPosition(position) };
  }
  transaction.append(stream, head, events, values);
  return { revision: head.lastRevision + events.length, position: toPosition(transaction.position) };
}

export function metadataJob(stream: string, metadata: StreamMetadata): Job<void> {
  const { truncateBefore, maxCount, maxAgeSeconds } = metadata;
  const kept = {
    ...(truncateBefore !== undefined && { truncateBefore }),
    ...(maxCount !== undefined && { maxCount }),
    ...(maxAgeSeconds !== undefined && { maxAgeSeconds }),
  };
  return {
    bytes: 0,
    run(transaction) {
      const head = transaction.headOrNew(stream);
      if (head.tombstoned) throw tombstonedError(stream);
      transaction.putHead(stream, { ...head, metadata: kept });
    },
  };
}

export function deleteJob(stream: string, expected: ExpectedRevision, forEver: boolean): Job<void> {
  return {
    bytes: 0,
    run(transaction) {
      const head = transaction.head(stream);
      if (head === undefined || head.lastRevision < 0) throw notFoundError(stream);
      checkState(stream, expected, head);
      transaction.putHead(stream, {
        ...head,
        deleted: true,
        tombstoned: forEver,
        bornAt: head.lastRevision + 1,
      });
    },
  };
}

export interface Scavenged {
  readonly events: number;
  readonly bytes: number;
  readonly done: boolean;
}

/** Removes some of the events of a stream that are not read any more. */
export function scavengeJob(
  stream: string,
  firstReadable: (head: Head) => number,
  store: Store,
): Job<Scavenged> {
  return {
    bytes: 0,
    run(transaction) {
      const head = transaction.head(stream);
      if (head === undefined) return { events: 0, bytes: 0, done: true };
      const first = firstReadable(head);
      const to = Math.min(first, head.keptFrom + BOUNDS.scavengeEvents);
      if (to <= head.keptFrom) return { events: 0, bytes: 0, done: true };
      const bytesBefore = (revision: number) =>
        store.indexEntry(head.id, revision)?.bytesBefore ?? head.totalBytes;
      const bytes = bytesBefore(to) - bytesBefore(head.keptFrom);
      const events = transaction.remove(head, head.keptFrom, to);
      transaction.putHead(stream, { ...head, keptFrom: to });
      return { events, bytes, done: to === first };
    },
  };
}
