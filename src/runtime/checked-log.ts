import { eventDigest, eventId, linkInMetadata } from "../core/chain.ts";
import { equalBytes } from "../core/digest.ts";
import { HeadwaterError } from "../core/errors.ts";
import type { EventLog, ReadOptions, RecordedEvent } from "../ports/event-log.ts";
import { readingOnly } from "./reading-only.ts";

/**
 * A log that holds each event which is read of a stream to the id and the digest that it has: reading throws
 * `LogDamaged` with the event's address for one that was changed, before anybody makes sense of what is in it. One that
 * was changed together with both, only the Merkle tree tells. Can only be read; closing it closes nothing.
 */
export function checkedLog(log: EventLog): EventLog {
  return {
    id: log.id,
    ...readingOnly(refuse),
    readAll: refuse,
    subscribe: refuse,
    subscribeAll: refuse,
    streamInfo: (stream) => log.streamInfo(stream),
    streams: (filter) => log.streams(filter),
    getMetadata: (stream) => log.getMetadata(stream),
    size: () => log.size(),
    close: async () => {},
    async *read(stream: string, options?: ReadOptions) {
      for await (const event of log.read(stream, options)) {
        mustBeItself(event);
        yield event;
      }
    },
  };
}

function mustBeItself(event: RecordedEvent): void {
  const { id, type, data, metadata } = event;
  const link = linkInMetadata(metadata);
  const whole =
    eventId(event, data) === id &&
    link !== undefined &&
    equalBytes(eventDigest(link.previous, event, id, type, data), link.digest);
  if (whole) return;
  throw new HeadwaterError("LogDamaged", "an event does not have the id and digest of its content", {
    where: `${event.stream}@${event.revision}`,
    hint: 'It was changed after it was written: "headwater audit" says what else was.',
  });
}

function refuse(): never {
  throw new HeadwaterError("Internal", "a checked log only reads streams");
}
