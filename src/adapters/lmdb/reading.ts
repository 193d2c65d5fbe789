import { END } from "../../core/position.ts";
import type { ReadAllOptions, ReadOptions, RecordedEvent } from "../../ports/event-log.ts";
import { checkStreamName, notFoundError, tombstonedError } from "../../ports/event-log-rules.ts";
import { BOUNDS } from "./bounds.ts";
import { fromPosition } from "./format.ts";
import { Filter } from "./reader.ts";
import type { RecentEvents } from "./recent.ts";
import type { SubscriptionContext } from "./subscription.ts";
import { nextTurn } from "./turn.ts";

type ReadContext = Pick<SubscriptionContext, "store" | "reader" | "check" | "guard">;

/** A stream's events up to the end that it has when the read begins, in chunks. */
export async function* readStreamChunks(
  context: ReadContext,
  recent: RecentEvents,
  stream: string,
  options: ReadOptions,
): AsyncGenerator<readonly RecordedEvent[], void, undefined> {
  const { store, reader } = context;
  const { direction = "forwards", signal } = options;
  checkStreamName(stream);
  const forwards = direction === "forwards";
  let left = options.limit ?? Number.POSITIVE_INFINITY;
  let from = options.from;
  let end: number | undefined;
  let most: number = BOUNDS.firstChunkBytes;
  while (left > 0 && !signal?.aborted) {
    context.check();
    await store.ready();
    const chunk = context.guard(() => {
      store.refresh();
      const head = store.head(stream);
      if (head?.tombstoned) throw tombstonedError(stream);
      if (head === undefined || head.lastRevision < 0 || head.deleted) throw notFoundError(stream);
      end ??= head.lastRevision;
      const first = reader.firstReadable(head);
      if (left === 1 && from !== undefined && from >= first) {
        const event = recent.get(stream, from);
        if (event !== undefined) return { events: [event], next: from, done: true };
      }
      return forwards
        ? reader.stream(stream, head, Math.max(from ?? 0, first), end, direction, left, most)
        : reader.stream(stream, head, Math.min(from ?? end, end), first, direction, left, most);
    });
    if (chunk.events.length > 0) yield chunk.events;
    if (chunk.done) return;
    left -= chunk.events.length;
    from = chunk.next;
    most = Math.min(2 * most, BOUNDS.chunkBytes);
    await nextTurn();
  }
}

/** The events of all streams up to the end that the log has when the read begins, in chunks. */
export async function* readAllChunks(
  context: ReadContext,
  options: ReadAllOptions,
): AsyncGenerator<readonly RecordedEvent[], void, undefined> {
  const { store, reader } = context;
  const { direction = "forwards", signal } = options;
  const filter = new Filter(options.filter);
  const forwards = direction === "forwards";
  let left = options.limit ?? Number.POSITIVE_INFINITY;
  let next: number | undefined;
  let end: number | undefined;
  while (left > 0 && !signal?.aborted) {
    context.check();
    await store.ready();
    const chunk = context.guard(() => {
      store.refresh();
      end ??= store.tail().position;
      if (forwards) {
        next ??= options.from === undefined ? 1 : Math.max(1, fromPosition(options.from));
        return reader.all(filter, next, end, direction, left);
      }
      // Exclusive: the last position before it.
      next ??= Math.min(fromPosition(options.from ?? END) - 1, end);
      return reader.all(filter, next, 1, direction, left);
    });
    if (chunk.events.length > 0) yield chunk.events;
    if (chunk.done) return;
    left -= chunk.events.length;
    next = chunk.next;
    await nextTurn();
  }
}
