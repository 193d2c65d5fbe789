import { parseUnitStream } from "../core/address.ts";
import type { Value } from "../core/canonical.ts";
import { decodeDeltas, decodeTexts } from "../core/columns.ts";
import { toHex } from "../core/digest.ts";
import { decodeEventAs } from "../core/event-codec.ts";
import type { RecordsAccepted } from "../core/events.ts";
import type { Members } from "../engine/members.ts";
import {
  type AcceptedPlace,
  type FiringPlace,
  type GonePlace,
  type QuarantinedPlace,
  type RecordPlace,
  type ResultPlace,
  stagesOf,
} from "./lineage-places.ts";
import type { LineageReader } from "./lineage-reader.ts";
import { decodeRecord, goneReason, type LineageValues } from "./lineage-values.ts";
import type { Delivered } from "./sink-deliveries.ts";

/** A record and the step that made it. What is not known, or not so for its kind, is `null`. */
export interface LineageVertex {
  /**
   * `source_P.S@N`, `steps_P.G.Q@N.K/T`, of a firing `steps_P.G.Q@N`, of a delivery `P/SINK#N`, of a record that a stage
   * failed at `quarantine_P.G.Q@N.K/T`, that a source rejected `quarantine_P.S@I`, that was put back `retry_P@I`.
   */
  readonly address: string;
  /**
   * `source`, the kind of the stage that made it, `firing`, `sink`, `quarantined`, `rejected`, `retry`, or `gone`: its
   * event has been let go of.
   */
  readonly kind: string;
  /** The source or stage. */
  readonly stage: string | null;
  /** The node that did the step. */
  readonly node: string | null;
  /** The deployment's identity in hex, and which version of the pipeline it is. */
  readonly deployment: string | null;
  readonly version: number | null;
  /** SHA-256, in hex, of the source text of the stage's functions. */
  readonly function: string | null;
  /** When the step was recorded, and the record's event time: milliseconds since 1970. */
  readonly time: number | null;
  readonly eventTime: number | null;
  readonly ordinal: number | null;
  /** Digests, in hex, of the record that the stage took, and of this one. Of several records taken there is no one before. */
  readonly before: string | null;
  readonly after: string | null;
  /** Addresses under which it leaves its segment. */
  readonly outputs: readonly string[];
  /** The sender's own id. */
  readonly id: string | null;
  /** The name of the input that it was read from. */
  readonly input: string | null;
  /** At a split or route: the output that it goes to. */
  readonly label: string | null;
  /** At a window or join: `on-time`, `early`, `late` or `end`, and how many records it was made of. */
  readonly firing: string | null;
  readonly members: number | null;
  /** The record; `null` also where it is not known: then `reason` says why. */
  readonly value: Value;
  /** Whether there is a value: it may be null itself. */
  readonly hasValue: boolean;
  /** Whether there was a value, and nobody can have it any more: it is not stored, and cannot be made again. */
  readonly lost: boolean;
  /** Whether the value is not stored but was made again, by the deployed code. */
  readonly recomputed: boolean;
  /** Why the way ends here, the value is not there, or the record was refused. */
  readonly reason: string | null;
}

const NOTHING = {
  stage: null,
  node: null,
  deployment: null,
  version: null,
  function: null,
  time: null,
  eventTime: null,
  ordinal: null,
  before: null,
  after: null,
  outputs: [],
  id: null,
  input: null,
  label: null,
  firing: null,
  members: null,
} as const;

/** All that the log says of a record and of the step that made it. */
export async function describeRecord(
  reader: LineageReader,
  values: LineageValues | undefined,
  place: RecordPlace | GonePlace,
): Promise<LineageVertex> {
  const known = await fieldsOf(reader, place);
  const { address } = place;
  const after = await reader.digestOf(place);
  const kind = place.kind === "result" ? place.stage.kind : place.kind;
  const base = { ...NOTHING, ...known, address, kind, after: after === undefined ? null : toHex(after) };
  const silent = { ...base, value: null, hasValue: false, lost: false, recomputed: false };
  if (place.kind === "gone") return { ...silent, lost: true, reason: goneReason(place) };
  const refused = refusalOf(place);
  if (values === undefined || place.kind === "firing") {
    return { ...silent, reason: place.kind === "firing" ? "a firing: nothing came in" : refused };
  }
  const found = await values.valueOf(place);
  if (found.kind === "none") {
    const { reason, lost } = found;
    return { ...silent, lost, reason: refused === null ? reason : `${refused}; ${reason}` };
  }
  return {
    ...base,
    value: decodeRecord(found.bytes, address),
    hasValue: true,
    lost: false,
    recomputed: found.kind === "recomputed",
    reason: refused,
  };
}

