import { decodeEvent, decodeEventAs } from "../core/event-codec.ts";
import type { Cursors, EffectRange, PartitionClaimed, StepsRecorded, TypedEvent } from "../core/events.ts";
import { LIMITS } from "../core/limits.ts";
import { besideStream, isRetryStream, sinkStream, sourceStream, stepsStream } from "../core/streams.ts";
import type { Plan, Segment } from "../pipeline/plan.ts";
import type { EventLog } from "../ports/event-log.ts";
import { startingCursors } from "./deployed-cursors.ts";
import type { ReferredEvents } from "./referred-events.ts";
import { upstreamsOfPartition, upstreamsOfSink } from "./routes.ts";
import { readInSteps, readOne, seekEpoch, seekLast, seekRecord, seekThrough } from "./seek.ts";
import { sinkHistory } from "./sink-history.ts";
import type { SinkTarget } from "./sink-target.ts";
import { lastEvent } from "./stream-tail.ts";
import type { UpstreamSelection } from "./upstream-reader.ts";

/** That a reader needs the events of a stream from a revision on. */
export interface Need {
  /** A unit, as `partition:G.Q` or `sink:K`. */
  readonly reader: string;
  readonly stream: string;
  readonly from: number;
}

/** Whose readers are asked for. */
export interface ReadersContext {
  readonly log: EventLog;
  readonly plan: Plan;
  /** The first ordinal of the deployment that runs. */
  readonly deployedFrom: number;
  /** Where each sink delivers to now; those that are not in it count only. */
  readonly targets: ReadonlyMap<string, SinkTarget>;
  /** The target of a sink that is not in `targets`. */
  readonly otherTarget: SinkTarget;
}

/**
 * What whoever reads a pipeline's streams still needs of them, when everybody goes on from the log after a crash:
 * partitions from their last snapshot, or from where they are if they keep no state, and sinks from what they have
 * delivered. What nobody names is needed by nobody. Errs towards more.
 */
export async function needsOf(context: ReadersContext, referred: ReferredEvents): Promise<Need[]> {
  const { plan } = context;
  const needs: Need[] = [];
  for (const segment of plan.segments) {
    for (let partition = 0; partition < plan.definition.partitions; partition++) {
      needs.push(...(await partitionNeeds(context, referred, segment, partition)));
    }
  }
  for (const { name, id } of plan.sources) {
    const stream = sourceStream(plan.definition.name, name);
    const from = await doorNeeds(context.log, stream, id !== undefined);
    needs.push({ reader: `door:${name}`, stream, from });
  }
  for (const { name, upstream } of plan.sinks) {
    const target = context.targets.get(name) ?? context.otherTarget;
    const own = sinkStream(plan.definition.name, name);
    needs.push({ reader: `sink:${name}`, stream: own, from: await sinkNeeds(context.log, own, target) });
    const history = await sinkHistory(context.log, plan.definition.name, name, target);
    const upstreams = upstreamsOfSink(plan, upstream, true);
    const cursors = history?.place.cursors ?? (await firstCursors(context, upstreams, target.fills));
    const reader = `sink:${name}`;
    needs.push(...(await upstreamNeeds(context, referred, reader, upstreams, cursors, undefined)));
  }
  return needs;
}

/** The revision from which on a door looks at its own stream: for the inputs, and the sender's ids, that it knows. */
async function doorNeeds(log: EventLog, stream: string, identified: boolean): Promise<number> {
  const last = await lastEvent(log, stream);
  if (last === undefined) return 0;
  const { data } = decodeEvent(last);
  if (!("epoch" in data) || !("first" in data)) return 0;
  const claim = await seekEpoch(log, stream, data.epoch);
  const claimed = decodeEvent(await readOne(log, stream, claim));
  const since = claimed.type === "DoorClaimed" ? claimed.data.inputsSince : undefined;
  const known = since === undefined ? claim : await seekEpoch(log, stream, since);
  if (!identified) return known;
  const next = data.first + ("count" in data ? data.count : 0);
  return Math.min(known, await seekRecord(log, stream, Math.max(0, next - LIMITS.duplicateHorizonIds)));
}

