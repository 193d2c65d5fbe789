import { HeadwaterError } from "../core/errors.ts";
import { comparePositions, type Position, START } from "../core/position.ts";
import type {
  EventLog,
  ReadAllOptions,
  ReadOptions,
  RecordedEvent,
  StreamFilter,
  StreamInfo,
  SubscribeOptions,
  SubscriptionMessage,
} from "../ports/event-log.ts";
import { readingOnly } from "./reading-only.ts";
import { seekLastRecorded } from "./seek.ts";

/**
 * A log as it was when `last` was the position of its last event: what came later is not there. What has been let go of
 * since is not there either. Can only be read; closing it closes nothing.
 */
export function logAsOf(log: EventLog, last: Position): EventLog {
  const isLater = ({ position }: RecordedEvent) => comparePositions(position, last) > 0;

  const infoOf = async (info: StreamInfo): Promise<StreamInfo | undefined> => {
    const { stream, firstRevision, lastRevision } = info;
    const then = { ...info, bytes: undefined, lastCreated: undefined };
    if (lastRevision < firstRevision) return firstRevision > 0 ? then : undefined;
    const revision = await seekLastRecorded(log, stream, (event) => !isLater(event));
    const event = revision === undefined ? undefined : await eventAt(log, stream, revision);
    if (revision !== undefined && event !== undefined && !isLater(event)) {
      return { ...then, lastRevision: revision };
    }
    // Whatever it had by then has been let go of.
    if (firstRevision > 0) return { ...then, lastRevision: firstRevision - 1 };
    return undefined;
  };

  const streamInfo = async (stream: string) => {
    const info = await log.streamInfo(stream);
    return info && infoOf(info);
  };

  return {
    id: log.id,
    ...readingOnly(refuse),
    streamInfo,
    getMetadata: (stream) => log.getMetadata(stream),
    close: async () => {},

    async *read(stream: string, options: ReadOptions = {}) {
      const info = await streamInfo(stream);
      if (info === undefined) {
        throw new HeadwaterError("StreamNotFound", "the stream was not there then", { where: stream });
      }
      const { lastRevision } = info;
      const { from, limit = Number.MAX_SAFE_INTEGER, direction } = options;
      if (direction === "backwards") {
        const first = Math.min(from ?? lastRevision, lastRevision);
        if (first >= 0) yield* log.read(stream, { ...options, from: first });
        return;
      }
      const left = lastRevision - (from ?? info.firstRevision) + 1;
      if (left <= 0) return;
      for await (const event of log.read(stream, { ...options, limit: Math.min(limit, left) })) {
        if (isLater(event)) return;
        yield event;
      }
    },

    async *readAll(options: ReadAllOptions = {}) {
      if (options.direction !== "backwards") {
        for await (const event of log.readAll(options)) {
          if (isLater(event)) return;
          yield event;
        }
        return;
      }
      const { limit = Number.POSITIVE_INFINITY, ...rest } = options;
      let read = 0;
      for await (const event of log.readAll(rest)) {
        if (isLater(event)) continue;
        if (++read > limit) return;
        yield event;
      }
    },

    subscribe: (stream, from, options) => until(log.subscribe(stream, from, options), isLater, options),
    subscribeAll: (filter, after, options) =>
      until(log.subscribeAll(filter, after, options), isLater, options),

    async *streams(filter?: StreamFilter) {
      for await (const info of log.streams(filter)) {
        const then = await infoOf(info);
        if (then !== undefined) yield then;
      }
    },

    size: async () => ({ position: last, bytes: (await log.size()).bytes }),
  };
}

/** The position of the last event of a log before an event at `position`. */
export async function positionBefore(log: EventLog, position: Position): Promise<Position> {
  for await (const event of log.readAll({ direction: "backwards", from: position, limit: 1 }))
    return event.position;
  return START;
}

async function eventAt(log: EventLog, stream: string, revision: number): Promise<RecordedEvent | undefined> {
  for await (const event of log.read(stream, { from: revision, limit: 1 })) return event;
  return undefined;
}

/** What a subscription yields up to the end that there was then; after it nothing comes. */
async function* until(
  messages: AsyncIterable<SubscriptionMessage>,
  isLater: (event: RecordedEvent) => boolean,
  { signal }: SubscribeOptions = {},
): AsyncGenerator<SubscriptionMessage> {
  for await (const message of messages) {
    if (message.kind !== "events") {
      yield message;
      continue;
    }
    const events = message.events.filter((event) => !isLater(event));
    if (events.length > 0) yield { kind: "events", events };
    if (events.length === message.events.length) continue;
    yield { kind: "caught-up" };
    break;
  }
  if (signal === undefined || signal.aborted) return;
  await new Promise((resolve) => signal.addEventListener("abort", resolve, { once: true }));
}

function refuse(): never {
  throw new HeadwaterError("BadUsage", "the log as it was then cannot be written to", {
    hint: "It is history: a view of it only reads.",
  });
}
