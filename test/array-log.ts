import type { Position } from "../src/core/position.ts";
import type {
  EventLog,
  ReadAllOptions,
  ReadOptions,
  RecordedEvent,
  StreamFilter,
  StreamInfo,
} from "../src/ports/event-log.ts";
import { filterTest } from "../src/ports/event-log-rules.ts";
import { readingOnly } from "../src/runtime/reading-only.ts";

/** The events of a log, each as a copy that may be changed. */
export async function copyEvents(log: EventLog): Promise<RecordedEvent[]> {
  const events: RecordedEvent[] = [];
  for await (const event of log.readAll()) {
    events.push({ ...event, data: Uint8Array.from(event.data), metadata: Uint8Array.from(event.metadata) });
  }
  return events;
}

/**
 * A store that answers with `found`, in their order, whatever they are: what a log looks like through its interface
 * after somebody has been at its file. Only for reading. `first`: of streams of which what is below has been let go.
 */
export function arrayLog(
  id: string,
  found: readonly RecordedEvent[],
  first: ReadonlyMap<string, number> = new Map(),
): EventLog {
  const events = found.map((event, at) => ({ ...event, position: toPosition(at + 1) }));
  const refuse = (): never => {
    throw new Error("only for reading");
  };
  const ofStream = (stream: string) => events.filter((event) => event.stream === stream);
  const infoOf = (stream: string): StreamInfo | undefined => {
    const revisions = ofStream(stream).map(({ revision }) => revision);
    const from = first.get(stream) ?? 0;
    if (revisions.length === 0 && from === 0) return undefined;
    return {
      stream,
      firstRevision: from,
      lastRevision: Math.max(from - 1, ...revisions),
      deleted: false,
      tombstoned: false,
      bytes: undefined,
      firstCreated: undefined,
      lastCreated: undefined,
    };
  };
  return {
    id,
    async *read(stream: string, { direction = "forwards", from, limit = Infinity }: ReadOptions = {}) {
      const found = ofStream(stream).toSorted((a, b) => a.revision - b.revision);
      const kept = found.filter(({ revision }) =>
        direction === "forwards" ? revision >= (from ?? 0) : revision <= (from ?? Infinity),
      );
      yield* (direction === "forwards" ? kept : kept.toReversed()).slice(0, limit);
    },
    async *readAll({ filter, direction = "forwards", from, limit = Infinity }: ReadAllOptions = {}) {
      const passes = filterTest(filter);
      const isIn = ({ position }: RecordedEvent) => {
        if (from === undefined) return true;
        return direction === "forwards" ? position.commit >= from.commit : position.commit < from.commit;
      };
      const wanted = events.filter((event) => passes(event.stream) && isIn(event));
      yield* (direction === "forwards" ? wanted : wanted.toReversed()).slice(0, limit);
    },
    async *streams(filter?: StreamFilter) {
      const passes = filterTest(filter);
      for (const stream of [...new Set([...events.map((event) => event.stream), ...first.keys()])]
        .filter(passes)
        .sort()) {
        const info = infoOf(stream);
        if (info !== undefined) yield info;
      }
    },
    streamInfo: async (stream) => infoOf(stream),
    size: async () => ({ position: toPosition(events.length), bytes: 0 }),
    getMetadata: async () => ({}),
    close: async () => {},
    ...readingOnly(refuse),
    async *subscribe(stream, from, { signal } = {}) {
      const found = ofStream(stream).filter(({ revision }) => revision >= from);
      if (found.length > 0)
        yield { kind: "events", events: found.toSorted((a, b) => a.revision - b.revision) };
      yield { kind: "caught-up" };
      // Nothing is to come.
      await new Promise<void>((resolve) => {
        if (signal?.aborted) resolve();
        signal?.addEventListener("abort", () => resolve(), { once: true });
      });
    },
    subscribeAll: () => {
      throw new Error("only for reading");
    },
  };
}

function toPosition(position: number): Position {
  return { commit: BigInt(position), prepare: BigInt(position) };
}