/** The revision from which on a sink looks at its own stream: for what it delivered last to its target, and before. */
async function sinkNeeds(log: EventLog, stream: string, target: SinkTarget): Promise<number> {
  const last = await lastEvent(log, stream);
  if (last === undefined) return 0;
  let delivered = 0;
  for await (const recorded of readInSteps(log, stream, last.revision, "backwards")) {
    const { type, data } = decodeEvent(recorded);
    if (type !== "SinkOpened" && type !== "OutputsDelivered") continue;
    if (target.fills && data.target !== target.id) continue;
    const isFirst = type === "SinkOpened" ? target.fills : ++delivered === 2;
    // The claim before it says by which version of the pipeline it delivered.
    if (isFirst) return Math.min(recorded.revision, await seekEpoch(log, stream, data.epoch));
  }
  return 0;
}

/** The least revision of each stream that somebody needs. */
export function leastNeeded(needs: readonly Need[]): ReadonlyMap<string, number> {
  const least = new Map<string, number>();
  for (const { stream, from } of needs) least.set(stream, Math.min(from, least.get(stream) ?? from));
  return least;
}

/**
 * What the units that a pipeline had need to go on, should it have them again: their last snapshot, and results of
 * effects behind it. `streams` are those of which it is asked; units of the plan are passed over.
 */
export async function formerNeeds(
  { log, plan, otherTarget }: Pick<ReadersContext, "log" | "plan" | "otherTarget">,
  streams: readonly string[],
): Promise<Need[]> {
  const planned = new Set([...plan.segments, ...plan.sources, ...plan.sinks].map(({ name }) => name));
  const needs: Need[] = [];
  for (const stream of streams) {
    const [, kind = "", rest = "", name = "", partition] =
      /^([a-z]+)_([^.]+\.([^.]+)(?:\.(\d{4}))?)$/.exec(stream) ?? [];
    if (planned.has(name)) continue;
    if (kind === "source") {
      needs.push({ reader: `door:${name}`, stream, from: await doorNeeds(log, stream, true) });
    } else if (kind === "sink") {
      needs.push({ reader: `sink:${name}`, stream, from: await sinkNeeds(log, stream, otherTarget) });
    } else if (partition !== undefined && (kind === "steps" || kind === "state" || kind === "effects")) {
      const reader = `partition:${name}.${Number(partition)}`;
      const place = await placeToGoOn(log, `steps_${rest}`, true);
      const from = { steps: place?.own, state: place?.state, effects: place?.effects }[kind];
      needs.push({ reader, stream, from: from ?? 0 });
    }
  }
  return needs;
}

/** Where a partition would go on after a crash. */
export interface PlaceToGoOn {
  /** The first event of its own stream that it would look at. */
  readonly own: number;
  readonly cursors: Cursors;
  readonly through: number;
  /** The revision in `effects_` from which on results may be served; `undefined`: it has had none by then. */
  readonly effects: number | undefined;
  /** The first chunk of its snapshot. */
  readonly state: number | undefined;
}

async function partitionNeeds(
  context: ReadersContext,
  referred: ReferredEvents,
  segment: Segment,
  partition: number,
): Promise<Need[]> {
  const { log, plan } = context;
  const stream = stepsStream(plan.definition.name, segment.name, partition);
  const reader = `partition:${segment.name}.${partition}`;
  const upstreams = upstreamsOfPartition(plan, segment, partition);
  const place = await placeToGoOn(log, stream, segment.stateful);
  if (place === undefined) {
    const cursors = await firstCursors(context, upstreams, false);
    return upstreamNeeds(context, referred, reader, upstreams, cursors, context.deployedFrom - 1);
  }
  const { own, cursors, through, effects, state } = place;
  return [
    { reader, stream, from: own },
    { reader, stream: besideStream(stream, "effects"), from: effects ?? 0 },
    ...(state === undefined ? [] : [{ reader, stream: besideStream(stream, "state"), from: state }]),
    ...(await upstreamNeeds(context, referred, reader, upstreams, cursors, through)),
  ];
}

