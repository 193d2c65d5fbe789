import { Arena } from "../core/arena.ts";
import { decodeDeltas } from "../core/columns.ts";
import { RecordDecoder } from "../core/decode-shapes.ts";
import { equalBytes } from "../core/digest.ts";
import { HeadwaterError } from "../core/errors.ts";
import { decodeEvent } from "../core/event-codec.ts";
import type { PartitionClaimed, PipelineDeployed, StepsRecorded } from "../core/events.ts";
import { besideStream, stepsStream } from "../core/streams.ts";
import { lastWatermark } from "../core/watermark.ts";
import type { InputRows } from "../engine/rows.ts";
import type { SegmentEngine, SegmentResult } from "../engine/segment-engine.ts";
import type { Segment } from "../pipeline/plan.ts";
import type { Clock } from "../ports/clock.ts";
import type { EventLog } from "../ports/event-log.ts";
import { currentCursors } from "./deployed-cursors.ts";
import type { DeploymentHistory } from "./deployment-history.ts";
import type { MergeReader } from "./merge-reader.ts";
import { replayInputs } from "./partition-replay.ts";
import {
  type EngineContext,
  partitionEngine,
  readInputs,
  restoreEngine,
  type SnapshotPlace,
} from "./partition-restore.ts";
import { refusedBefore } from "./refused-inputs.ts";
import { loadRetriedBatch, type RetriedContext, retriedBatch, retriedBetween } from "./retried-inputs.ts";
import { upstreamsOfPartition } from "./routes.ts";
import { readOne, seekThrough } from "./seek.ts";
import { ServedEffects } from "./served-effects.ts";
import { loadSnapshot, readChunks } from "./snapshots.ts";

/** Which part of a partition's history is run again. */
export interface ReexecutionQuery {
  readonly log: EventLog;
  readonly clock: Clock;
  readonly history: Pick<DeploymentHistory, "pipeline" | "withIdentity" | "planOf" | "after">;
  readonly segment: string;
  readonly partition: number;
  /** Events are left out that are complete below the first of these ordinals, and those that begin above the last. */
  readonly from: number;
  readonly to: number;
  readonly signal: AbortSignal;
}

/** A piece of a step event: some of its inputs, run again in the state that there was before them. */
export interface ReexecutedPiece {
  readonly stream: string;
  readonly revision: number;
  readonly event: StepsRecorded;
  readonly deployed: PipelineDeployed;
  readonly segment: Segment;
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
  const begin = (await seekThrough(log, stream, from - 1)) ?? info.firstRevision;
  let running: RunningAgain | undefined;
  let before: UnitEvent | undefined;
  try {
    for await (const recorded of log.read(stream, { from: begin })) {
      if (recorded.revision > lastRevision) break;
      const { type, data } = decodeEvent(recorded);
      if (type !== "PartitionClaimed" && type !== "StepsRecorded")
        throw foreignEvent(stream, recorded.revision, type);
      const place = before;
      before = data;
      if (type === "PartitionClaimed" || data.count === 0 || data.through < from) continue;
      if ((decodeDeltas(data.ordinals ?? new Uint8Array(0))[0] ?? 0) > to) break;
      if (running !== undefined && !equalBytes(running.deployed.deployment, data.deployment)) {
        running.stop();
        running = undefined;
      }
      running ??= await RunningAgain.begin(
        query,
        stream,
        lastRevision,
        place ?? (await placeBefore(log, stream, recorded.revision)),
        data,
      );
      yield* running.run(recorded.revision, data);
    }
  } finally {
    running?.stop();
  }
}

/** The members of the results of an event's first stage, where they are in events of their own. */
export async function readMembersNamed(
  log: EventLog,
  stream: string,
  event: StepsRecorded,
): Promise<Uint8Array | undefined> {
  const range = event.stages?.[0]?.membersIn;
  return (
    range && readChunks(log, besideStream(stream, "members"), "MembersNamed", range.revision, range.events)
  );
}

/** A partition under one deployment, as it runs again. */
class RunningAgain {
  readonly deployed: PipelineDeployed;
  readonly #query: ReexecutionQuery;
  readonly #stream: string;
  readonly #segment: Segment;
  readonly #engine: SegmentEngine;
  readonly #reader: MergeReader;
  readonly #context: RetriedContext;
  readonly #effects: ServedEffects;
  #next: number;

