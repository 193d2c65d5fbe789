import type { Address } from "../core/address.ts";
import { HeadwaterError } from "../core/errors.ts";
import { decodeEvent } from "../core/event-codec.ts";
import type { OutputsDelivered } from "../core/events.ts";
import { sinkStream } from "../core/streams.ts";
import { DeliveredOrder, type DeliveredPlace } from "../engine/delivered-order.ts";
import type { EventLog } from "../ports/event-log.ts";
import { readInSteps } from "./seek.ts";
import { cutStream, mergedIndex, mergedRecords } from "./sink-merging.ts";
import {
  countOf,
  deliveryGone,
  eventsFrom,
  type Ordered,
  orderedRows,
  type SinkQuery,
  upstreamsThen,
} from "./sink-rows.ts";
import type { UpstreamSelection } from "./upstream-reader.ts";

/**
 * The address of the N-th record that a sink has delivered. Where its event says where each record came from, nothing
 * has to be there but the record and what came after it. Throws `RecordNotFound`, and `RecordGone`.
 */
export async function addressOfDelivered(query: SinkQuery, n: number): Promise<Address> {
  const delivered = await deliveryOf(query, n);
  const index = n - delivered.first;
  const place = DeliveredOrder.of(delivered)?.placeOf(index);
  const cut = place === undefined ? await cutStream(query, delivered) : undefined;
  if (cut !== undefined) throw deliveryGone(query, n, `${cut} begins behind what was delivered with it`);
  const address =
    place === undefined
      ? (await mergedRecords(query, delivered))[index]
      : await addressAt(query, delivered, place);
  if (address !== undefined) return address;
  const stream = place?.stream;
  const info = stream === undefined ? undefined : await query.log.streamInfo(stream);
  if (info !== undefined && info.firstRevision > 0) {
    throw deliveryGone(
      query,
      n,
      `The events of ${stream} below revision ${info.firstRevision} were let go of`,
    );
  }
  throw new HeadwaterError("LogDamaged", "a sink says that it delivered more than the log holds", {
    where: `${query.pipeline}/${query.sink}#${n}`,
  });
}

/**
 * Which of a sink's outputs a record is, if this delivery has it. `gone`: it cannot be told any more, as not all that
 * was delivered with it is there.
 */
export async function placeInDelivery(
  query: SinkQuery,
  delivered: OutputsDelivered,
  address: Address,
): Promise<number | "gone" | undefined> {
  if (address.n < (delivered.from[address.stream] ?? Number.POSITIVE_INFINITY)) return undefined;
  const order = DeliveredOrder.of(delivered);
  if (order === undefined && (await cutStream(query, delivered)) !== undefined) return "gone";
  const place = order && (await placeOf(query, delivered, address));
  const index =
    order === undefined ? await mergedIndex(query, delivered, address) : place && order.indexOf(place);
  return index === undefined ? undefined : delivered.first + index;
}

/** The record at a place; `undefined`: it is not there. */
async function addressAt(
  query: SinkQuery,
  delivered: OutputsDelivered,
  { stream, side, rank }: DeliveredPlace,
): Promise<Address | undefined> {
  const selection = await selectionOf(query, delivered, stream);
  if (selection === undefined) return undefined;
  const cursor = delivered.to[stream] ?? 0;
  let left = rank;
  if (side === "after") {
    for await (const event of eventsFrom(query, stream, cursor)) {
      const rows = orderedRows(selection, event, cursor);
      if (left < rows.length) return rows[left]?.address;
      left -= rows.length;
    }
    return undefined;
  }
  for await (const event of eventsFrom(query, stream, cursor - 1, "backwards")) {
    if (!("count" in event.data) || event.data.count === 0) continue;
    const whole = event.data.first + event.data.count <= cursor;
    const count = whole ? countOf(selection, event) : 0;
    if (whole && count <= left) {
      left -= count;
      continue;
    }
    const rows = orderedRows(selection, event, 0).filter(({ address }) => address.n < cursor);
    if (left < rows.length) return rows[rows.length - 1 - left]?.address;
    left -= rows.length;
  }
  return undefined;
}