/** `undefined`: the partition has no history yet. */
export async function placeToGoOn(
  log: EventLog,
  stream: string,
  stateful: boolean,
): Promise<PlaceToGoOn | undefined> {
  const last = await lastEvent(log, stream);
  if (last === undefined) return undefined;
  const { type, data } = decodeEvent(last);
  if (type !== "PartitionClaimed" && type !== "StepsRecorded") return undefined;
  const next = data.first + ("count" in data ? data.count : 0);
  const state = data.snapshot?.revision;
  if (!stateful) {
    // Of the last input it may have to know the ordinal.
    const own = next === 0 ? last.revision : await seekRecord(log, stream, next - 1);
    return { own, ...placeAfter(data), state };
  }
  if (data.snapshot === undefined) {
    const first = decodeEventAs(await readOne(log, stream, 0), "PartitionClaimed");
    return { own: 0, ...placeAfter(first), effects: 0, state };
  }
  const named = await namedAt(log, stream, data.snapshot.revision);
  const from = decodeEvent(await readOne(log, stream, named));
  if (from.type !== "PartitionClaimed" && from.type !== "StepsRecorded") return undefined;
  // Who has put records back may have to know the ordinal of the last one.
  const retried = Object.keys("to" in data ? data.to : data.cursors).some(isRetryStream);
  const own = retried ? Math.min(named, await seekRecord(log, stream, Math.max(0, next - 1))) : named;
  return { own, ...placeAfter(from.data), state };
}

/** The event that names a snapshot first: it was taken where that event ends. */
async function namedAt(log: EventLog, stream: string, snapshot: number): Promise<number> {
  const isBefore = ({ data }: TypedEvent) =>
    !("snapshot" in data) || data.snapshot === undefined || data.snapshot.revision < snapshot;
  const before = await seekLast(log, stream, isBefore);
  if (before === undefined) return 0;
  return isBefore(decodeEvent(await readOne(log, stream, before))) ? before + 1 : before;
}

function placeAfter(data: PartitionClaimed | StepsRecorded): Omit<PlaceToGoOn, "own" | "state"> {
  const cursors = "to" in data ? data.to : data.cursors;
  return { cursors, through: data.through, effects: effectsAfter(data.effects) };
}

function effectsAfter(effects: EffectRange | undefined): number | undefined {
  return effects && (effects.next ?? effects.revision + effects.events);
}

/** Where who has no history yet begins: at the deployment, or to fill a file at the beginning. */
async function firstCursors(
  context: ReadersContext,
  upstreams: readonly UpstreamSelection[],
  fills: boolean,
): Promise<Cursors> {
  return fills
    ? Object.fromEntries(upstreams.map(({ stream }) => [stream, 0]))
    : startingCursors(context, upstreams);
}

async function upstreamNeeds(
  context: ReadersContext,
  referred: ReferredEvents,
  reader: string,
  upstreams: readonly UpstreamSelection[],
  cursors: Cursors,
  through: number | undefined,
): Promise<Need[]> {
  const { log } = context;
  const needs: Need[] = [];
  for (const selection of upstreams) {
    const { stream, watched, payload } = selection;
    // A stream that it did not read before is read from the deployment on.
    const cursor = cursors[stream] ?? (await startingCursors(context, [selection]))[stream] ?? 0;
    let from = await seekRecord(log, stream, cursor);
    if (watched && through !== undefined) {
      from = Math.min(from, (await seekThrough(log, stream, through)) ?? 0);
    }
    needs.push({ reader, stream, from });
    if (!payload) continue;
    for (const beside of ["payload", "transit"] as const) {
      const first = await referred.first(stream, beside, from);
      needs.push({ reader, stream: besideStream(stream, beside), from: first });
    }
  }
  return needs;
}