  private constructor(
    query: ReexecutionQuery,
    stream: string,
    segment: Segment,
    deployed: PipelineDeployed,
    engine: SegmentEngine,
    reader: MergeReader,
    context: RetriedContext,
    next: number,
  ) {
    this.#query = query;
    this.#stream = stream;
    this.#segment = segment;
    this.deployed = deployed;
    this.#engine = engine;
    this.#reader = reader;
    this.#context = context;
    this.#next = next;
    const { log, clock, signal } = query;
    this.#effects = new ServedEffects({ log, clock, steps: stream, signal });
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
    const decoder = new RecordDecoder();
    const context: EngineContext = {
      log,
      clock,
      plan,
      arena: new Arena(),
      decode: (bytes, start, end) => decoder.decode(bytes, start, end),
      provenance: deployed.provenance,
      tickMs: 0,
    };
    const snapshot = before.snapshot && (await loadSnapshot(log, stream, before.snapshot));
    const from = snapshot ?? (segment.stateful ? undefined : { next: event.first });
    const refused = await refusedBefore(log, stream, { snapshot: from });
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
    const running = new RunningAgain(
      query,
      stream,
      segment,
      deployed,
      engine,
      reader,
      { ...context, segment, partition },
      event.first,
    );
    try {
      await running.#comeTo(place, event);
    } catch (error) {
      reader.stop();
      throw error;
    }
    return running;
  }

  /** Runs the inputs between a snapshot and the event, for the state alone. */
  async #comeTo(from: SnapshotPlace, { first, from: cursors }: StepsRecorded): Promise<void> {
    if (from.next === first) return;
    const { log, history, signal } = this.#query;
    const retried = await retriedBetween(log, history.pipeline, this.#stream, from, { next: first, cursors });
    const replayed = await replayInputs(
      {
        context: this.#context,
        engine: this.#engine,
        reader: this.#reader,
        effects: this.#effects,
        retried,
        batchRecords: this.#context.plan.definition.batchRecords,
      },
      from,
      { next: first },
      signal,
    );
    if (replayed === undefined) throw stopped(this.#stream);
  }

  /** Runs the inputs of an event, which has to be the next one. */
  async *run(revision: number, event: StepsRecorded): AsyncGenerator<ReexecutedPiece> {
    if (event.first !== this.#next) throw this.#inputsMissing();
    const end = event.first + event.count;
    if (event.entry !== undefined) {
      yield await this.#putBack(revision, event, event.entry);
      return;
    }
    while (this.#next < end) {
      const { rows, result } = await this.#step(end - this.#next);
      yield {
        stream: this.#stream,
        revision,
        event,
        deployed: this.deployed,
        segment: this.#segment,
        rows,
        result,
      };
    }
  }

  /** Runs inputs that came back from quarantine and came in at the stage `entry`. */
  async #putBack(revision: number, event: StepsRecorded, entry: string): Promise<ReexecutedPiece> {
    const step = lastWatermark(event.watermark);
    if (this.#engine.head !== undefined && step !== undefined) {
      await this.#reader.comeTo(step, this.#query.signal);
    }
    const { rows } = await loadRetriedBatch(this.#context, retriedBatch(event, entry));
    const result = await this.#engine.processAt(entry, rows, this.#next, this.#effects);
    this.#next += rows.count;
    const { segment } = this.#engine.entryAt(entry);
    return { stream: this.#stream, revision, event, deployed: this.deployed, segment, rows, result };
  }

  /** Runs the next inputs: at least one, at most so many. */
  async #step(most: number): Promise<{ rows: InputRows; result: SegmentResult }> {
    for (let through = -2; ; ) {
      const { batchRecords } = this.#context.plan.definition;
      const batch = await this.#reader.next(Math.min(most, batchRecords), this.#query.signal);
      if (batch === undefined) throw stopped(this.#stream);
      const { rows } = batch;
      if (rows.count > 0) {
        const result = await this.#engine.process(rows, this.#next, this.#effects);
        this.#next += rows.count;
        return { rows, result };
      }
      // Nothing more comes from what the log holds.
      if (batch.through <= through) throw this.#inputsMissing();
      through = batch.through;
    }
  }

  #inputsMissing(): HeadwaterError {
    return new HeadwaterError(
      "LogDamaged",
      "inputs that were recorded are not in the streams that they came from",
      {
        where: `${this.#stream}@${this.#next}`,
        hint: "headwater audit tells what else does not fit.",
      },
    );
  }

  stop(): void {
    this.#reader.stop();
  }
}

/** An event may be complete below the records that it has of one ordinal. */
function highestOrdinal(event: UnitEvent): number {
  const last =
    "ordinals" in event && event.ordinals !== undefined ? decodeDeltas(event.ordinals).at(-1) : undefined;
  return Math.max(event.through, last ?? event.through);
}

function stopped(stream: string): HeadwaterError {
  return new HeadwaterError("Stopped", "stopped while history was run again", { where: stream });
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
