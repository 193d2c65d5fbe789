import type { Address } from "../core/address.ts";
import { type OutputsDelivered, TAKEN_OF_GROUP, type TypedEvent } from "../core/events.ts";
import { THROUGH_NOTHING } from "../core/ordinal.ts";
import {
  countOf,
  eventsFrom,
  type Ordered,
  orderedRows,
  type SinkQuery,
  upstreamsThen,
} from "./sink-rows.ts";
import type { UpstreamSelection } from "./upstream-reader.ts";

/**
 * What a sink delivered, found by merging it once more: where its event does not say where each record came from. For
 * that all of it has to be there.
 */

/** The first of the streams of which a delivery has records that are not all kept any more. */
export async function cutStream(
  { reader }: SinkQuery,
  { from, to }: OutputsDelivered,
): Promise<string | undefined> {
  // Of records of one ordinal that were parted, some come at or after the cursor.
  const parted = to[TAKEN_OF_GROUP] !== undefined;
  for (const [stream, n] of Object.entries(from)) {
    if (stream === TAKEN_OF_GROUP || (!parted && n >= (to[stream] ?? n))) continue;
    if (await reader.isGone(stream, n)) return stream;
  }
  return undefined;
}

/** The records of a delivery, in the sink's order. */
export async function mergedRecords(
  query: SinkQuery,
  { count, from, through, epoch }: OutputsDelivered,
): Promise<readonly Address[]> {
  const records: Ordered[] = [];
  for (const selection of await upstreamsThen(query, epoch, through)) {
    const first = from[selection.stream] ?? 0;
    for await (const event of eventsFrom(query, selection.stream, first)) {
      records.push(...orderedRows(selection, event, first));
      // A delivery may end between records of one ordinal.
      if (throughOf(event) > through) break;
    }
  }
  records.sort(inOrder);
  const begin = from[TAKEN_OF_GROUP] ?? 0;
  return records.slice(begin, begin + count).map(({ address }) => address);
}

/**
 * Which of a delivery's records one is: how many of those that it begins with come before it. Events that lie wholly
 * before it are counted, and not looked into. `undefined`: the delivery does not have it.
 */
export async function mergedIndex(
  query: SinkQuery,
  { count, from, through, epoch }: OutputsDelivered,
  address: Address,
): Promise<number | undefined> {
  const upstreams = await upstreamsThen(query, epoch, through);
  const own = upstreams.find(({ stream }) => stream === address.stream);
  const target = own && (await placeInOrder(query, own, address));
  if (target === undefined) return undefined;
  let before = -(from[TAKEN_OF_GROUP] ?? 0);
  for (const selection of upstreams) {
    const begin = from[selection.stream] ?? 0;
    for await (const event of eventsFrom(query, selection.stream, begin)) {
      const at = throughOf(event);
      const whole = "first" in event.data && event.data.first >= begin && at < target.ordinal - 1;
      before += whole
        ? countOf(selection, event)
        : orderedRows(selection, event, begin).filter((row) => inOrder(row, target) < 0).length;
      if (at >= target.ordinal) break;
    }
  }
  return before >= 0 && before < count ? before : undefined;
}

/** Where a record stands in the order of a sink; `undefined`: it does not leave by the outlet that the sink reads. */
async function placeInOrder(
  query: SinkQuery,
  selection: UpstreamSelection,
  { n, k = 0 }: Address,
): Promise<Ordered | undefined> {
  for await (const event of eventsFrom(query, selection.stream, n)) {
    return orderedRows(selection, event, n).find(({ address }) => address.n === n && (address.k ?? 0) === k);
  }
  return undefined;
}

function throughOf({ data }: TypedEvent): number {
  return "through" in data ? data.through : THROUGH_NOTHING;
}

/** Logical order: see "Addresses" in docs/format.md. */
function inOrder(a: Ordered, b: Ordered): number {
  return a.ordinal - b.ordinal || a.source - b.source || (a.path < b.path ? -1 : a.path > b.path ? 1 : 0);
}
