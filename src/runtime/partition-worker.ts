import type { WorkerInput } from "../../actors/worker.ts";
import { encodeCanonical } from "../core/canonical.ts";
import { sha256 } from "../core/digest.ts";
import { describeThrown, HeadwaterError, isHeadwaterError } from "../core/errors.ts";
import type { Cursors, EventRange, SnapshotReference, StageColumns } from "../core/events.ts";
import { LIMITS } from "../core/limits.ts";
import { THROUGH_NOTHING } from "../core/ordinal.ts";
import { stepsStream } from "../core/streams.ts";
import { encodeWatermarks, lastWatermark, type WatermarkStep } from "../core/watermark.ts";
import type { InputRows } from "../engine/rows.ts";
import type { SegmentEngine, SegmentResult } from "../engine/segment-engine.ts";
import { type EncodedSteps, encodeSteps, type StepColumns } from "../engine/steps-encoder.ts";
import type { Segment } from "../pipeline/plan.ts";
import { currentCursors } from "./deployed-cursors.ts";
import type { HostContext } from "./host-context.ts";
import type { MergedBatch, MergeReader } from "./merge-reader.ts";
import { partitionEngine, readInputs, restoreEngine } from "./partition-restore.ts";
import { payloadDrafts, quarantineDrafts } from "./payload.ts";
import { refusedBefore } from "./refused-inputs.ts";
import { partitionOfUnit, upstreamsOfPartition } from "./routes.ts";
import { loadSnapshot } from "./snapshots.ts";
import { type Draft, StreamTail } from "./stream-tail.ts";
import { type Care, NO_CARE } from "./suspects.ts";
import { chunkDrafts, UnitLog } from "./unit-log.ts";
import type { UpstreamSelection } from "./upstream-reader.ts";
import type { UnitMarks } from "./work-marks.ts";

/** What a partition has come to, as its last event says. */
interface PartitionPlace {
  readonly epoch: number;
  readonly next: number;
  readonly cursors: Cursors;
  readonly through: number;
  /** The last step of the watermark that was worked off. */
  readonly watermark: WatermarkStep | undefined;
  readonly snapshot: SnapshotReference | undefined;
}

/**
 * Owns one partition of a segment: claims it, restores its state, and turns what comes from upstream into step
 * events, one append at a time. What it has not appended is not there: after any failure a new worker begins
 * from the log.
 */
export class PartitionWorker {
  readonly #context: HostContext;
  readonly #order: WorkerInput;
  readonly #segment: Segment;
  readonly #partition: number;
  readonly #upstreams: readonly UpstreamSelection[];
  readonly #stop = new AbortController();
  readonly #batchMost: number;
  #log: UnitLog | undefined;
  #place: PartitionPlace | undefined;
  #engine: SegmentEngine | undefined;
  #reader: MergeReader | undefined;
  #inputsSinceSnapshot = 0;
  readonly #care: Care;
  readonly #marks: UnitMarks | undefined;

  /**
   * `batchMost` bounds the records of a batch below what the pipeline says; `care` says which inputs have ended
   * threads that worked at them.
   */
  constructor(
    context: HostContext,
    order: WorkerInput,
    batchMost: number = context.batchRecords,
    care: Care = NO_CARE,
  ) {
    this.#context = context;
    this.#care = care;
    this.#marks = context.thread?.marks.of(order.unit);
    this.#order = order;
    this.#batchMost = Math.min(batchMost, context.batchRecords);
    const { segment, partition } = partitionOfUnit(context.plan, order.unit);
    this.#segment = segment;
    this.#partition = partition;
    this.#upstreams = upstreamsOfPartition(context.plan, segment, partition);
  }

