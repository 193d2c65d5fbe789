import { decodeDeltas } from "../core/columns.ts";
import { equalBytes } from "../core/digest.ts";
import { HeadwaterError } from "../core/errors.ts";
import { decodeEvent } from "../core/event-codec.ts";
import type { PartitionClaimed, PipelineDeployed, StepsRecorded } from "../core/events.ts";
import { stepsStream } from "../core/streams.ts";
import { lastWatermark } from "../core/watermark.ts";
import { type Origins, originsOf } from "../engine/origins.ts";
import type { InputRows } from "../engine/rows.ts";
import type { SegmentResult } from "../engine/segment-engine.ts";
import { entryAt } from "../pipeline/entry.ts";
import type { Segment } from "../pipeline/plan.ts";
import type { Clock } from "../ports/clock.ts";
import type { EventLog } from "../ports/event-log.ts";
import { currentCursors } from "./deployed-cursors.ts";
import type { DeploymentHistory } from "./deployment-history.ts";
import { runKept } from "./kept-inputs.ts";
import {
  InputsMissing,
  type PartitionReplay,
  type ReplayedBatch,
  replayBatches,
} from "./partition-replay.ts";
import { partitionEngine, readInputs, rerunContext, restoreEngine } from "./partition-restore.ts";
import { refusedBefore, refusedIn } from "./refused-inputs.ts";
import { type RetriedBatch, retriedBatch, retriedBetween } from "./retried-inputs.ts";
import { upstreamsOfPartition } from "./routes.ts";
import { isGone, readOne, seekThrough } from "./seek.ts";
import { ServedEffects } from "./served-effects.ts";
import { loadSnapshot } from "./snapshots.ts";
import type { WindowInputs } from "./window-inputs.ts";

/** Which part of a partition's history is run again. */
export interface ReexecutionQuery {
  readonly log: EventLog;
  readonly clock: Clock;
  readonly history: Pick<DeploymentHistory, "pipeline" | "withIdentity" | "planOf" | "after">;
  readonly segment: string;
  readonly partition: number;
  /** Events are left out that end below the first of these ordinals, and those that begin above the last. */
  readonly from: number;
  readonly to: number;
  readonly signal: AbortSignal;
  /**
   * Whether something of the inputs from N = `first` up to, and without, `end` is asked for: others are run only where
   * the state needs them. Absent: all are.
   */
  wants?(stream: string, first: number, end: number): boolean;
  /** Which inputs the part has, so that those are counted of which the events are gone, too. */
  readonly inputs?: WindowInputs | undefined;
  /**
   * Told of inputs that cannot be run again, because what they need was let go of, or the events that tell of them.
   * Absent: the first is thrown.
   */
  onGone?(gone: GoneInputs): void;
  /**
   * Told of events whose inputs do not come as they did, before anything that comes after them: what gives keys or fires
   * windows does otherwise now. The others of a partition with state are told of, too, up to where that is known again.
   * Absent: `LogDamaged` is thrown.
   */
  onAstray?(inputs: AstrayInputs): void;
}

/** Inputs of an event that do not come as they did. */
export interface AstrayInputs
  extends Pick<ReexecutedPiece, "stream" | "event" | "deployed" | "segment" | "origins"> {
  /** How many of the event, before these, did come. */
  readonly done: number;
}

/** Inputs that cannot be run again. */
export interface GoneInputs {
  /** Of the first one, `steps_P.G.Q@N`. */
  readonly address: string;
  readonly inputs: number;
  /** What is not there any more, and where. */
  readonly reason: string;
}

/** A piece of a step event: some of its inputs, run again in the state that there was before them. */
export interface ReexecutedPiece {
  readonly stream: string;
  readonly revision: number;
  readonly event: StepsRecorded;
  readonly deployed: PipelineDeployed;
  readonly segment: Segment;
  /** See `Plan.origins`. */
  readonly origins: Origins;
  /** Inputs of the event before the piece that are not kept, so that they were not run. */
  readonly passed: number;
  /** The piece's inputs, the next of the event. */
  readonly rows: InputRows;
  readonly result: SegmentResult;
}

type UnitEvent = PartitionClaimed | StepsRecorded;

/**
 * Runs the inputs of a partition again, each by the code of the deployment that ran then and from the state that it
 * had, and answers what comes of them, event by event. Nothing is written. Where it begins, state is brought back from
 * the last snapshot before; memory is that of one running partition. Throws `IncompatibleDeployment` for a deployment
 * whose code was not kept, `LogDamaged` where the inputs that were recorded are not upstream, `Stopped` when `signal`
 * aborts.
 */