/** Why a record was refused; `null`: it was not. */
function refusalOf(place: RecordPlace): string | null {
  if (place.kind === "quarantined") return `quarantined at ${place.record.stage}: ${place.record.message}`;
  return place.kind === "rejected" ? `rejected: ${place.record.message}` : null;
}

async function fieldsOf(
  reader: LineageReader,
  place: RecordPlace | GonePlace,
): Promise<Partial<LineageVertex>> {
  switch (place.kind) {
    case "gone":
      return NOTHING;
    case "source":
      return acceptedFields(place);
    case "retry":
      return { time: place.event.wall };
    case "rejected": {
      const { wall } = decodeEventAs(place.recorded, "RecordsRejected");
      const unit = parseUnitStream(place.unit);
      return { stage: unit?.kind === "source" ? unit.source : null, time: wall, input: place.record.input };
    }
    case "quarantined":
      return quarantinedFields(place);
    default:
      return stepFields(reader, place);
  }
}

function quarantinedFields({ record, input, deployed, n }: QuarantinedPlace): Partial<LineageVertex> {
  const { event } = input.graph;
  const stage = stagesOf(deployed, input.stage.segment).find(({ name }) => name === record.stage);
  const { ordinal, time } = input.graph.input(n - event.first);
  return {
    stage: record.stage,
    node: event.node,
    deployment: toHex(deployed.deployment),
    version: deployed.version,
    function: stage === undefined ? null : toHex(stage.digest),
    time: event.wall,
    eventTime: record.firing?.time ?? time ?? null,
    ordinal,
  };
}

/** A delivery by a sink, in the form of a vertex. */
export function describeDelivery(
  address: string,
  { sink, node, time, ordinal, target }: Delivered,
): LineageVertex {
  return {
    ...NOTHING,
    address,
    kind: "sink",
    stage: sink,
    node,
    time,
    ordinal,
    value: null,
    hasValue: false,
    lost: false,
    recomputed: false,
    reason: `delivered to ${target}`,
  };
}

function acceptedFields({ stream, event, row, deployed }: AcceptedPlace) {
  const unit = parseUnitStream(stream);
  const name = unit?.kind === "source" ? unit.source : "";
  const source = deployed.sources.find((other) => other.name === name);
  const { ids, ordinals, times } = columnsOf(event);
  return {
    stage: name,
    node: event.node,
    deployment: toHex(deployed.deployment),
    version: deployed.version,
    function: source === undefined ? null : toHex(source.digest),
    time: event.wall,
    eventTime: times?.[row] ?? null,
    ordinal: ordinals?.[row] ?? null,
    id: ids?.[row] ?? null,
    input: event.input?.name ?? null,
  };
}

interface AcceptedColumns {
  readonly ids: readonly string[] | undefined;
  readonly ordinals: readonly number[] | undefined;
  readonly times: readonly number[] | undefined;
}

/** Many records of one event are described, one after the other. */
const acceptedColumns = new WeakMap<RecordsAccepted, AcceptedColumns>();

function columnsOf(event: RecordsAccepted): AcceptedColumns {
  let columns = acceptedColumns.get(event);
  if (columns === undefined) {
    const { ids, ordinals, times, count } = event;
    columns = {
      ids: ids && decodeTexts(ids, count),
      ordinals: ordinals && decodeDeltas(ordinals, count),
      times: times && decodeDeltas(times, count),
    };
    acceptedColumns.set(event, columns);
  }
  return columns;
}

async function stepFields(reader: LineageReader, place: ResultPlace | FiringPlace) {
  const { graph, deployed, stream, n, stage } = place;
  const { event } = graph;
  const input = graph.input(n - event.first);
  const fields = {
    stage: stage.name,
    node: event.node,
    deployment: toHex(deployed.deployment),
    version: deployed.version,
    function: toHex(stage.digest),
    time: event.wall,
    eventTime: input.time ?? null,
    ordinal: input.ordinal,
  };
  if (place.kind === "firing") return fields;
  const members = await reader.membersOf(place);
  const before = await digestBefore(reader, place, members);
  return {
    ...fields,
    before: before === undefined ? null : toHex(before),
    outputs: graph.outputsOf(place.at).map((k) => `${stream}@${n}.${k}`),
    label: graph.label(place.at) ?? null,
    ...(members !== undefined && { firing: graph.resultKind(place.at), members: countOf(members) }),
  };
}

async function digestBefore(reader: LineageReader, place: ResultPlace, members: Members | undefined) {
  const [first, count] = members ?? [];
  if (members === undefined) return reader.digestOf(await reader.ahead(place));
  if (first === undefined || count !== 1 || members.length > 2) return undefined;
  return reader.digestOf(await reader.locate({ stream: place.stream, n: first }));
}

/** How many N's a set of members has. */
function countOf(members: Members): number {
  let count = 0;
  for (let at = 1; at < members.length; at += 2) count += members[at] as number;
  return count;
}
