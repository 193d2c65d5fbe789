import {
  type Cursors,
  type InputProgress,
  type OutputsPrepared,
  TAKEN_OF_GROUP,
} from "../src/core/events.ts";
import { isForkStream, isRetryStream } from "../src/core/streams.ts";
import { type AuditedEvent, fail, sinkTaker, type Tally } from "./audit.ts";
import type { EventsBeside } from "./events-beside.ts";
import type { IntervalSet } from "./interval-set.ts";
import type { KeptStreams } from "./kept-streams.ts";
import type { PutBackRecords } from "./put-back.ts";
import type { TakenRecords } from "./taken-records.ts";

/** What the check of conservation knows at one place of the log. */
export interface ConservationState extends Tally {
  readonly pipeline: string | undefined;
  readonly counts: Counts;
  readonly gone: Record<"accepted" | "inputs" | "delivered", number>;
  readonly uncounted: string[];
  readonly kept: KeptStreams;
  readonly taken: TakenRecords;
  readonly putBack: PutBackRecords;
  readonly beside: EventsBeside;
  /** Doors, partitions, sinks' targets and streams of retries, by their names as takers. */
  readonly units: Map<string, Unit>;
  /** By the stream of a sink: the target that it delivered to last, and who it is. */
  readonly sinks: Map<string, SinkOwner>;
  /** By the stream of a sink, and the target. */
  readonly targets: Map<string, TargetState>;
  /** By the stream of a source: how much was taken of the input that it reads. */
  readonly inputs: Map<string, InputProgress | undefined>;
  /** By the stream of a quarantine: which of its records were decided about. */
  readonly decided: Map<string, IntervalSet>;
}

/** What became of the records. */
type Counts = Record<
  | "accepted"
  | "rejected"
  | "steps"
  | "filtered"
  | "aggregated"
  | "quarantined"
  | "late"
  | "retried"
  | "discarded"
  | "delivered"
  | "pending",
  number
>;

interface SinkOwner {
  readonly taker: string;
  readonly deployment: Uint8Array | undefined;
}

/** How far a unit is. */
export interface Unit {
  /** The N, or I, that is next. */
  next: number;
  through: number;
  /** The cursors that the next event has to begin with; `undefined`: not known. */
  cursors: Cursors | undefined;
  deployment: Uint8Array | undefined;
}

/** What was said of a target's content, and is to be handed over next. */
export interface TargetState {
  readonly bytes: number;
  readonly part: string | undefined;
  /** Of which it is not known yet whether it was handed over. */
  readonly prepared: OutputsPrepared | undefined;
}

export interface Extent {
  readonly first: number;
  readonly through: number;
}

/** Counts what became of records in a stream. Those of replays, which have streams of their own, are none of the pipeline's. */
export function addTo(
  { counts }: Pick<ConservationState, "counts">,
  stream: string,
  what: keyof Counts,
  by: number,
): void {
  if (!isForkStream(stream)) counts[what] += by;
}

export function noCounts(): Counts {
  return {
    accepted: 0,
    rejected: 0,
    steps: 0,
    filtered: 0,
    aggregated: 0,
    quarantined: 0,
    late: 0,
    retried: 0,
    discarded: 0,
    delivered: 0,
    pending: 0,
  };
}

/** Counts what was let go of before an event. */
export function countGone(state: ConservationState, { stream, typed }: AuditedEvent): void {
  const count = (what: keyof ConservationState["gone"], at: Pick<Extent, "first">, unit?: string) => {
    const gone = state.kept.goneBefore(stream, at, unit);
    state.gone[what] += gone;
    state.unverifiable += gone;
  };
  switch (typed?.type) {
    case "DoorClaimed":
    case "RecordsAccepted":
    case "InputEnded":
      count("accepted", typed.data);
      break;
    case "PartitionClaimed":
    case "StepsRecorded":
      count("inputs", typed.data);
      break;
    case "OutputsPrepared":
      // It is not delivered yet.
      count("delivered", { first: typed.data.first }, sinkTaker(stream, typed.data.target));
      break;
    case "OutputsDelivered":
      count("delivered", typed.data, sinkTaker(stream, typed.data.target));
      break;
  }
}

