import { setMaxListeners } from "node:events";
import type { WorkerInput } from "../../actors/worker.ts";
import { encodeCanonical } from "../core/canonical.ts";
import { HeadwaterError, withPlaces } from "../core/errors.ts";
import type { Cursors, EffectRange } from "../core/events.ts";
import { LIMITS } from "../core/limits.ts";
import { THROUGH_NOTHING } from "../core/ordinal.ts";
import { retryStream } from "../core/streams.ts";
import { originsOf } from "../engine/origins.ts";
import type { InputRows } from "../engine/rows.ts";
import type { SegmentEngine, SegmentResult } from "../engine/segment-engine.ts";
import { type EncodedSteps, encodeSteps } from "../engine/steps-encoder.ts";
import { cutReason, messageOf } from "../engine/thrown.ts";
import type { Segment } from "../pipeline/plan.ts";
import { currentCursors } from "./deployed-cursors.ts";
import type { HostContext } from "./host-context.ts";
import { LiveEffects, letGo } from "./live-effects.ts";
import { LongWaits } from "./long-waits.ts";
import type { MergedBatch, MergeReader } from "./merge-reader.ts";
import { PartitionHead, type PartitionPlace, type Progress, type TakenSnapshot } from "./partition-head.ts";
import { replayInputs } from "./partition-replay.ts";
import { partitionEngine, readInputs, restoreEngine } from "./partition-restore.ts";
import { type ComingBack, PartitionRetries, stillQuarantined } from "./partition-retries.ts";
import type { Activity } from "./pressure.ts";
import { refusedBefore } from "./refused-inputs.ts";
import { type RetriedContext, retriedBetween } from "./retried-inputs.ts";
import { partitionOfUnit, stepsStreamOf, upstreamsOfPartition } from "./routes.ts";
import { ordinalOfInput } from "./seek.ts";
import { ServedEffects } from "./served-effects.ts";
import { SnapshotSchedule } from "./snapshot-schedule.ts";
import { loadSnapshot } from "./snapshots.ts";
import { type Care, NO_CARE } from "./suspects.ts";
import type { UpstreamSelection } from "./upstream-reader.ts";
import type { UnitMarks } from "./work-marks.ts";

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
  readonly #snapshots: SnapshotSchedule;
  #head: PartitionHead | undefined;
  #engine: SegmentEngine | undefined;
  #reader: MergeReader | undefined;
  #effects: LiveEffects | undefined;
  #retries: PartitionRetries | undefined;
  /** Of the last input that came from upstream; `undefined`: it is to be looked up. */
  #lastOrdinal: number | undefined;
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
    this.#marks = (context.thread ?? context).marks?.of(order.unit);
    this.#order = order;
    this.#batchMost = Math.min(batchMost, context.batchRecords);
    const { segment, partition } = partitionOfUnit(context.plan, order.unit);
    this.#segment = segment;
    this.#partition = partition;
    this.#upstreams = upstreamsOfPartition(context.plan, segment, partition);
    this.#snapshots = new SnapshotSchedule(context.clock, context.snapshotEveryMs);
    // Every effect that is under way listens; how many may be has a bound of its own.
    setMaxListeners(0, this.#stop.signal);
  }

  /** Appends the claim, after which whoever owned the partition before can append nothing more. */
  async claim(): Promise<void> {
    this.#head = await PartitionHead.claim({
      context: this.#context,
      stream: stepsStreamOf(this.#context.plan, this.#segment, this.#partition),
      order: this.#order,
      upstreams: this.#upstreams,
      signal: this.#stop.signal,
    });
  }

  /** What the stages reach of the outside while the partition works. */
  #openEffects(): LiveEffects {
    const { log, clock, deployment, tickMs, gates, probe } = this.#context;
    const { log: unit, stream, place } = this.#claimed();
    const { epoch, next, effectsFrom: from } = place;
    return new LiveEffects({
      log,
      clock,
      gates,
      steps: stream,
      epoch,
      node: this.#order.node,
      deployment,
      flushMs: Math.min(tickMs, LIMITS.effectFlushMs),
      from,
      next,
      recorded: this.#context.recordedEffects?.(this.#segment.name, this.#partition),
      probe,
      signal: this.#stop.signal,
      waits: this.#longWaits(stream),
      mustStillOwn: (cause) => unit.mustStillOwn(cause),
    });
  }

  /** A record whose function keeps everybody waiting is named to who asks what holds the rest back. */
  #longWaits(stream: string): LongWaits {
    return new LongWaits({
      clock: this.#context.clock,
      signal: this.#stop.signal,
      onLong: ({ stage, n }, why) =>
        this.#enters({
          kind: "outside",
          reason: `stage ${stage} waits for input ${n} of ${stream}`,
          ...(why !== undefined && { why }),
        }),
      onOver: () => this.#enters({ kind: "working" }),
    });
  }

  /** Brings the state back: the last snapshot, and the inputs since then run again without being recorded. */
  async restore(): Promise<void> {
    const { place, stream } = this.#claimed();
    const context = this.#context;
    const recorded = this.#segment.stateful ? await refusedBefore(context.log, stream, place) : [];
    const engine = partitionEngine(context, this.#segment, {
      watch: this.#marks,
      refused: [...recorded, ...this.#care.refused],
    });
    this.#engine = engine;
    await this.#openRetries(place);
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
    this.#snapshots.count(place.next - from.next);
    const retried = await retriedBetween(context.log, context.plan.definition.name, stream, from, place);
    const { log, clock } = context;
    const effects = new ServedEffects({ log, clock, steps: stream, signal: this.#stop.signal });
    this.#marks?.restoring(true);
    const replayed = await replayInputs(
      {
        context: this.#retriedContext(),
        engine,
        reader,
        effects,
        retried,
        batchRecords: this.#batchMost,
        around: (first, count, work) => this.#marked(count, work, first),
      },
      from,
      place,
      this.#stop.signal,
    );
    this.#marks?.restoring(false);
    if (replayed !== undefined) reader.goOnFrom(place, replayed.steps);
  }

  /** Begins to follow what is asked to be put back, and tells of what came back and is not promised by doors yet. */
  async #openRetries({ cursors, next, through, watermark }: PartitionPlace): Promise<void> {
    const { log, plan, board, takesRetries } = this.#context;
    const taken = cursors[retryStream(plan.definition.name)];
    if (taken !== undefined) {
      this.#lastOrdinal = await ordinalOfInput(log, this.#claimed().stream, next - 1);
      const { watched } = this.#segment;
      const ended = watermark?.watermark.status === "ended" && watermark.ordinal > this.#lastOrdinal;
      if (this.#lastOrdinal > through || (watched && !ended)) board.reportPutBack(this.#lastOrdinal);
    }
    if (!takesRetries || this.#stop.signal.aborted) return;
    this.#retries = new PartitionRetries(this.#retriedContext(), taken ?? 0, () => this.#reader?.nudge());
  }

  #retriedContext(): RetriedContext {
    const { log, plan, decode } = this.#context;
    return { log, plan, decode, segment: this.#segment, partition: this.#partition };
  }

  /** Works until `signal` aborts, then leaves a snapshot so that the next start is quick. */
  async work(signal: AbortSignal): Promise<void> {
    const reader = this.#reader;
    if (reader === undefined)
      throw new HeadwaterError("Internal", "a partition works before it was restored");
    this.#context.board.report(this.#order.unit, this.#place.through);
    this.#effects = this.#openEffects();
    // What was asked for before comes before what is accepted now.
    await this.#retries?.caughtUp();
    for (;;) {
      await this.#takeRetries(signal);
      this.#enters({ kind: "waiting" });
      const batch = await reader.next(this.#alone ? 1 : this.#batchMost, signal, this.#untilSnapshotMs());
      if (batch === undefined) break;
      this.#enters({ kind: "working" });
      await this.#marked(batch.rows.count, () => this.#record(batch));
    }
    const place = this.#place;
    if (!this.#segment.stateful || !this.#snapshots.isWorthIt(place.cursors)) return;
    const at = { ...place, steps: [] };
    await this.#append(at, undefined, this.#takeSnapshot(at, place.next));
  }

  /** Lets go of everything at once. */
  dispose(): void {
    const { board, clock } = this.#context;
    board.pressure.leaves(this.#order.unit, clock.monotonic());
    this.#stop.abort(letGo(this.#order.unit));
    this.#reader?.stop();
    this.#retries?.stop();
  }

  #enters(activity: Activity): void {
    const { board, clock } = this.#context;
    board.pressure.enters(this.#order.unit, activity, clock.monotonic());
  }

  /** What is done before `work` answers is done in one go: nothing else in this thread goes on meanwhile. */
  #computed<T>(work: () => T): T {
    const { board, clock } = this.#context;
    const from = clock.monotonic();
    try {
      return work();
    } finally {
      board.pressure.computed(this.#order.unit, from, clock.monotonic());
    }
  }

  async #record(merged: MergedBatch): Promise<void> {
    const engine = this.#engine as SegmentEngine;
    const { next, cursors, through } = this.#place;
    const batch = { ...merged, cursors: this.#withRetries(merged.cursors, cursors) };
    if (batch.rows.count === 0) {
      if (this.#untilSnapshotMs() === 0) {
        await this.#append(batch, undefined, this.#takeSnapshot(batch, next));
      } else if (batch.through > through || batch.steps.length > 0)
        await this.#append(batch, undefined, undefined);
      return;
    }
    const result = await this.#computed(() => engine.process(batch.rows, next, this.#effects));
    // Whoever was let go of while functions were waiting leaves the batch to the next owner.
    this.#stop.signal.throwIfAborted();
    this.#failIfAsked(this.#segment, batch.rows, next, result);
    const steps = this.#withPlaces(encodeSteps(this.#encoderOptions(), batch.rows, next, result));
    this.#lastOrdinal = batch.rows.ordinals.at(-1);
    this.#snapshots.count(batch.rows.count);
    const snapshot = this.#segment.stateful && this.#snapshots.isDue(engine.stateEntries, cursors);
    await this.#append(
      batch,
      steps,
      snapshot ? this.#takeSnapshot(batch, next + batch.rows.count) : undefined,
    );
    this.#tell(steps, result);
  }

  /** How long until a snapshot is due by time; `undefined`: none is. */
  #untilSnapshotMs(): number | undefined {
    return this.#segment.stateful ? this.#snapshots.untilDueMs(this.#place.cursors) : undefined;
  }

  /** Upstream's cursors, and up to where what was put back is taken. */
  #withRetries(upstream: Cursors, before: Cursors): Cursors {
    const retries = retryStream(this.#context.plan.definition.name);
    const taken = before[retries];
    return taken === undefined ? upstream : { ...upstream, [retries]: taken };
  }

  /** Takes what is asked to be put back, as long as nothing of the ordinal that it gets has been taken. */
  async #takeRetries(signal: AbortSignal): Promise<void> {
    const retries = this.#retries;
    if (retries === undefined) return;
    const { board } = this.#context;
    while (retries.waiting && !signal.aborted && (await this.#isBetween())) {
      const back = await retries.next(this.#alone ? 1 : this.#batchMost, this.#place.through + 1);
      if (back === undefined) break;
      await this.#marked(back.rows.count, () => this.#recordRetried(retries.stream, back));
      retries.take(back.rows.count);
    }
    board.reportRetries(this.#order.unit, retries.taken);
  }

  async #isBetween(): Promise<boolean> {
    const { next, through, watermark } = this.#place;
    if (!this.#reader?.between || (watermark?.ordinal ?? THROUGH_NOTHING) > through) return false;
    this.#lastOrdinal ??= await ordinalOfInput(this.#context.log, this.#claimed().stream, next - 1);
    return this.#lastOrdinal <= through;
  }

  async #recordRetried(stream: string, back: ComingBack): Promise<void> {
    const engine = this.#engine as SegmentEngine;
    const place = this.#place;
    const { rows, entry, withdrawn } = back;
    const { segment } = engine.entryAt(entry);
    this.#enters({ kind: "working" });
    if (withdrawn !== undefined) {
      engine.refuse({ n: place.next, stage: entry, row: 0, message: withdrawn, code: "Withdrawn" });
    }
    const result = await engine.processAt(entry, rows, place.next, this.#effects);
    this.#stop.signal.throwIfAborted();
    if (withdrawn === undefined) this.#failIfAsked(segment, rows, place.next, result);
    const options = { ...this.#encoderOptions(), segment, streams: [stream], fromSource: false };
    const encoded = this.#withPlaces(encodeSteps(options, rows, place.next, result));
    const steps = {
      ...encoded,
      columns: { ...encoded.columns, entry },
      quarantined: [...encoded.quarantined, ...stillQuarantined(engine, back, stream, place.next)],
    };
    // Before it is there: a run must not end between the append and the promise.
    this.#context.board.reportPutBack(place.through + 1);
    this.#snapshots.count(rows.count);
    const cursors = { ...place.cursors, [stream]: back.next };
    await this.#append({ cursors, through: place.through, steps: [] }, steps, undefined);
    this.#context.board.totals.retried += rows.count;
    this.#tell(steps, result);
  }

  /** Stacks as they are kept: they name lines that somebody wrote, where the code that runs is made of them. */
  #withPlaces(steps: EncodedSteps): EncodedSteps {
    if (steps.quarantined.every(({ stack }) => stack === undefined)) return steps;
    const { places } = this.#context;
    const quarantined = steps.quarantined.map((record) =>
      record.stack === undefined ? record : { ...record, stack: cutReason(places(record.stack)) },
    );
    return { ...steps, quarantined };
  }

  #tell(steps: EncodedSteps, result: SegmentResult): void {
    const { totals } = this.#context.board;
    totals.steps += steps.steps;
    totals.quarantined += steps.quarantined.length;
    this.#context.board.cameLate(this.#segment.name, result.stages[0]?.timed?.late.length ?? 0);
    const stream = stepsStreamOf(this.#context.plan, this.#segment, this.#partition);
    for (const record of steps.quarantined) {
      this.#context.onQuarantined(
        record.stage,
        `${stream}@${record.n}.${record.k ?? 0}/${record.stage}`,
        record.message,
      );
    }
  }

  /** Whether what comes next is to be worked at record by record, and with nothing beside it. */
  get #alone(): boolean {
    return this.#place.next < this.#care.aloneBelow;
  }

  /**
   * Does what is to be done with the next batch; where there are marks, they say for all that time that it is under
   * way: what it leaves behind may end the thread before it is recorded.
   */
  async #marked<T>(count: number, work: () => T | Promise<T>, first = this.#place.next): Promise<T> {
    const { thread } = this.#context;
    if (thread === undefined || count === 0) return work();
    const leave = await thread.turnstile.enter(this.#alone);
    this.#marks?.begin(first, count);
    try {
      return await work();
    } finally {
      this.#marks?.end();
      leave();
    }
  }

  #encoderOptions() {
    const { plan, provenance } = this.#context;
    return {
      pipeline: plan.definition.name,
      segment: this.#segment,
      origins: originsOf(plan),
      streams: this.#upstreams.map((upstream) => upstream.stream),
      fromSource: this.#upstreams.every((upstream) => "source" in upstream.from),
      provenance,
    };
  }

  /** A stage whose policy is `fail` stops the pipeline at its first failure, before anything is recorded of it. */
  #failIfAsked(segment: Segment, rows: InputRows, first: number, result: SegmentResult): void {
    for (const [at, stage] of result.stages.entries()) {
      const planned = segment.stages[at];
      const failure = stage.failures[0];
      if (failure === undefined || planned?.definition.onError !== "fail") continue;
      const inputs = planned.input < 0 ? undefined : result.stages[planned.input];
      const row = inputs?.origin?.[failure.row] ?? failure.row;
      throw new HeadwaterError("StageFailed", messageOf(failure.error), {
        where: `stage ${planned.definition.name}, ${this.#describeInput(rows, row)}, input ${first + row}`,
        hint: 'Mend the stage and run again: it goes on at this input. With onError "skip" it would be quarantined.',
        cause: withPlaces(failure.error, this.#context.places),
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
    const retries = retryStream(this.#context.plan.definition.name);
    if (rows.before !== undefined) return `record ${retries}@${rows.parents[row]}, which was put back`;
    const upstream = this.#upstreams[rows.upstreams?.[row] ?? 0]?.stream ?? "";
    return `record ${upstream}@${rows.parents[row]}`;
  }

  #takeSnapshot(at: Progress, next: number): TakenSnapshot {
    const watermark = at.steps.at(-1) ?? this.#place.watermark;
    const engine = this.#engine as SegmentEngine;
    const bytes = this.#snapshots.take(() =>
      encodeCanonical(engine.snapshot(next, at.cursors, at.through, watermark), Number.MAX_SAFE_INTEGER),
    );
    return { bytes, next };
  }

  async #append(
    at: Progress,
    steps: EncodedSteps | undefined,
    snapshot: TakenSnapshot | undefined,
  ): Promise<void> {
    const head = this.#claimed();
    this.#enters({ kind: "log" });
    await head.append({ at, steps, snapshot, effects: this.#effectsUpTo(steps?.inputs ?? 0) });
    if (snapshot !== undefined) this.#snapshots.kept(at.cursors);
    this.#context.board.report(this.#order.unit, at.through);
  }

  /** The results of the effects of the next `count` inputs. */
  #effectsUpTo(count: number): EffectRange | undefined {
    const { next, effectsFrom } = this.#place;
    if (count > 0 && this.#effects !== undefined) return this.#effects.rangeUpTo(effectsFrom, next + count);
    return effectsFrom === undefined ? undefined : { revision: effectsFrom, events: 0 };
  }

  get #place(): PartitionPlace {
    return this.#claimed().place;
  }

  #claimed(): PartitionHead {
    if (this.#head === undefined)
      throw new HeadwaterError("Internal", "a partition works before it was claimed");
    return this.#head;
  }
}
