import { eventDigest, linkInMetadata } from "../core/chain.ts";
import { equalBytes } from "../core/digest.ts";
import { HeadwaterError } from "../core/errors.ts";
import { LIMITS } from "../core/limits.ts";
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
import { eventWeight } from "../ports/event-log-rules.ts";

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
  const known = new KnownEvents();
  const check = (event: RecordedEvent) => {
    lastRead = addressOf(event);
    mustBeItself(event);
    return event;
  };
  async function* checked(events: AsyncIterable<RecordedEvent>) {
    for await (const event of events) yield check(event);
  }
  async function* one(stream: string, options: ReadOptions & { readonly from: number }) {
    const before = known.get(stream, options.from);
    if (before !== undefined) {
      lastRead = addressOf(before);
      yield before;
      return;
    }
    for await (const event of log.read(stream, options)) {
      known.add(check(event));
      yield event;
    }
  }
  return {
    id: log.id,
    get lastRead() {
      return lastRead;
    },
    read: (stream: string, options: ReadOptions = {}) => {
      const { from, limit } = options;
      return from !== undefined && limit === 1
        ? one(stream, { ...options, from })
        : checked(log.read(stream, options));
    },
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

/**
 * Events that were read one by one, and checked: who searches comes by the same ones again and again. What is let go of
 * meanwhile may be found here a while longer.
 */
class KnownEvents {
  /** By address, in the order in which they were asked for last. */
  readonly #events = new Map<string, RecordedEvent>();
  #bytes = 0;

  get(stream: string, revision: number): RecordedEvent | undefined {
    const key = `${stream}@${revision}`;
    const event = this.#events.get(key);
    if (event === undefined) return undefined;
    this.#events.delete(key);
    this.#events.set(key, event);
    return event;
  }

  add(event: RecordedEvent): void {
    const address = addressOf(event);
    const same = this.#events.get(address);
    this.#events.set(address, event);
    this.#bytes += eventWeight(event) - (same === undefined ? 0 : eventWeight(same));
    for (const [key, oldest] of this.#events) {
      if (this.#bytes <= LIMITS.knownEventsBytes) break;
      this.#events.delete(key);
      this.#bytes -= eventWeight(oldest);
    }
  }
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
