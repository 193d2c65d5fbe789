import type { Address } from "../core/address.ts";
import { HeadwaterError } from "../core/errors.ts";
import { decodeEvent, decodeEventAs } from "../core/event-codec.ts";
import { type OutputsDelivered, TAKEN_OF_GROUP, type TypedEvent } from "../core/events.ts";
import { THROUGH_NOTHING } from "../core/ordinal.ts";
import { type Path, ROOT_PATH } from "../core/path.ts";
import { sinkStream } from "../core/streams.ts";
import { decodeAccepted, decodeOutlet, type UpstreamRows } from "../engine/outlet-decoder.ts";
import { StepShape } from "../engine/step-shape.ts";
import type { EventLog } from "../ports/event-log.ts";
import { structureOf } from "./deployed-plan.ts";
import type { LineageReader } from "./lineage-reader.ts";
import { upstreamsOfSink } from "./routes.ts";
import { readInSteps, readOne, seekEpoch } from "./seek.ts";
import type { UpstreamSelection } from "./upstream-reader.ts";

export interface SinkQuery {
  readonly log: EventLog;
  readonly reader: LineageReader;
  readonly pipeline: string;
  readonly sink: string;
}

/**
 * The address of the N-th record that a sink has delivered: found by merging once more what one of its events
 * delivered. Throws `RecordNotFound`, and `RecordGone`.
 */
export async function addressOfDelivered(query: SinkQuery, n: number): Promise<Address> {
  const delivered = await deliveryOf(query, n);
  const address = (await deliveredRecords(query, delivered))[n - delivered.first];
  if (address !== undefined) return address;
  const where = `${query.pipeline}/${query.sink}#${n}`;
  for (const stream of Object.keys(delivered.from)) {
    const info = stream === TAKEN_OF_GROUP ? undefined : await query.log.streamInfo(stream);
    if (info === undefined || info.firstRevision === 0) continue;
    throw new HeadwaterError(
      "RecordGone",
      `what the sink delivered then is not all kept any more: ${stream}`,
      {
        where,
        hint: `Its events below revision ${info.firstRevision} have been let go of.`,
      },
    );
  }
  throw new HeadwaterError("LogDamaged", "a sink says that it delivered more than the log holds", { where });
}

/** A record in the order of a sink. */
interface Ordered {
  readonly ordinal: number;
  readonly source: number;
  readonly path: Path;
  readonly address: Address;
}

