import { HeadwaterError } from "../core/errors.ts";
import type { ProvenEvent } from "../core/evidence.ts";
import { START } from "../core/position.ts";
import type { EventLog, ReadOptions, RecordedEvent, StreamInfo } from "../ports/event-log.ts";

/** Streams whose events others refer to by revision. */
const BY_REVISION = /^(?:members|quarantine)_/;

/**
 * The part of an event log that lineage reads, over the events of evidence alone. What is sought by N, or read as a
 * whole, finds them one after the other, as if there had never been others; what is referred to by revision has its own.
 */
export function evidenceLog(id: string, proven: readonly ProvenEvent[]): EventLog {
  const streams = new Map<string, RecordedEvent[]>();
  for (const event of proven.toSorted((a, b) => a.revision - b.revision)) {
    const events = streams.get(event.stream) ?? [];
    streams.set(event.stream, events);
    const revision = BY_REVISION.test(event.stream) ? event.revision : events.length;
    events.push({ ...event, revision, metadata: new Uint8Array(0), position: START, created: 0 });
  }
  const refuse = () => {
    throw new HeadwaterError("Internal", "evidence has no more of a log than lineage reads");
  };
  return {
    id,
    append: refuse,
    appendInOrder: refuse,
    readAll: refuse,
    subscribe: refuse,
    subscribeAll: refuse,
    streams: refuse,
    getMetadata: refuse,
    setMetadata: refuse,
    delete: refuse,
    tombstone: refuse,
    scavenge: refuse,
    size: refuse,
    close: async () => {},
    async *read(stream: string, { from = 0, limit = Number.POSITIVE_INFINITY, direction }: ReadOptions = {}) {
      const events = streams.get(stream) ?? [];
      const forwards = direction !== "backwards";
      const wanted = events.filter(({ revision }) => (forwards ? revision >= from : revision <= from));
      yield* (forwards ? wanted : wanted.toReversed()).slice(0, limit);
    },
    streamInfo: async (stream): Promise<StreamInfo | undefined> => {
      const events = streams.get(stream);
      if (events === undefined) return undefined;
      return {
        stream,
        firstRevision: events[0]?.revision ?? 0,
        lastRevision: events.at(-1)?.revision ?? -1,
        deleted: false,
        tombstoned: false,
        bytes: undefined,
        firstCreated: undefined,
        lastCreated: undefined,
      };
    },
  };
}
