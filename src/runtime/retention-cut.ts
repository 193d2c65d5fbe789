import { decodeEvent } from "../core/event-codec.ts";
import type { EventLog, StreamInfo } from "../ports/event-log.ts";
import type { KeptStream, StreamBounds } from "./retention-advance.ts";
import { seekLast } from "./seek.ts";

/** The first revision of a stream that is within its bounds. */
export async function cutOf(log: EventLog, kept: KeptStream, bounds: StreamBounds): Promise<number> {
  const { stream, first, last } = kept;
  let cut = first;
  if (bounds.events !== undefined) cut = Math.max(cut, last + 1 - bounds.events);
  if (bounds.olderThan !== undefined) {
    cut = Math.max(cut, await firstFrom(log, stream, bounds.olderThan));
  }
  if (bounds.bytes !== undefined) cut = Math.max(cut, await firstWithin(log, kept, bounds.bytes));
  return cut;
}

/** The revision of the first event that was written at `time` or later; behind the last one if there is none. */
async function firstFrom(log: EventLog, stream: string, time: number): Promise<number> {
  const older = ({ wall }: { readonly wall: number }) => wall < time;
  const revision = await seekLast(log, stream, ({ data }) => older(data));
  if (revision === undefined) return 0;
  for await (const event of log.read(stream, { from: revision, limit: 1 })) {
    return older(decodeEvent(event).data) ? event.revision + 1 : event.revision;
  }
  return revision;
}

/** The revision from which on a stream has at most so many bytes. Reads what is before. */
async function firstWithin(
  log: EventLog,
  { stream, first, last, bytes }: KeptStream,
  most: number,
): Promise<number> {
  let left = bytes;
  if (left <= most) return first;
  for await (const event of log.read(stream, { from: first })) {
    left -= event.data.length + event.metadata.length;
    if (left <= most || event.revision >= last) return event.revision + 1;
  }
  return first;
}

/** How many bytes streams have, where the store does not say: what has been read is not read again. */
export class StreamSizes {
  readonly #log: EventLog;
  readonly #known = new Map<string, { sizes: number[]; first: number; bytes: number }>();

  constructor(log: EventLog) {
    this.#log = log;
  }

  async bytesOf({ stream, bytes, firstRevision, lastRevision }: StreamInfo): Promise<number> {
    if (bytes !== undefined) return bytes;
    const known = this.#known.get(stream) ?? { sizes: [], first: firstRevision, bytes: 0 };
    this.#known.set(stream, known);
    while (known.first < firstRevision && known.sizes.length > 0) {
      known.bytes -= known.sizes.shift() ?? 0;
      known.first++;
    }
    if (known.sizes.length === 0) known.first = firstRevision;
    const from = known.first + known.sizes.length;
    if (from > lastRevision) return known.bytes;
    for await (const event of this.#log.read(stream, { from })) {
      const size = event.data.length + event.metadata.length;
      known.sizes.push(size);
      known.bytes += size;
    }
    return known.bytes;
  }
}
