import type { Address } from "../core/address.ts";
import { HeadwaterError } from "../core/errors.ts";
import { decodeEvent, decodeEventAs } from "../core/event-codec.ts";
import type { TypedEvent } from "../core/events.ts";
import type { Path } from "../core/path.ts";
import { ROOT_PATH } from "../core/path.ts";
import { sinkStream } from "../core/streams.ts";
import { decodeAccepted, decodeOutlet, type UpstreamRows } from "../engine/outlet-decoder.ts";
import { StepShape } from "../engine/step-shape.ts";
import type { Direction, EventLog } from "../ports/event-log.ts";
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

/** A record in the order of a sink. */
export interface Ordered {
  readonly ordinal: number;
  readonly source: number;
  readonly path: Path;
  readonly address: Address;
}

/** What sinks read, by the claims under which they did. */
const selections = new WeakMap<LineageReader, Map<string, readonly UpstreamSelection[]>>();

/** What a sink read while it was claimed for the `epoch`-th time, and was complete up to `through`. */
export async function upstreamsThen(
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
    const history = await reader.history(pipeline);
    // Where the claim is not kept any more, it was of the version that records were for then.
    const gone = claimed.type !== "SinkClaimed" && claimed.revision > 0;
    const deployed = gone
      ? history.at(through)
      : history.withIdentity(decodeEventAs(claimed, "SinkClaimed").deployment, through);
    const plan = structureOf(deployed, pipeline);
    const planned = plan.sinks.find(({ name }) => name === sink);
    upstreams = planned === undefined ? [] : upstreamsOfSink(plan, planned.upstream, false);
    if (!gone) known.set(`${stream} ${epoch}`, upstreams);
  }
  return upstreams;
}

/**
 * The events of a stream from the one on that has its N-th record, or back from it; none, if that is not there, or not
 * any more.
 */
export async function* eventsFrom(
  { log, reader }: SinkQuery,
  stream: string,
  n: number,
  direction: Direction = "forwards",
): AsyncGenerator<TypedEvent> {
  const revision = n < 0 ? undefined : await reader.revisionOf(stream, n);
  if (revision === undefined) return;
  for await (const recorded of readInSteps(log, stream, revision, direction)) yield decodeEvent(recorded);
}

/** How many records an event has for a sink. */
export function countOf({ from }: UpstreamSelection, { type, data }: TypedEvent): number {
  if (type === "RecordsAccepted" && "source" in from) return data.count;
  const outlet = type === "StepsRecorded" && "outlet" in from ? data.outlets?.[from.outlet] : undefined;
  return type === "StepsRecorded" && outlet !== undefined ? new StepShape(data).stage(outlet.stage).count : 0;
}

/** The records that an event has for a sink, from the N-th on, in logical order. */
export function orderedRows(
  { stream, from, origins }: UpstreamSelection,
  { type, data }: TypedEvent,
  first: number,
): Ordered[] {
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

/** That what a sink delivered is not all kept any more, so that it cannot be told which record is which of its outputs. */
export function deliveryGone({ pipeline, sink }: SinkQuery, n: number, why: string): HeadwaterError {
  return new HeadwaterError(
    "RecordGone",
    "the record that the sink delivered as this one is not kept any more",
    {
      where: `${pipeline}/${sink}#${n}`,
      hint: `${why}: see "How long history is kept" in the README.`,
    },
  );
}