export async function* reexecutePartition(query: ReexecutionQuery): AsyncGenerator<ReexecutedPiece> {
  const { log, history, from, to } = query;
  const stream = stepsStream(history.pipeline, query.segment, query.partition);
  const info = await log.streamInfo(stream);
  if (info === undefined) return;
  // What is appended from now on is not taken: the inputs of all these events are in the log.
  const { lastRevision } = info;
  // Of an ordinal that is still going on an event is complete up to the one before.
  const begin = (await seekThrough(log, stream, from - 2)) ?? info.firstRevision;
  let running: RunningAgain | undefined;
  let before: UnitEvent | undefined;
  let gone: Gap | undefined;
  /** The snapshot whose state has led astray, if there was one; `undefined`: it is as it was. */
  let astray: { readonly snapshot: number | undefined } | undefined;
  try {
    for await (const recorded of log.read(stream, { from: begin })) {
      if (recorded.revision > lastRevision) break;
      const { type, data } = decodeEvent(recorded);
      if (type !== "PartitionClaimed" && type !== "StepsRecorded")
        throw foreignEvent(stream, recorded.revision, type);
      const place = before;
      before = data;
      if (place === undefined && recorded.revision > 0) tellBefore(query, stream, recorded.revision, data);
      const lost = data.first - (place === undefined ? data.first : endOf(place));
      if (lost > 0) {
        // Events in between were let go of meanwhile.
        const reason = `records that are to be run again were let go of: ${stream}@${recorded.revision - 1}`;
        tell(query, stream, { first: data.first - lost, count: lost }, reason);
        running?.stop();
        running = undefined;
      }
      if (type === "PartitionClaimed" || data.count === 0 || highestOrdinal(data) < from) continue;
      if ((decodeDeltas(data.ordinals ?? new Uint8Array(0))[0] ?? 0) > to) break;
      if (running !== undefined && !equalBytes(running.deployed.deployment, data.deployment)) {
        running.stop();
        running = undefined;
      }
      // Without state each event can be begun at.
      if (data.snapshot === undefined && !isWanted(query, stream, data) && !(await isStateful(query, data))) {
        running?.stop();
        running = undefined;
        continue;
      }
      if (gone !== undefined && !gone.isOver(data)) {
        tell(query, stream, data, gone.reason);
        continue;
      }
      // Where the event before it is gone, it is not known how event time had come to it; behind it that is.
      if (query.onGone !== undefined && place === undefined && recorded.revision === info.firstRevision) {
        tell(query, stream, data, `the event before it was let go of: ${stream}@${recorded.revision - 1}`);
        continue;
      }
      const known = place?.snapshot?.revision;
      if (astray !== undefined && (known === undefined || known === astray.snapshot)) {
        await tellAstray(query, stream, data, 0);
        continue;
      }
      astray = undefined;
      let done = 0;
      try {
        running ??= await RunningAgain.begin(
          query,
          stream,
          lastRevision,
          lost > 0 || place === undefined ? await placeBefore(log, stream, recorded.revision) : place,
          data,
        );
        const wanted = isWanted(query, stream, data);
        for await (const piece of running.run(recorded.revision, data)) {
          done += piece.rows.count;
          if (wanted) yield piece;
        }
      } catch (error) {
        if (query.onAstray !== undefined && error instanceof InputsMissing) {
          running?.stop();
          running = undefined;
          // Without state the next event begins where it began.
          astray = (await isStateful(query, data)) ? { snapshot: known } : undefined;
          await tellAstray(query, stream, data, done);
          continue;
        }
        if (query.onGone === undefined || !isGone(error)) throw error;
        running?.stop();
        running = undefined;
        gone = new Gap(error, data);
        if (data.entry !== undefined || (await isStateful(query, data))) {
          tell(query, stream, { ...data, first: data.first + done, count: data.count - done }, gone.reason);
        } else yield* keptOf(query, stream, recorded.revision, data, done, gone.reason);
      }
    }
  } finally {
    running?.stop();
  }
}

async function tellAstray(
  query: ReexecutionQuery,
  stream: string,
  event: StepsRecorded,
  done: number,
): Promise<void> {
  const deployed = query.history.withIdentity(event.deployment, event.through);
  const plan = await query.history.planOf(deployed);
  const whole = plan.segments.find(({ name }) => name === query.segment);
  if (whole === undefined || !isWanted(query, stream, event)) return;
  const { entry } = event;
  const segment = entry === undefined ? whole : entryAt(whole, entry).segment;
  query.onAstray?.({ stream, event, deployed, segment, origins: originsOf(plan), done });
}

function isWanted({ wants }: ReexecutionQuery, stream: string, { first, count }: Inputs): boolean {
  return wants === undefined || wants(stream, first, first + count);
}

async function isStateful({ history, segment }: ReexecutionQuery, event: StepsRecorded): Promise<boolean> {
  const plan = await history.planOf(history.withIdentity(event.deployment, event.through));
  return plan.segments.find(({ name }) => name === segment)?.stateful === true;
}