/** The place of a record; `undefined`: the sink does not read it, or it is not there any more. */
async function placeOf(
  query: SinkQuery,
  delivered: OutputsDelivered,
  { stream, n, k = 0 }: Address,
): Promise<DeliveredPlace | undefined> {
  const selection = await selectionOf(query, delivered, stream);
  if (selection === undefined) return undefined;
  const cursor = delivered.to[stream] ?? 0;
  const isIt = ({ address }: Ordered) => address.n === n && (address.k ?? 0) === k;
  const side = n < cursor ? "before" : "after";
  let rank = 0;
  let found = false;
  for await (const event of eventsFrom(query, stream, Math.min(n, Math.max(cursor, 0)))) {
    const rows = orderedRows(selection, event, side === "before" ? 0 : cursor);
    const at = rows.findIndex(isIt);
    if (side === "after") {
      if (at >= 0) return { stream, side, rank: rank + at };
      rank += rows.length;
      if ("first" in event.data && event.data.first > n) return undefined;
      continue;
    }
    // The record is in the first of these events that has some.
    if (!found && at < 0) return undefined;
    rank += rows.filter(({ address }, row) => (found || row > at) && address.n < cursor).length;
    found = true;
    if ("count" in event.data && event.data.first + event.data.count >= cursor) break;
  }
  return found ? { stream, side, rank } : undefined;
}

async function selectionOf(
  query: SinkQuery,
  { epoch, through }: OutputsDelivered,
  stream: string,
): Promise<UpstreamSelection | undefined> {
  return (await upstreamsThen(query, epoch, through)).find((selection) => selection.stream === stream);
}

/** The event that says of the N-th record that it was delivered. */
async function deliveryOf(query: SinkQuery, n: number): Promise<OutputsDelivered> {
  const { log, pipeline, sink } = query;
  const stream = sinkStream(pipeline, sink);
  const info = await log.streamInfo(stream);
  let most = 0;
  let least = Number.POSITIVE_INFINITY;
  if (info !== undefined && info.lastRevision >= info.firstRevision) {
    const quick = await halving(log, stream, info.firstRevision, info.lastRevision, n);
    if (quick !== undefined && holds(quick, n)) return quick;
    // To another target a sink counts anew, so that the events do not ascend; the latest that has it counts.
    for await (const recorded of log.read(stream, { direction: "backwards" })) {
      const { type, data } = decodeEvent(recorded);
      if (type !== "OutputsDelivered") continue;
      if (holds(data, n)) return data;
      most = Math.max(most, data.first + data.count);
      least = Math.min(least, data.first);
    }
  }
  if (n < least && (n < most || most === 0) && (info?.firstRevision ?? 0) > 0) {
    const known = most === 0 ? "nothing is" : `#${least} to #${most - 1} are`;
    throw deliveryGone(query, n, `Of what it has delivered ${known} known`);
  }
  throw new HeadwaterError("RecordNotFound", "the sink has not delivered such a record", {
    where: `${pipeline}/${sink}#${n}`,
    hint: most === 0 ? "It has not delivered anything." : `It has delivered #0 to #${most - 1}.`,
  });
}

function holds({ first, count }: OutputsDelivered, n: number): boolean {
  return first <= n && n < first + count;
}

/** The last delivery that begins at `n` at most, if the stream's deliveries ascend. */
async function halving(
  log: EventLog,
  stream: string,
  first: number,
  last: number,
  n: number,
): Promise<OutputsDelivered | undefined> {
  let low = first;
  let high = last;
  let best: OutputsDelivered | undefined;
  while (low <= high) {
    const middle = Math.floor((low + high) / 2);
    const found = await deliveryUpTo(log, stream, middle, low);
    if (found === undefined) low = middle + 1;
    else if (found.event.first <= n) {
      best = found.event;
      low = middle + 1;
    } else high = found.revision - 1;
  }
  return best;
}

/** The last delivery at or before a revision, not before `least`. */
async function deliveryUpTo(log: EventLog, stream: string, revision: number, least: number) {
  for await (const recorded of readInSteps(log, stream, revision, "backwards")) {
    if (recorded.revision < least) return undefined;
    const { type, data } = decodeEvent(recorded);
    if (type === "OutputsDelivered") return { revision: recorded.revision, event: data };
  }
  return undefined;
}
