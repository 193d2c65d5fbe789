import type { Address } from "../core/address.ts";
import { HeadwaterError } from "../core/errors.ts";
import { decodeEvent, decodeEventAs } from "../core/event-codec.ts";
import type { OutputsDelivered } from "../core/events.ts";
import { sinkStream } from "../core/streams.ts";
import type { PlannedSink } from "../pipeline/plan.ts";
import type { Clock } from "../ports/clock.ts";
import type { EventLog } from "../ports/event-log.ts";
import { structureOf } from "./deployed-plan.ts";
import type { DeploymentHistory } from "./deployment-history.ts";
import { MergeReader } from "./merge-reader.ts";
import { upstreamsOfSink } from "./routes.ts";
import { readOne, seekEpoch } from "./seek.ts";

export interface SinkQuery {
  readonly log: EventLog;
  readonly clock: Clock;
  readonly history: DeploymentHistory;
  readonly sink: string;
}

/** Records merged at a time. */
const TOGETHER = 512;

/**
 * The address of the N-th record that a sink has delivered: found by merging once more what one of its events
 * delivered. Throws `RecordNotFound`.
 */
export async function addressOfDelivered(
  query: SinkQuery,
  n: number,
  signal = new AbortController().signal,
): Promise<Address> {
  const delivered = await deliveryOf(query, n);
  for await (const { at, address } of deliveredRecords(query, delivered, signal))
    if (at === n) return address;
  if (signal.aborted) throw new HeadwaterError("Stopped", "stopped before the record was found");
  throw new HeadwaterError("LogDamaged", "a sink says that it delivered more than the log holds", {
    where: `${sinkStream(query.history.pipeline, query.sink)}#${n}`,
  });
}

/** The records of one delivery, in the sink's order. */
export async function* deliveredRecords(
  { log, clock, history, sink }: SinkQuery,
  { first, count, from, through, epoch }: OutputsDelivered,
  signal: AbortSignal,
): AsyncGenerator<{ readonly at: number; readonly address: Address }> {
  const stream = sinkStream(history.pipeline, sink);
  const claim = decodeEventAs(await readOne(log, stream, await seekEpoch(log, stream, epoch)), "SinkClaimed");
  const plan = structureOf(history.withIdentity(claim.deployment, through), history.pipeline);
  const { upstream } = plan.sinks.find(({ name }) => name === sink) as PlannedSink;
  const upstreams = upstreamsOfSink(plan, upstream, false);
  const reader = new MergeReader({
    log,
    clock,
    upstreams,
    cursors: from,
    tickMs: 0,
    through: -1,
    // A delivery may end between records of one ordinal.
    upTo: through + 1,
    firingOrigins: plan.firingOrigins,
  });
  try {
    for (let at = first; at < first + count; ) {
      const batch = await reader.next(Math.min(TOGETHER, first + count - at), signal);
      if (batch === undefined) return;
      const { rows } = batch;
      for (let row = 0; row < rows.count; row++) {
        const from = upstreams[rows.upstreams?.[row] ?? 0]?.stream ?? "";
        const n = rows.parents[row] as number;
        const k = rows.parentKs?.[row] ?? 0;
        yield {
          at: at++,
          address: from.startsWith("source_") ? { stream: from, n } : { stream: from, n, k },
        };
      }
      // There is nothing more to come: the reader would wait for it.
      if (batch.through > through) return;
    }
  } finally {
    reader.stop();
  }
}

/** The event that says of the N-th record that it was delivered. */
async function deliveryOf({ log, history, sink }: SinkQuery, n: number): Promise<OutputsDelivered> {
  const stream = sinkStream(history.pipeline, sink);
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
    where: `${history.pipeline}/${sink}#${n}`,
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
  for await (const recorded of log.read(stream, { direction: "backwards", from: revision })) {
    if (recorded.revision < least) return undefined;
    const { type, data } = decodeEvent(recorded);
    if (type === "OutputsDelivered") return { revision: recorded.revision, event: data };
  }
  return undefined;
}