  /**
   * Appends the claim. From here on whoever owned the partition before can append nothing more. What a former owner
   * had on its way may come to the log between the look at its end and the claim: then this one looks again.
   */
  async claim(): Promise<void> {
    for (let attempt = 1; ; attempt++) {
      try {
        await this.#claimAtEnd();
        return;
      } catch (error) {
        const lost = isHeadwaterError(error, "OwnershipLost");
        if (!lost || attempt === LIMITS.claimAttempts || !(await this.#isBehindFormerOwner())) throw error;
      }
    }
  }

  /** Whether what stands at the stream's end now is of an owner before this one: its claim, or its steps. */
  async #isBehindFormerOwner(): Promise<boolean> {
    const { last } = await StreamTail.open(this.#context.log, this.#unitLog().main.stream);
    if (last?.type === "PartitionClaimed") return last.data.assignment < this.#order.assignment;
    return last?.type === "StepsRecorded" && last.data.epoch < this.#claimed().epoch;
  }

  async #claimAtEnd(): Promise<void> {
    const { plan, log, clock, deployment, process } = this.#context;
    const stream = stepsStream(plan.definition.name, this.#segment.name, this.#partition);
    this.#log = await UnitLog.open(log, stream);
    const place = placeOf(this.#log, this.#context.deployedFrom);
    const now = await currentCursors(this.#context, this.#upstreams, place.cursors);
    this.#place = { ...place, cursors: now, epoch: place.epoch + 1 };
    const { cursors, epoch, next, snapshot, through, watermark } = this.#place;
    await this.#context.probe?.("claim:before");
    // The end of the stream may be a successor's claim already, which this one would fence off.
    if (this.#stop.signal.aborted) {
      throw new HeadwaterError("Stopped", "let go of before the claim", { where: stream });
    }
    await this.#log.append("PartitionClaimed", () => ({
      v: 2,
      wall: clock.now(),
      epoch,
      node: this.#order.node,
      process,
      assignment: this.#order.assignment,
      deployment,
      first: next,
      through,
      cursors,
      ...(watermark !== undefined && { watermark: encodeWatermarks([watermark]) }),
      ...(snapshot !== undefined && { snapshot }),
    }));
    await this.#context.probe?.("claim:after");
  }

  /** Brings the state back: the last snapshot, and the inputs since then run again without being recorded. */
  async restore(): Promise<void> {
    const place = this.#claimed();
    const context = this.#context;
    const { stream } = this.#unitLog().main;
    const recorded = this.#segment.stateful ? await refusedBefore(context.log, stream, place) : [];
    const engine = partitionEngine(context, this.#segment, {
      watch: this.#marks,
      refused: [...recorded, ...this.#care.refused],
    });
    this.#engine = engine;
    if (!this.#segment.stateful) {
      this.#reader = readInputs(context, engine, this.#upstreams, place);
      return;
    }
    const snapshot = place.snapshot && (await loadSnapshot(context.log, stream, place.snapshot));
    const from = await restoreEngine(context, engine, stream, snapshot);
    const reader = readInputs(
      context,
      engine,
      this.#upstreams,
      from.next === place.next
        ? { ...from, cursors: place.cursors }
        : { ...from, cursors: await currentCursors(context, this.#upstreams, from.cursors) },
    );
    this.#reader = reader;
    this.#inputsSinceSnapshot = place.next - from.next;
    const steps: WatermarkStep[] = [];
    this.#marks?.restoring(true);
    for (let next = from.next; next < place.next; ) {
      const batch = await reader.next(Math.min(this.#batchMost, place.next - next), this.#stop.signal);
      if (batch === undefined) return;
      await this.#marked(batch.rows.count, () => engine.process(batch.rows, next), next);
      next += batch.rows.count;
      steps.push(...batch.steps);
    }
    this.#marks?.restoring(false);
    reader.goOnFrom(place.through, place.watermark, steps);
  }

  /** Works until `signal` aborts, then leaves a snapshot so that the next start is quick. */
  async work(signal: AbortSignal): Promise<void> {
    const reader = this.#reader;
    if (reader === undefined)
      throw new HeadwaterError("Internal", "a partition works before it was restored");
    this.#context.board.report(this.#order.unit, this.#claimed().through);
    for (;;) {
      const batch = await reader.next(this.#alone ? 1 : this.#batchMost, signal);
      if (batch === undefined) break;
      await this.#marked(batch.rows.count, () => this.#record(batch));
    }
    if (this.#inputsSinceSnapshot > 0 && this.#segment.stateful) await this.#recordSnapshot();
  }

  /** Lets go of everything at once. */
  dispose(): void {
    this.#stop.abort();
    this.#reader?.stop();
  }

  async #record(batch: MergedBatch): Promise<void> {
    const engine = this.#engine as SegmentEngine;
    const { next } = this.#claimed();
    if (batch.rows.count === 0) {
      await this.#append(batch, undefined, undefined);
      return;
    }
    const result = await engine.process(batch.rows, next);
    this.#failIfAsked(batch.rows, next, result);
    const steps = encodeSteps(this.#encoderOptions(), batch.rows, next, result);
    this.#inputsSinceSnapshot += batch.rows.count;
    const due = Math.max(LIMITS.snapshotInputs, engine.stateEntries);
    const snapshot = this.#segment.stateful && this.#inputsSinceSnapshot >= due;
    await this.#append(
      batch,
      steps,
      snapshot ? this.#takeSnapshot(batch, next + batch.rows.count) : undefined,
    );
    const { totals } = this.#context.board;
    totals.steps += steps.steps;
    totals.quarantined += steps.quarantined.length;
    this.#context.board.cameLate(this.#segment.name, result.stages[0]?.timed?.late.length ?? 0);
    const stream = stepsStream(this.#context.plan.definition.name, this.#segment.name, this.#partition);
    for (const record of steps.quarantined) {
      this.#context.onQuarantined(record.stage, `${stream}@${record.n}`, record.message);
    }
  }

  /** Whether what comes next is to be worked at record by record, and with nothing beside it. */
  get #alone(): boolean {
    return this.#claimed().next < this.#care.aloneBelow;
  }

  /**
   * Does what is to be done with the next batch; where there are marks, they say for all that time that it is under
   * way: what it leaves behind may end the thread before it is recorded.
   */
  async #marked(count: number, work: () => unknown, first = this.#claimed().next): Promise<void> {
    const { thread } = this.#context;
    if (thread === undefined || count === 0) {
      await work();
      return;
    }
    const leave = await thread.turnstile.enter(this.#alone);
    this.#marks?.begin(first, count);
    try {
      await work();
    } finally {
      this.#marks?.end();
      leave();
    }
  }

  #encoderOptions() {
    const { plan, provenance } = this.#context;
    return {
      segment: this.#segment,
      origins: plan.origins,
      streams: this.#upstreams.map((upstream) => upstream.stream),
      fromSource: this.#upstreams.every((upstream) => "source" in upstream.from),
      provenance,
    };
  }

  /** A stage whose policy is `fail` stops the pipeline at its first failure, before anything is recorded of it. */
  #failIfAsked(rows: InputRows, first: number, result: SegmentResult): void {
    for (const [at, stage] of result.stages.entries()) {
      const planned = this.#segment.stages[at];
      const failure = stage.failures[0];
      if (failure === undefined || planned?.definition.onError !== "fail") continue;
      const inputs = planned.input < 0 ? undefined : result.stages[planned.input];
      const row = inputs?.origin?.[failure.row] ?? failure.row;
      throw new HeadwaterError("StageFailed", describeThrown(failure.error), {
        where: `stage ${planned.definition.name}, ${this.#describeInput(rows, row)}, input ${first + row}`,
        hint: 'Mend the stage and run again: it goes on at this input. With onError "skip" it would be quarantined.',
        cause: failure.error,
      });
    }
  }

  /** A firing has no record upstream: it is named as in docs/format.md. */
  #describeInput(rows: InputRows, row: number): string {
    if (rows.firings.includes(row)) {
      const key = String(rows.keys?.[row]).slice(0, LIMITS.nameChars);
      const { name } = this.#segment;
      return `firing_${this.#context.plan.definition.name}.${name}@${rows.ordinals[row]} of the key ${key}`;
    }
    const upstream = this.#upstreams[rows.upstreams?.[row] ?? 0]?.stream ?? "";
    return `record ${upstream}@${rows.parents[row]}`;
  }

  #takeSnapshot(at: Progress, next: number): { bytes: Uint8Array; next: number } {
    const watermark = at.steps.at(-1) ?? this.#claimed().watermark;
    const snapshot = (this.#engine as SegmentEngine).snapshot(next, at.cursors, at.through, watermark);
    return { bytes: encodeCanonical(snapshot, Number.MAX_SAFE_INTEGER), next };
  }

  async #recordSnapshot(): Promise<void> {
    const place = { ...this.#claimed(), steps: [] };
    await this.#append(place, undefined, this.#takeSnapshot(place, place.next));
  }

  async #append(
    at: Progress,
    steps: EncodedSteps | undefined,
    snapshot: { readonly bytes: Uint8Array; readonly next: number } | undefined,
  ): Promise<void> {
    const { clock, deployment, board, probe } = this.#context;
    const place = this.#claimed();
    const wall = clock.now();
    const count = steps?.inputs ?? 0;
    const watermark = at.steps.at(-1) ?? place.watermark;
    // The step in force comes first, so that whoever begins to read here knows it.
    const watermarks = [...(place.watermark === undefined ? [] : [place.watermark]), ...at.steps];
    const state: Draft[] = snapshot === undefined ? [] : chunkDrafts("SnapshotChunk", snapshot.bytes, wall);
    let reference = place.snapshot;
    await this.#unitLog().append(
      "StepsRecorded",
      (places) => {
        if (snapshot !== undefined && places.state !== undefined) {
          const { revision, events: chunks } = places.state;
          reference = { revision, chunks, digest: sha256(snapshot.bytes), next: snapshot.next };
        }
        return {
          v: 2,
          wall,
          epoch: place.epoch,
          node: this.#order.node,
          deployment,
          scheme: 1,
          first: place.next,
          count,
          through: at.through,
          from: place.cursors,
          to: at.cursors,
          ...(watermarks.length > 0 && { watermark: encodeWatermarks(watermarks) }),
          ...steps?.columns,
          ...(places.members !== undefined && membersAt(steps?.columns.stages, places.members)),
          ...(places.payload !== undefined && { payload: places.payload }),
          ...(places.quarantine !== undefined && { quarantine: places.quarantine }),
          ...(reference !== undefined && { snapshot: reference }),
        };
      },
      {
        payload: steps === undefined ? [] : payloadDrafts(steps.blocks, wall),
        quarantine: steps === undefined ? [] : quarantineDrafts(steps.quarantined, wall),
        state,
        members:
          steps === undefined || steps.members.length === 0
            ? []
            : chunkDrafts("MembersNamed", steps.members, wall),
      },
      probe && ((point) => probe(`${snapshot === undefined ? "steps" : "snapshot"}:${point}`)),
    );
    if (snapshot !== undefined) this.#inputsSinceSnapshot = 0;
    this.#place = {
      ...place,
      next: place.next + count,
      cursors: at.cursors,
      through: at.through,
      watermark,
      snapshot: reference,
    };
    board.report(this.#order.unit, at.through);
  }

  #claimed(): PartitionPlace {
    if (this.#place === undefined)
      throw new HeadwaterError("Internal", "a partition works before it was claimed");
    return this.#place;
  }

  #unitLog(): UnitLog {
    if (this.#log === undefined)
      throw new HeadwaterError("Internal", "a partition works before it was claimed");
    return this.#log;
  }
}

/** How far a batch has come. */
type Progress = Pick<MergedBatch, "cursors" | "through" | "steps">;

/** The stages of a step event, of which the first refers to its members. */
function membersAt(
  stages: readonly StageColumns[] | undefined,
  membersIn: EventRange,
): Pick<StepColumns, "stages"> {
  const [first, ...others] = stages ?? [];
  return first === undefined ? {} : { stages: [{ ...first, membersIn }, ...others] };
}

/**
 * Where a partition goes on, with the cursors that it had: none if it has no history. What came before it was for
 * deployments that did not have it. Its first claim says so, because whoever replays its history later, when another
 * deployment runs, has to begin with the same step of the watermark.
 */
function placeOf(log: UnitLog, deployedFrom: number): PartitionPlace {
  const { last } = log.main;
  switch (last?.type) {
    case undefined:
      return {
        epoch: 0,
        next: 0,
        cursors: {},
        through: Math.max(THROUGH_NOTHING, deployedFrom - 1),
        watermark: undefined,
        snapshot: undefined,
      };
    case "PartitionClaimed": {
      const { epoch, first, cursors, through, snapshot } = last.data;
      return {
        epoch,
        next: first,
        cursors,
        through,
        watermark: lastWatermark(last.data.watermark),
        snapshot,
      };
    }
    case "StepsRecorded": {
      const { epoch, first, count, to, through, snapshot } = last.data;
      const watermark = lastWatermark(last.data.watermark);
      return { epoch, next: first + count, cursors: to, through, watermark, snapshot };
    }
    default:
      throw new HeadwaterError("LogDamaged", `a partition's stream ends in ${last?.type}`, {
        where: log.main.stream,
      });
  }
}
