import { eventDigest, linkInMetadata } from "../core/chain.ts";
import { equalBytes } from "../core/digest.ts";
import { HeadwaterError } from "../core/errors.ts";
import type { Position } from "../core/position.ts";
import { AUDIT_STREAM, COVERED_PREFIXES } from "../core/streams.ts";
import type {
  EventLog,
  ReadAllOptions,
  ReadOptions,
  RecordedEvent,
  StreamFilter,
  SubscribeOptions,
  SubscriptionMessage,
} from "../ports/event-log.ts";

/** A log that is held to its digests. */
export interface CheckedLog extends EventLog {
  /** The address of the event that was read last. */
  readonly lastRead: string | undefined;
}

/**
 * A log that holds each event which is read to the digest that it has: reading throws `LogDamaged` with the event's
 * address for one that was changed, before anybody makes sense of what is in it. One that was changed together with its
 * digest, only the Merkle tree tells. Closing it closes nothing.
 */
export function checkedLog(log: EventLog): CheckedLog {
  let lastRead: string | undefined;
  const check = (event: RecordedEvent) => {
    lastRead = addressOf(event);
    mustBeItself(event);
    return event;
  };
  async function* checked(events: AsyncIterable<RecordedEvent>) {
    for await (const event of events) yield check(event);
  }
  return {
    id: log.id,
    get lastRead() {
      return lastRead;
    },
    read: (stream: string, options?: ReadOptions) => checked(log.read(stream, options)),
    readAll: (options?: ReadAllOptions) => checked(log.readAll(options)),
    async *subscribe(stream: string, from: number, options?: SubscribeOptions) {
      for await (const message of log.subscribe(stream, from, options)) yield checkMessage(message, check);
    },
    async *subscribeAll(filter: StreamFilter, after: Position, options?: SubscribeOptions) {
      for await (const message of log.subscribeAll(filter, after, options))
        yield checkMessage(message, check);
    },
    append: (...of) => log.append(...of),
    appendInOrder: (appends) => log.appendInOrder(appends),
    setMetadata: (...of) => log.setMetadata(...of),
    delete: (...of) => log.delete(...of),
    tombstone: (...of) => log.tombstone(...of),
    scavenge: () => log.scavenge(),
    streamInfo: (stream) => log.streamInfo(stream),
    streams: (filter) => log.streams(filter),
    getMetadata: (stream) => log.getMetadata(stream),
    size: () => log.size(),
    close: async () => {},
  };
}

function checkMessage(message: SubscriptionMessage, check: (event: RecordedEvent) => void) {
  if (message.kind === "events") for (const event of message.events) check(event);
  return message;
}

function mustBeItself(event: RecordedEvent): void {
  const { stream, id, type, data, metadata } = event;
  // What other programs keep in the log has no digests.
  if (stream !== AUDIT_STREAM && !COVERED_PREFIXES.some((prefix) => stream.startsWith(prefix))) return;
  const link = linkInMetadata(metadata);
  if (link !== undefined && equalBytes(eventDigest(link.previous, event, id, type, data), link.digest))
    return;
  throw new HeadwaterError("LogDamaged", "an event does not have the digest of its content", {
    where: addressOf(event),
    hint: 'It was changed after it was written: "headwater audit" says what else was.',
  });
}

function addressOf({ stream, revision }: RecordedEvent): string {
  return `${stream}@${revision}`;
}
