import type { Address } from "../core/address.ts";
import { HeadwaterError } from "../core/errors.ts";
import { LIMITS } from "../core/limits.ts";
import { besideStream } from "../core/streams.ts";
import type { RecordedEvent } from "../ports/event-log.ts";
import type { ForwardReader } from "./lineage-forward.ts";
import type { GonePlace, RecordPlace } from "./lineage-places.ts";
import type { LineageReader } from "./lineage-reader.ts";
import type { Delivered } from "./sink-deliveries.ts";

export interface TraceOptions {
  /** Steps to go at most; all of them if absent. */
  readonly depth?: number;
  /** Records to come by at most. */
  readonly limit?: number;
  /** Aborting it rejects with `Stopped`. */
  readonly signal?: AbortSignal;
}

/** Events that lineage rests on: of one place, or `events` of them from `revision` on. */
export interface EventsAt {
  readonly stream: string;
  readonly revision: number;
  readonly events: number;
}

/** A record on the way, and how many steps it is from the one that was asked for. */
export interface TracedRecord {
  readonly place: RecordPlace | GonePlace;
  readonly depth: number;
}

/** `from` went into `to`. */
export interface TracedEdge {
  readonly from: string;
  readonly to: string;
}

/** What one record came from. */
export interface Trace {
  /** Nearest first, each once, the one that was asked for at the head. */
  readonly records: readonly TracedRecord[];
  /** By address; an edge may lead from a record that is not among `records`, if not all were followed. */
  readonly edges: readonly TracedEdge[];
  /** Records whose events are not there any more. */
  readonly gone: readonly GonePlace[];
  /** Whether there is more behind what `depth` and `limit` let through. */
  readonly cut: boolean;
  /** Every event that says something of these records, each once. */
  readonly events: readonly EventsAt[];
}

/** The way of a record back to the sources, breadth first. */
export async function traceBack(
  reader: LineageReader,
  address: Address,
  { depth = Number.POSITIVE_INFINITY, limit = LIMITS.lineageRecords, signal }: TraceOptions = {},
): Promise<Trace> {
  const start = await reader.locate(address);
  const records: TracedRecord[] = [{ place: start, depth: 0 }];
  const known = new Set([start.address]);
  const edges: TracedEdge[] = [];
  const events = new Map<string, EventsAt>();
  const rests = (range: EventsAt) => events.set(`${range.stream}@${range.revision}`, range);
  const passes = (place: RecordPlace | GonePlace) => {
    if ("passed" in place && place.passed !== undefined) rests({ ...place.passed, events: 1 });
  };
  passes(start);
  let cut = false;
  for (let next = 0; next < records.length; next++) {
    if (signal?.aborted) throw new HeadwaterError("Stopped", "stopped before the lineage was complete");
    const { place, depth: at } = records[next] as TracedRecord;
    if (place.kind === "gone") continue;
    for (const range of eventsOf(place)) rests(range);
    if (!reader.hasParents(place)) continue;
    if (at >= depth) {
      cut = true;
      continue;
    }
    for await (const parent of reader.parents(place)) {
      passes(parent);
      if (!known.has(parent.address)) {
        if (records.length >= limit) {
          cut = true;
          break;
        }
        known.add(parent.address);
        records.push({ place: parent, depth: at + 1 });
      }
      edges.push({ from: parent.address, to: place.address });
    }
  }
  const gone = records.flatMap(({ place }) => (place.kind === "gone" ? [place] : []));
  return { records, edges, gone, cut, events: [...events.values()] };
}

function eventsOf(place: RecordPlace): EventsAt[] {
  const own = { ...placeOf(place.recorded), events: 1 };
  if (place.kind === "quarantined") return [own, { ...placeOf(place.input.recorded), events: 1 }];
  if (place.kind !== "result" || place.at.stage !== 0) return [own];
  const { membersIn } = place.graph.event.stages?.[0] ?? {};
  if (membersIn === undefined) return [own];
  return [own, { stream: besideStream(place.stream, "members"), ...membersIn }];
}

function placeOf({ stream, revision }: RecordedEvent): {
  readonly stream: string;
  readonly revision: number;
} {
  return { stream, revision };
}

/** What one record went into. */
export interface ForwardTrace extends Omit<Trace, "events"> {
  /** By address, why a record has not gone on, or not everywhere. */
  readonly ends: ReadonlyMap<string, readonly string[]>;
  /** Whether where some of them went to is not kept any more. */
  readonly lost: boolean;
  /** Deliveries by sinks, each under the address `PIPELINE/SINK#N`. */
  readonly deliveries: ReadonlyMap<string, Delivered>;
}

/** The way of a record to the sinks, or to where it has come; breadth first. */
export async function traceForward(
  reader: LineageReader,
  forward: ForwardReader,
  address: Address,
  { depth = Number.POSITIVE_INFINITY, limit = LIMITS.lineageRecords, signal }: TraceOptions = {},
): Promise<ForwardTrace> {
  const start = await reader.locate(address);
  const records: TracedRecord[] = [{ place: start, depth: 0 }];
  const known = new Set([start.address]);
  const edges: TracedEdge[] = [];
  const ends = new Map<string, string[]>();
  const deliveries = new Map<string, Delivered>();
  let cut = false;
  let lost = false;
  for (let next = 0; next < records.length; next++) {
    const { place, depth: at } = records[next] as TracedRecord;
    if (place.kind === "gone") continue;
    if (at >= depth) {
      cut = true;
      continue;
    }
    const reasons = new Set<string>();
    for await (const step of forward.next(place)) {
      if (signal?.aborted) throw new HeadwaterError("Stopped", "stopped before the lineage was complete");
      if (step.kind === "end") {
        reasons.add(step.reason);
        lost ||= step.gone ?? false;
        continue;
      }
      const to =
        step.kind === "record"
          ? step.place.address
          : `${step.delivered.pipeline}/${step.delivered.sink}#${step.delivered.n}`;
      if (step.kind === "delivery") deliveries.set(to, step.delivered);
      else if (!known.has(to)) {
        if (records.length >= limit) {
          cut = true;
          break;
        }
        known.add(to);
        records.push({ place: step.place, depth: at + 1 });
      }
      edges.push({ from: place.address, to });
    }
    if (reasons.size > 0) ends.set(place.address, [...reasons]);
  }
  const gone = records.flatMap(({ place }) => (place.kind === "gone" ? [place] : []));
  return { records, edges, gone, cut, ends, lost, deliveries };
}