type Inputs = Pick<StepsRecorded, "first" | "count">;

/** Runs what is kept of the inputs of an event without state, from one on, and tells of the others. */
async function* keptOf(
  query: ReexecutionQuery,
  stream: string,
  revision: number,
  event: StepsRecorded,
  from: number,
  reason: string,
): AsyncGenerator<ReexecutedPiece> {
  const { log, clock, history, segment: name, partition, signal } = query;
  const deployed = history.withIdentity(event.deployment, event.through);
  const plan = await history.planOf(deployed);
  const segment = plan.segments.find((one) => one.name === name);
  if (segment === undefined) return;
  const context = rerunContext(log, clock, plan, deployed.provenance);
  const effects = new ServedEffects({ log, clock, steps: stream, signal, unknown: "failed" });
  const kept = { context, plan, deployed, segment, partition, stream, event, from, effects, signal };
  const first = { ...{ stream, revision, event, deployed, segment }, origins: originsOf(plan) };
  let next = from;
  const missing = (at: number) => {
    tell(query, stream, { first: event.first + next, count: at - next }, reason);
  };
  try {
    for await (const { at, rows, result } of runKept(kept)) {
      missing(at);
      yield { ...first, passed: at - next, rows, result };
      next = at + rows.count;
    }
  } catch (error) {
    // The events that had the inputs may be gone, too, or went meanwhile.
    if (!isGone(error)) throw error;
  }
  missing(event.count);
}

/** A part of history that cannot be run again: up to the next snapshot, if state was looked for before it. */
class Gap {
  readonly reason: string;
  readonly #snapshot: number | undefined;

  constructor(error: HeadwaterError, { snapshot }: StepsRecorded) {
    this.reason = `${error.message}: ${error.where ?? ""}`;
    this.#snapshot = snapshot?.revision;
  }

  /** Whether an event has another snapshot to begin from than that which did not help; without state each has its own chance. */
  isOver({ snapshot }: StepsRecorded): boolean {
    return this.#snapshot === undefined || snapshot?.revision !== this.#snapshot;
  }
}

function endOf(event: UnitEvent): number {
  return event.first + ("count" in event ? event.count : 0);
}

/**
 * Tells of inputs of the part whose events were let go of, as the first event that is there tells it. Where it is not
 * known how many they were, one stands for all.
 */
function tellBefore(query: ReexecutionQuery, stream: string, revision: number, event: UnitEvent): void {
  const { inputs, from, to } = query;
  if (inputs === undefined || event.first === 0) return;
  const [ordinal] = "ordinals" in event ? decodeDeltas(event.ordinals ?? new Uint8Array(0)) : [];
  // What came before it is not later than this.
  const latest = ordinal ?? event.through + 1;
  const { first, end = latest > to ? undefined : event.first } = inputs;
  const reason = `the events that tell of them were let go of: ${stream}@${revision - 1}`;
  if (first !== undefined && end !== undefined) {
    tell(query, stream, { first, count: Math.min(end, event.first) - first }, reason);
  } else if (latest >= from && first !== event.first) {
    const one = first ?? Math.min(end ?? event.first, event.first) - 1;
    tell(query, stream, { first: one, count: 1 }, `${reason}; it is not known how many of them there were`);
  }
}

/** What of it is in the part. */
function tell(query: ReexecutionQuery, stream: string, event: Inputs, reason: string): void {
  const first = Math.max(event.first, query.inputs?.first ?? 0);
  const count = Math.min(event.first + event.count, query.inputs?.end ?? Number.MAX_SAFE_INTEGER) - first;
  if (query.wants === undefined && count > 0) {
    query.onGone?.({ address: `${stream}@${first}`, inputs: count, reason });
  }
  if (count <= 0 || query.wants?.(stream, first, first + count) !== true) return;
  let inputs = 0;
  let lowest: number | undefined;
  for (let n = first; n < first + count; n++) {
    if (!query.wants(stream, n, n + 1)) continue;
    lowest ??= n;
    inputs++;
  }
  if (lowest !== undefined) query.onGone?.({ address: `${stream}@${lowest}`, inputs, reason });
}

/** A partition under one deployment, as it runs again. */
class RunningAgain {
  readonly deployed: PipelineDeployed;
  readonly #stream: string;
  readonly #replay: Omit<PartitionReplay, "retried">;
  readonly #signal: AbortSignal;
  /** Where it has come to. */
  #at: { readonly next: number; readonly through: number };