/** The records of one delivery, in the sink's order; fewer, if they are not all kept any more. */
async function deliveredRecords(query: SinkQuery, delivered: OutputsDelivered): Promise<readonly Address[]> {
  const { count, from, through, epoch } = delivered;
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
 * Which of a sink's outputs a record is, if this delivery has it: how many of the records that the delivery begins with
 * come before it. Events that lie wholly before it are counted, and not looked into.
 */
export async function placeInDelivery(
  query: SinkQuery,
  { first, count, from, through, epoch }: OutputsDelivered,
  address: Address,
): Promise<number | undefined> {
  const upstreams = await upstreamsThen(query, epoch, through);
  const own = upstreams.find(({ stream }) => stream === address.stream);
  if (own === undefined || address.n < (from[own.stream] ?? 0)) return undefined;
  const target = await orderOf(query, own, address);
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
  return before >= 0 && before < count ? first + before : undefined;
}

/** Where a record stands in the order of a sink; `undefined`: it does not leave by the outlet that the sink reads. */
async function orderOf(
  query: SinkQuery,
  selection: UpstreamSelection,
  { n, k = 0 }: Address,
): Promise<Ordered | undefined> {
  for await (const event of eventsFrom(query, selection.stream, n)) {
    return orderedRows(selection, event, n).find(({ address }) => address.n === n && (address.k ?? 0) === k);
  }
  return undefined;
}

/** The events of a stream from the one on that has its N-th record; none, if that is not there, or not any more. */
async function* eventsFrom(
  { log, reader }: SinkQuery,
  stream: string,
  n: number,
): AsyncGenerator<TypedEvent> {
  const revision = await reader.revisionOf(stream, n);
  if (revision === undefined) return;
  for await (const recorded of readInSteps(log, stream, revision, "forwards")) yield decodeEvent(recorded);
}

function throughOf({ data }: TypedEvent): number {
  return "through" in data ? data.through : THROUGH_NOTHING;
}

/** How many records an event has for a sink. */
function countOf({ from }: UpstreamSelection, { type, data }: TypedEvent): number {
  if (type === "RecordsAccepted" && "source" in from) return data.count;
  const outlet = type === "StepsRecorded" && "outlet" in from ? data.outlets?.[from.outlet] : undefined;
  return type === "StepsRecorded" && outlet !== undefined ? new StepShape(data).stage(outlet.stage).count : 0;
}

/** What sinks read, by the claims under which they did. */
const selections = new WeakMap<LineageReader, Map<string, readonly UpstreamSelection[]>>();

/** What a sink read while it was claimed for the `epoch`-th time. */
async function upstreamsThen(
  { log, reader, pipeline, sink }: SinkQuery,
  epoch: number,
  through: number,
): Promise<readonly UpstreamSelection[]> {
  const known = selections.get(reader) ?? new Map<string, readonly UpstreamSelection[]>();
  selections.set(reader, known);
  const stream = sinkStream(pipeline, sink);
  let upstreams = known.get(`${stream} ${epoch}`);
  if (upstreams === undefined) {
    const claimed = await readOne(log, stream, await seekEpoch(log, stream, epoch));
    if (claimed.type !== "SinkClaimed" && claimed.revision > 0) {
      throw new HeadwaterError("RecordGone", "which records a sink delivered then is not kept any more", {
        where: `${stream}@${claimed.revision}`,
        hint: "Ask for the record by its address, or by one of a later output.",
      });
    }
    const { deployment } = decodeEventAs(claimed, "SinkClaimed");
    const history = await reader.history(pipeline);
    const plan = structureOf(history.withIdentity(deployment, through), pipeline);
    const planned = plan.sinks.find(({ name }) => name === sink);
    upstreams = planned === undefined ? [] : upstreamsOfSink(plan, planned.upstream, false);
    known.set(`${stream} ${epoch}`, upstreams);
  }
  return upstreams;
}

function orderedRows(
  { stream, from, origins }: UpstreamSelection,
  event: TypedEvent,
  first: number,
): Ordered[] {
  const { type, data } = event;
  let rows: UpstreamRows | undefined;
  if (type === "RecordsAccepted" && "source" in from) rows = decodeAccepted(data, from.source, undefined);
  if (type === "StepsRecorded" && "outlet" in from)
    rows = decodeOutlet(data, from.outlet, origins, undefined);
  const found: Ordered[] = [];
  for (const [row, n] of rows?.ns.entries() ?? []) {
    if (rows === undefined || n < first) continue;
    found.push({
      ordinal: rows.ordinals[row] as number,
      source: rows.sources?.[row] ?? rows.source,
      path: rows.paths?.[row] ?? ROOT_PATH,
      address: stream.startsWith("source_") ? { stream, n } : { stream, n, k: rows.ks?.[row] ?? 0 },
    });
  }
  return found;
}

/** Logical order: see "Addresses" in docs/format.md. */
function inOrder(a: Ordered, b: Ordered): number {
  return a.ordinal - b.ordinal || a.source - b.source || (a.path < b.path ? -1 : a.path > b.path ? 1 : 0);
}

/** The event that says of the N-th record that it was delivered. */
async function deliveryOf({ log, pipeline, sink }: SinkQuery, n: number): Promise<OutputsDelivered> {
  const stream = sinkStream(pipeline, sink);
  const info = await log.streamInfo(stream);
  let most = 0;
  if (info !== undefined && info.lastRevision >= info.firstRevision) {
    const quick = await halving(log, stream, info.firstRevision, info.lastRevision, n);
    if (quick !== undefined && holds(quick, n)) return quick;
    // To another target a sink counts anew, so that the events do not ascend; the latest that has it counts.
    for await (const recorded of log.read(stream, { direction: "backwards" })) {
      const { type, data } = decodeEvent(recorded);
      if (type !== "OutputsDelivered") continue;
      if (holds(data, n)) return data;
      most = Math.max(most, data.first + data.count);
    }
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
