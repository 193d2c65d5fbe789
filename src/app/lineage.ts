import { HeadwaterError } from "../core/errors.ts";
import { LIMITS } from "../core/limits.ts";
import type { EventLog } from "../ports/event-log.ts";
import { createSurroundings, type Surroundings } from "../runtime/compose.ts";
import { ForwardReader } from "../runtime/lineage-forward.ts";
import { LineageReader } from "../runtime/lineage-reader.ts";
import { Recomputation } from "../runtime/lineage-recompute.ts";
import { type ForwardTrace, type Trace, traceBack, traceForward } from "../runtime/lineage-trace.ts";
import { LineageValues } from "../runtime/lineage-values.ts";
import { describeDelivery, describeRecord, type LineageVertex } from "../runtime/lineage-vertices.ts";
import type { LineageView } from "../runtime/lineage-view.ts";
import { latestWithId, resolveRecord } from "../runtime/record-address.ts";
import { SinkDeliveries } from "../runtime/sink-deliveries.ts";
import { withLineageView } from "./lineage-index.ts";
import type { Lineage, LineageRequest } from "./lineage-types.ts";
import { readLog } from "./read-log.ts";

type Outside = Pick<Surroundings, "clock" | "bundler">;
type Question = Omit<LineageRequest, "log">;

/**
 * Where a record came from, or what it went into: `headwater lineage`. Throws `BadUsage`, `RecordNotFound`, `RecordGone`,
 * `UnknownPipeline`, `UnknownSource`, `UnknownSink`, `ViewBehind`, `OutputFailed` where the index cannot be kept, and
 * what the log throws.
 */
export async function lineage(request: LineageRequest): Promise<Lineage> {
  const surroundings = createSurroundings();
  return readLog(request.log, (log) => {
    if (!request.forward) return lineageBack(surroundings, log, request);
    return withLineageView(request.log, log, request, (view) =>
      lineageForward(surroundings, log, view, request),
    );
  });
}

/** Where a record came from, in a log that is open. */
export async function lineageBack(outside: Outside, log: EventLog, question: Question): Promise<Lineage> {
  const { reader, values, address } = await begin(outside, log, question);
  return describe(reader, values, await traceBack(reader, address, question));
}

/** What a record went into, in a log that is open and by a view that has come to its end. */
export async function lineageForward(
  outside: Outside,
  log: EventLog,
  view: LineageView,
  question: Question,
): Promise<Lineage> {
  const { reader, values, address } = await begin(outside, log, question, view);
  const deliveries = new SinkDeliveries(log, reader);
  const forward = new ForwardReader({ log, reader, index: view, deliveries });
  const trace = await traceForward(reader, forward, address, question);
  return describe(reader, values, within(trace, question.limit));
}

/** Records and deliveries together are at most so many: those that were come by first. */
function within(trace: ForwardTrace, limit: number = LIMITS.lineageRecords): ForwardTrace {
  const { records, deliveries, edges } = trace;
  if (records.length + deliveries.size <= limit) return trace;
  const [asked] = records;
  const all = new Set([...(asked === undefined ? [] : [asked.place.address]), ...edges.map(({ to }) => to)]);
  const shown = new Set([...all].slice(0, limit));
  const left = records.filter(({ place }) => shown.has(place.address));
  return {
    ...trace,
    records: left,
    gone: left.flatMap(({ place }) => (place.kind === "gone" ? [place] : [])),
    deliveries: new Map([...deliveries].filter(([address]) => shown.has(address))),
    edges: edges.filter(({ from, to }) => shown.has(from) && shown.has(to)),
    cut: true,
  };
}

async function begin(
  { clock, bundler }: Outside,
  log: EventLog,
  { record, signal, recompute = true }: Question,
  view?: LineageView,
) {
  const reader = new LineageReader(log, bundler);
  const signed = signal === undefined ? {} : { signal };
  const findId = view && ((stream: string, id: string) => latestWithId(log, view, stream, id));
  const address = await resolveRecord({ log, reader, ...signed, ...(findId && { findId }) }, record);
  const recomputation = recompute ? new Recomputation({ log, clock, reader, ...signed }) : undefined;
  const values = new LineageValues({ log, reader, ...(recomputation && { recomputation }) });
  return { reader, values, address };
}

async function describe(
  reader: LineageReader,
  values: LineageValues,
  trace: Trace | ForwardTrace,
): Promise<Lineage> {
  const vertices: LineageVertex[] = [];
  const ends = "ends" in trace ? trace.ends : undefined;
  for (const { place } of trace.records) {
    const vertex = await describeRecord(reader, values, place);
    const reasons = [
      ...(vertex.reason === null ? [] : [vertex.reason]),
      ...(ends?.get(vertex.address) ?? []),
    ];
    vertices.push(reasons.length === 0 ? vertex : { ...vertex, reason: reasons.join("; ") });
  }
  if ("deliveries" in trace) {
    for (const [address, delivered] of trace.deliveries) vertices.push(describeDelivery(address, delivered));
  }
  const [asked] = vertices;
  if (asked?.kind === "gone") {
    throw new HeadwaterError("RecordGone", `the record is not kept any more: ${asked.reason}`, {
      where: asked.address,
      hint: "What was made of it may still be there: ask for one of its outputs.",
    });
  }
  return {
    record: asked?.address ?? "",
    value: asked?.value ?? null,
    recomputed: asked?.recomputed ?? false,
    complete: !vertices.some(({ lost }) => lost) && !("lost" in trace && trace.lost),
    cut: trace.cut,
    vertices,
    edges: trace.edges,
  };
}