  private constructor(
    { log, clock, signal }: ReexecutionQuery,
    stream: string,
    deployed: PipelineDeployed,
    replay: Omit<PartitionReplay, "retried" | "effects" | "batchRecords">,
    at: { readonly next: number; readonly through: number },
  ) {
    this.deployed = deployed;
    this.#stream = stream;
    this.#signal = signal;
    this.#at = at;
    const { batchRecords } = replay.context.plan.definition;
    const effects = new ServedEffects({ log, clock, steps: stream, signal, unknown: "failed" });
    this.#replay = { ...replay, effects, batchRecords };
  }

  /** Brings back the state that there was before `event`; `before` is the event before it. */
  static async begin(
    query: ReexecutionQuery,
    stream: string,
    lastRevision: number,
    before: UnitEvent,
    event: StepsRecorded,
  ): Promise<RunningAgain> {
    const { log, clock, history, partition } = query;
    const deployed = history.withIdentity(event.deployment, event.through);
    const plan = await history.planOf(deployed);
    const segment = plan.segments.find(({ name }) => name === query.segment);
    if (segment === undefined)
      throw foreignEvent(stream, lastRevision, "steps of a segment that its deployment does not have");
    const context = rerunContext(log, clock, plan, deployed.provenance);
    const snapshot = before.snapshot && (await loadSnapshot(log, stream, before.snapshot));
    const from = snapshot ?? (segment.stateful ? undefined : { next: event.first });
    // Those of the events that are run come with them: see `run`.
    const refused = await refusedBefore(log, stream, { snapshot: from }, before.through);
    const engine = partitionEngine(context, segment, { refused });
    const place = segment.stateful
      ? await restoreEngine(context, engine, stream, snapshot)
      : {
          next: event.first,
          cursors: event.from,
          through: before.through,
          watermark: lastWatermark(before.watermark),
        };
    const upstreams = upstreamsOfPartition(plan, segment, partition);
    const cursors = await currentCursors({ log, deployedFrom: deployed.from }, upstreams, place.cursors);
    // Records of the next deployment are not for this one, and its streams may be others.
    const until = (history.after(deployed)?.from ?? Number.MAX_SAFE_INTEGER) - 1;
    const end = decodeEvent(await readOne(log, stream, lastRevision)).data;
    const upTo = Math.min(until, "through" in end ? highestOrdinal(end as UnitEvent) : until);
    const reader = readInputs(context, engine, upstreams, { ...place, cursors }, upTo);
    const replay = { context: { ...context, segment, partition }, engine, reader, upTo };
    const running = new RunningAgain(query, stream, deployed, replay, place);
    try {
      const to = { next: event.first, cursors: event.from };
      const retried = await retriedBetween(log, history.pipeline, stream, place, to);
      const batches = running.#comeTo(event.first, retried);
      while (!(await batches.next()).done);
    } catch (error) {
      reader.stop();
      throw error;
    }
    return running;
  }

  /** Runs the inputs of an event, which has to be the next one. */
  async *run(revision: number, event: StepsRecorded): AsyncGenerator<ReexecutedPiece> {
    const { engine, context } = this.#replay;
    if (event.first !== this.#at.next) throw new InputsMissing(context, this.#at.next);
    const retried = event.entry === undefined ? [] : [retriedBatch(event, event.entry)];
    for (const refused of await refusedIn(context.log, this.#stream, event)) engine.refuse(refused);
    for await (const { rows, result, entry } of this.#comeTo(event.first + event.count, retried)) {
      const segment = entry === undefined ? context.segment : engine.entryAt(entry).segment;
      yield {
        ...{ stream: this.#stream, revision, event, deployed: this.deployed, segment, passed: 0 },
        ...{ origins: originsOf(context.plan), rows, result },
      };
    }
  }

  async *#comeTo(next: number, retried: readonly RetriedBatch[]): AsyncGenerator<ReplayedBatch, void> {
    const replayed = yield* replayBatches({ ...this.#replay, retried }, this.#at, { next }, this.#signal);
    if (replayed === undefined) {
      throw new HeadwaterError("Stopped", "stopped while history was run again", { where: this.#stream });
    }
    this.#at = replayed;
  }

  stop(): void {
    this.#replay.reader.stop();
  }
}

/** An event may be complete below the records that it has of one ordinal. */
function highestOrdinal(event: UnitEvent): number {
  const last =
    "ordinals" in event && event.ordinals !== undefined ? decodeDeltas(event.ordinals).at(-1) : undefined;
  return Math.max(event.through, last ?? event.through);
}

async function placeBefore(log: EventLog, stream: string, revision: number): Promise<UnitEvent> {
  const { type, data } = decodeEvent(await readOne(log, stream, revision - 1));
  if (type === "PartitionClaimed" || type === "StepsRecorded") return data;
  throw foreignEvent(stream, revision - 1, type);
}

function foreignEvent(stream: string, revision: number, what: string): HeadwaterError {
  return new HeadwaterError("LogDamaged", `a partition's stream holds ${what}`, {
    where: `${stream}@${revision}`,
  });
}