export function eventAddress({ stream, revision }: AuditedEvent): string {
  return `${stream}@${revision}`;
}

/**
 * The unit whose stream it is; new ones begin where they say, if what was before them may have been let go, or is in the
 * streams of the pipeline that they are a fork of.
 */
export function unitOf(
  { units, kept }: ConservationState,
  name: string,
  at: Pick<Extent, "first"> | undefined,
): Unit {
  let unit = units.get(name);
  if (unit === undefined) {
    const next = at !== undefined && (kept.isCut(name) || isForkStream(name)) ? at.first : 0;
    unit = { next, through: -1, cursors: undefined, deployment: undefined };
    units.set(name, unit);
  }
  return unit;
}

/** What was known of a stream's unit, of which events have been let go of since: it begins anew where it says. */
export function forgetUnit({ units, sinks, targets, inputs }: ConservationState, stream: string): void {
  const isOf = (name: string) => name === stream || name.startsWith(`${stream} `);
  for (const name of [...units.keys()].filter(isOf)) units.delete(name);
  for (const name of [...targets.keys()].filter(isOf)) targets.delete(name);
  sinks.delete(stream);
  inputs.delete(stream);
}

/** N goes on without a gap, and `through` never falls. */
export function goOn(state: ConservationState, item: AuditedEvent, unit: Unit, at: Extent): void {
  const { stream } = item;
  if (at.first !== unit.next) {
    const message = `it goes on at ${stream}@${at.first}, and the one that is next is ${stream}@${unit.next}`;
    fail(state, eventAddress(item), "NotDense", message);
  } else if (!(at.through >= unit.through)) {
    const message = `it is complete up to ${at.through}, and was up to ${unit.through} before`;
    fail(state, eventAddress(item), "BadThrough", message);
  }
  unit.next = at.first;
}

/** Of the streams that were read before, reading goes on where it was; another deployment may read others. */
export function beginsWhere(
  state: ConservationState,
  item: AuditedEvent,
  before: Cursors | undefined,
  now: Cursors,
): void {
  if (before === undefined) return;
  const others = Object.keys(before).some((name) => isUpstream(name) && now[name] === undefined);
  const kept = Object.keys(before).filter(
    (name) => isRetryStream(name) || (name === TAKEN_OF_GROUP && !others),
  );
  for (const name of new Set([...Object.keys(now), ...kept])) {
    const n = now[name] ?? 0;
    const cursor = before[name] ?? (isUpstream(name) ? n : 0);
    if (cursor === n) continue;
    const message = `it goes on at ${name}@${n}, and what is next is ${name}@${cursor}`;
    fail(state, eventAddress(item), "BadCursor", message);
    return;
  }
}

/** A batch is read on from where it was, or from later: what lies between has nothing for the sink. */
export function beginsBehind(
  state: ConservationState,
  item: AuditedEvent,
  before: Cursors | undefined,
  from: Cursors,
): void {
  for (const [name, cursor] of Object.entries(before ?? {})) {
    const n = from[name];
    if (name === TAKEN_OF_GROUP || n === undefined || n >= cursor) continue;
    const message = `its records begin at ${name}@${n}, and what is next is ${name}@${cursor}`;
    fail(state, eventAddress(item), "BadCursor", message);
    return;
  }
}

/** Cursors never fall. Where records of one ordinal are parted, it is counted anew how many are taken of them. */
export function neverFalls(state: ConservationState, item: AuditedEvent, from: Cursors, to: Cursors): void {
  for (const [name, n] of Object.entries(from)) {
    const after = to[name];
    if (name === TAKEN_OF_GROUP || (after !== undefined && after >= n)) continue;
    const message = `it begins at ${name}@${n}, and ends at ${after === undefined ? "none" : `${name}@${after}`}`;
    fail(state, eventAddress(item), "BadCursor", message);
    return;
  }
}

function isUpstream(name: string): boolean {
  return name !== TAKEN_OF_GROUP && !isRetryStream(name);
}
