import type { WorkerInput } from "../../actors/worker.ts";
import { encodeDeltas } from "../core/columns.ts";
import { HeadwaterError, isHeadwaterError } from "../core/errors.ts";
import { decodeEvent } from "../core/event-codec.ts";
import type { DoorClaimed, InputProgress, RecordsAccepted } from "../core/events.ts";
import { LIMITS } from "../core/limits.ts";
import { THROUGH_NOTHING } from "../core/ordinal.ts";
import { retryStream, sourceStream } from "../core/streams.ts";
import type { SourceDefinition } from "../pipeline/definition.ts";
import { DoorBatches } from "./door-batches.ts";
import { type DoorPlace, readDoorPlace, readHorizon } from "./door-place.ts";
import type { HostContext } from "./host-context.ts";
import type { Intake, IntakeStep } from "./intake.ts";
import type { OpenBatch } from "./open-batch.ts";
import { claimPieces, OtherInputs, otherInputs } from "./other-inputs.ts";
import { payloadDrafts, rejectedDrafts } from "./payload.ts";
import { PullAhead } from "./pull-ahead.ts";
import { loadRejected } from "./rejected-records.ts";
import { RetryReader } from "./retry-reader.ts";
import { readUnlessGone } from "./seek.ts";
import { type BesidePlaces, type UnitAppend, UnitLog } from "./unit-log.ts";

export interface DoorOptions {
  readonly source: SourceDefinition;
  readonly intake: Intake;
  /** Aborts when nothing more is to be taken in. What has been taken goes on, so the door still keeps its promise up. */
  readonly closing: AbortSignal;
  /** Called when the intake has ended, or the door was closed, and all that it took is durable. */
  onEnded(): void;
  /** Called instead of `onEnded` when the input failed in the middle; what it gave until then is durable. */
  onInputFailed(error: HeadwaterError): void;
  onRejected(where: string, error: HeadwaterError): void;
  onResumed(input: string, records: number): void;
  /** A record's event time is so far ahead of all before it that it is not believed yet. */
  onTimeAhead(where: string, time: number): void;
}

/** An event that is prepared, and what follows when it is in the log. */
interface Prepared {
  readonly append: UnitAppend;
  /** Of its records in canonical form. */
  readonly bytes: number;
  done(): void;
}

/** What a door has from its claim on. */
interface Claimed {
  readonly log: UnitLog;
  readonly place: DoorPlace;
  readonly batches: DoorBatches;
}

/**
 * Takes a source's records in: validates them, finds duplicates, gives them ordinals and partitions, and appends
 * them in batches. A record is accepted when its event is durable.
 */
export class DoorWorker {
  readonly #context: HostContext;
  readonly #order: WorkerInput;
  readonly #options: DoorOptions;
  readonly #stream: string;
  readonly #stop = new AbortController();
  #claim: Claimed | undefined;
  #input: InputProgress | undefined;
  /** The other inputs that are known, and the epoch in which they were all said. */
  #others = new OtherInputs();
  #listedIn = 0;
  /** When the last claim was made, by the monotonic clock in milliseconds, and the N that was next. */
  #claimedAt = 0;
  #claimedNext = 0;
  /** Events of inputs that were left or turned to: they are appended together, before whatever else is. */
  #waiting: Prepared[] = [];
  /** Since when the first of them waits, by the monotonic clock. */
  #waitingSince = 0;
  /** The append that is under way, or was last; whoever awaits it hears of its failure. */
  #appending: Promise<void> = Promise.resolve();
  #failed = false;
  #retries: RetryReader | undefined;
  /** What has come back into partitions up to this ordinal is seen to. */
  #putBack = THROUGH_NOTHING;
  /** Its intake has ended, and it has said so. */
  #ended = false;

  constructor(context: HostContext, order: WorkerInput, options: DoorOptions) {
    this.#context = context;
    this.#order = order;
    this.#options = options;
    this.#stream = sourceStream(context.plan.definition.name, options.source.name);
  }

  async claim(): Promise<void> {
    const { deployedFrom, probe } = this.#context;
    const log = await UnitLog.open(this.#context.log, this.#stream);
    const place = await readDoorPlace(this.#context.log, log.main);
    place.epoch++;
    place.through = Math.max(place.through, deployedFrom - 1);
    const batches = new DoorBatches(this.#context, place, { ...this.#options, stream: this.#stream });
    this.#claim = { log, place, batches };
    const { intake } = this.#options;
    const { input, inputs = [], taken } = await intake.locate(place.inputs);
    this.#others = new OtherInputs();
    this.#others.turnTo(input, [...place.inputs, ...inputs]);
    this.#input = input;
    if (taken > 0) this.#options.onResumed(intake.name, taken);
    await probe?.("door-claim:before");
    this.#claimAll(place.listedIn ?? place.epoch);
    await this.#commit();
    // Nothing of the door before can come into the log from here on.
    await this.#settleUnderWay();
    await probe?.("door-claim:after");
  }

  /** What the door before this one was about to append, and did not hear of, may be in the log. */
  async #settleUnderWay(): Promise<void> {
    const { intake } = this.#options;
    const { underWay } = intake;
    if (underWay === undefined) return;
    const recorded = await readUnlessGone(this.#context.log, this.#stream, underWay.revision);
    const data = recorded && decodeEvent(recorded).data;
    if (data !== undefined && "epoch" in data && data.epoch === underWay.epoch) underWay.accepted();
    intake.underWay = undefined;
  }

  /**
   * Says all that is known of inputs, in one claim where that has room in it. `listedIn`: where all was said before,
   * which counts until all is said anew.
   */
  #claimAll(listedIn: number): void {
    const { place } = this.#claimed();
    const pieces = claimPieces(this.#others.all);
    const first = place.epoch;
    for (const [index, inputs] of pieces.entries()) {
      if (index > 0) place.epoch++;
      const isLast = index === pieces.length - 1;
      if (pieces.length === 1) this.#prepareClaim({ inputs });
      else this.#prepareClaim({ inputs, inputsSince: isLast ? first : listedIn });
    }
    this.#listedIn = first;
  }

  #prepareClaim(inputs: Pick<DoorClaimed, "inputs" | "inputsSince">): void {
    const { clock, process, deployment } = this.#context;
    const { place, batches } = this.#claimed();
    const claim: DoorClaimed = {
      v: 2,
      wall: clock.now(),
      epoch: place.epoch,
      node: this.#order.node,
      process,
      assignment: this.#order.assignment,
      deployment,
      first: place.next,
      through: place.through,
      ...batches.timeColumns(),
      ...(place.retry > 0 && { retry: place.retry }),
      ...inputs,
      ...(this.#input !== undefined && { input: this.#input }),
    };
    this.#waits({ append: { type: "DoorClaimed", make: () => claim }, bytes: 0, done: () => {} });
  }

  /** It is appended with what follows, or soon. */
  #waits(prepared: Prepared): void {
    if (this.#waiting.length === 0) this.#waitingSince = this.#context.clock.monotonic();
    this.#waiting.push(prepared);
  }

  /** Appends what waits, and then `more`. Nothing else may be under way. */
  async #commit(...more: readonly Prepared[]): Promise<void> {
    const all = [...this.#waiting.splice(0), ...more];
    if (all.length === 0) return;
    const { probe } = this.#context;
    const { log } = this.#claimed();
    if (probe === undefined) await log.appendAll(all.map(({ append }) => append));
    else {
      for (const { append } of all) {
        const isClaim = append.type === "DoorClaimed";
        await log.appendAll([append], isClaim ? undefined : (point) => probe(`door:${point}`));
      }
    }
    for (const { done } of all) done();
  }

  /** All that is known of the source's inputs; the one that is read comes last. */
  #known(): readonly InputProgress[] {
    return this.#input === undefined ? this.#others.all : [...this.#others.all, this.#input];
  }

  /** `more` are known from here on, and records are of `input`: says so in a claim of its own. */
  async #turnTo(input: InputProgress | undefined, more: readonly InputProgress[]): Promise<void> {
    await this.#appending;
    const { place } = this.#claimed();
    this.#others.turnTo(input, more);
    this.#input = input;
    const claims = Math.max(LIMITS.claimsPerListing, this.#others.size / LIMITS.inputsPerClaim);
    if (place.epoch + 1 - this.#listedIn >= claims) {
      place.epoch++;
      this.#claimAll(this.#listedIn);
    } else {
      for (const inputs of claimPieces(otherInputs(more, input))) {
        place.epoch++;
        this.#prepareClaim({ inputs, inputsSince: this.#listedIn });
      }
    }
  }

  /**
   * Says anew all that a claim says, where history is let go of and the last one was a while ago: a successor looks at
   * nothing before it.
   */
  async #claimAnew(signal: AbortSignal): Promise<void> {
    const { snapshotEveryMs, clock } = this.#context;
    if (snapshotEveryMs === undefined || clock.monotonic() - this.#claimedAt < snapshotEveryMs) return;
    this.#claimedAt = clock.monotonic();
    if (this.#claimed().place.next === this.#claimedNext) return;
    await this.#flush(signal);
    await this.#appending;
    const { place } = this.#claimed();
    this.#claimedNext = place.next;
    place.epoch++;
    this.#claimAll(this.#listedIn);
    await this.#commit();
  }

  /** Brings back which ids were taken before. */
  async restore(): Promise<void> {
    const { place, batches } = this.#claimed();
    if (this.#options.source.id !== undefined)
      batches.horizon = await readHorizon(this.#context.log, this.#stream);
    this.#context.board.reportDoor(this.#order.unit, place.through);
  }

  /** Follows what is asked to be put back. `changed` is called when there is more. */
  #openRetries(changed: () => void): void {
    const { log, plan, takesRetries } = this.#context;
    if (!takesRetries) return;
    const stream = retryStream(plan.definition.name);
    const next = this.#claimed().place.retry;
    this.#retries = new RetryReader({ log, stream, unit: this.#stream, next, changed });
    this.#retries.start();
  }

  /**
   * Takes records in until the intake ends, the door is closed, or `until` aborts. After that it keeps its promise up
   * with the other doors', until `until` aborts. One that was closed says no end: its input goes on in another run.
   */
  async work(until: AbortSignal): Promise<void> {
    const signal = AbortSignal.any([until, this.#stop.signal]);
    const { intake, closing } = this.#options;
    const taking = AbortSignal.any([signal, closing]);
    const { board, clock } = this.#context;
    const { place, batches } = this.#claimed();
    batches.injected = intake.givesOrdinals ?? false;
    this.#claimedAt = clock.monotonic();
    this.#claimedNext = place.next;
    const steps = new PullAhead(
      intake.steps(this.#input, { all: () => this.#known(), latest: () => this.#input }, taking),
      clock,
    );
    taking.addEventListener("abort", () => steps.interrupt(), { once: true });
    this.#openRetries(() => {
      steps.interrupt();
      board.touch();
    });
    const putBack = board.onPutBack(() => steps.interrupt());
    board.pressure.enters(this.#order.unit, { kind: "working" }, clock.monotonic());
    try {
      await this.#takeIn(steps, taking);
    } catch (error) {
      if (!isHeadwaterError(error, "InputFailed")) throw error;
      // What was read before the input failed is taken and brought to its end.
      await this.#flush(taking);
      this.#options.onInputFailed(error);
      await this.#keepUp(signal, taking);
      return;
    } finally {
      putBack();
      // A successor's claim must not come before what is under way.
      await this.#appending.catch(() => {});
    }
    if (!taking.aborted) await this.#retries?.caughtUp();
    await this.#takeRetries(taking);
    if (signal.aborted) return;
    if (!closing.aborted) {
      this.#endTime();
      await this.#appendNow("InputEnded");
      this.#ended = true;
    }
    board.pressure.enters(this.#order.unit, { kind: "ended" }, clock.monotonic());
    this.#options.onEnded();
    await this.#keepUp(signal, taking);
  }

  /** What was read of an input is known before the intake looks for the next one, and in the log before anything of that. */
  async #leave(final: boolean, signal: AbortSignal): Promise<void> {
    await this.#appending;
    if (!this.#claimed().batches.empty) this.#waits(this.#prepare("RecordsAccepted"));
    if (final && this.#input !== undefined) this.#input = { ...this.#input, ended: true };
    const bytes = this.#waiting.reduce((sum, waits) => sum + waits.bytes, 0);
    if (this.#waiting.length >= LIMITS.doorEventsWaiting || bytes >= LIMITS.batchBytes)
      await this.#flush(signal);
  }

  /** Takes records in until there are no more, or `signal` aborts. */
  async #takeIn(steps: PullAhead<IntakeStep>, signal: AbortSignal): Promise<void> {
    const { batches } = this.#claimed();
    while (!signal.aborted) {
      if (this.#failed) await this.#appending;
      const next = await steps.next(this.#patienceMs());
      if (next?.done) break;
      if (next?.value.kind === "left") await this.#leave(next.value.final, signal);
      // The one that it leaves becomes one of the others.
      if (next?.value.kind === "input")
        await this.#turnTo(next.value.input, this.#input === undefined ? [] : [this.#input]);
      if (next?.value.kind === "found") await this.#turnTo(this.#input, next.value.inputs);
      for (const record of next?.value.kind === "records" ? next.value.records : []) {
        batches.injected ||= record.ordinal !== undefined;
        await batches.take(record, this.#input);
        if (batches.full) await this.#flushAhead(steps, signal);
        if (signal.aborted && !this.#mustTake) break;
      }
      if (this.#dueInMs() === 0) await this.#flush(signal);
      // Ordinals from outside are not to be overtaken by those, and promises, of this door's own.
      if (batches.injected) continue;
      if (next === undefined && this.#hasPeers) await this.#raiseToOthers();
      if (next === undefined && this.#idleInMs() <= 0) await this.#becomeIdle();
      if (batches.empty) await this.#takeRetries(signal);
      await this.#claimAnew(signal);
    }
    if (this.#mustTake) await this.#takeGiven(steps, signal);
    await this.#flush(signal);
  }

  /** What nothing identifies cannot be given again: a door that is closed takes what it was given. */
  get #mustTake(): boolean {
    return this.#input === undefined && this.#options.closing.aborted && !this.#stop.signal.aborted;
  }

  /** What was asked for ahead, and is there. */
  async #takeGiven(steps: PullAhead<IntakeStep>, signal: AbortSignal): Promise<void> {
    const given = await steps.given();
    if (given === undefined || given.done || given.value.kind !== "records") return;
    const { batches } = this.#claimed();
    for (const record of given.value.records) {
      await batches.take(record, this.#input);
      if (batches.full) await this.#flushAhead(steps, signal);
    }
  }

  /** Takes what was rejected and is put back, each in a batch of nothing else. */
  async #takeRetries(signal: AbortSignal): Promise<boolean> {
    const retries = this.#retries;
    if (retries === undefined) return false;
    if (retries.items.length > 0) await this.#appending;
    const { board, log, batchRecords } = this.#context;
    const { place, batches } = this.#claimed();
    let some = false;
    while (retries.items.length > 0 && !signal.aborted) {
      const items = retries.items.slice(0, batchRecords);
      batches.takeRetried();
      let taken = 0;
      for await (const record of loadRejected(log, this.#stream, items)) {
        await batches.take(record, this.#input);
        taken++;
        if (batches.full) break;
      }
      place.retry = (items[taken - 1]?.item ?? -1) + 1;
      await this.#appendNow("RecordsAccepted");
      board.totals.retried += taken;
      retries.take(taken);
      some = true;
      await this.#waitForRoom(signal);
    }
    board.reportRetries(this.#order.unit, retries.taken);
    return some;
  }

  /** Raises this door's promise to the other doors' until `signal` aborts; puts back what is asked for until `taking` does. */
  async #keepUp(signal: AbortSignal, taking: AbortSignal): Promise<void> {
    while (!signal.aborted) {
      // Listening begins before looking: what the others promise during an append is not to be missed.
      const changed = this.#context.board.changed(signal);
      const back = await this.#takeRetries(taking);
      // What comes with ordinals of its own in another run must not be below what was promised in this one.
      const goesOn = this.#claimed().batches.injected && taking.aborted && !this.#ended;
      if (!goesOn) await this.#raiseToOthers(back);
      await changed;
    }
  }

  /**
   * Promises what others have promised, or put back into partitions. What came back after the end, also through this
   * door (`back`), has to be closed by an end of its own; both are said in one event.
   */
  async #raiseToOthers(back = false): Promise<void> {
    const { board, plan } = this.#context;
    const { doorsThrough: others, putBack } = board;
    const { clock, eventTime, empty } = this.#claimed().batches;
    const anew = putBack > this.#putBack;
    if ((others <= clock.floor && !anew && !back) || !empty) return;
    clock.raise(others);
    if (anew && plan.segments.some((segment) => segment.watched)) {
      clock.raise(clock.floor + 1);
      eventTime.resume(clock.floor);
    }
    this.#putBack = putBack;
    if ((anew || back) && this.#ended) this.#endTime();
    if (clock.floor > this.#claimed().place.through) await this.#appendNow("RecordsAccepted");
  }

  /** Says that others need not wait for this source's event time. */
  async #becomeIdle(): Promise<void> {
    const { clock, eventTime } = this.#claimed().batches;
    const ordinal = clock.peek(this.#context.clock.now());
    clock.raise(ordinal);
    eventTime.becomeIdle(ordinal);
    await this.#appendNow("RecordsAccepted");
  }

  /** How long until the source counts as idle; ∞ if it never does, or does already. */
  #idleInMs(): number {
    const { idleAfterMs } = this.#options.source.watermark;
    const { eventTime, empty, lastTakenAt } = this.#claimed().batches;
    const status = eventTime.place.watermark?.watermark.status;
    if (idleAfterMs === undefined || status === "idle" || status === "ended" || !empty) {
      return Number.POSITIVE_INFINITY;
    }
    return lastTakenAt + idleAfterMs - this.#context.clock.monotonic();
  }

  /** The end of an input has a place of its own in the order of records, so that it can close windows. */
  #endTime(): void {
    const { keepOpen, plan } = this.#context;
    if (keepOpen || !plan.segments.some((segment) => segment.watched)) return;
    const { clock, eventTime } = this.#claimed().batches;
    clock.raise(clock.floor + 1);
    eventTime.end(clock.floor);
  }

  /** Whether others have to know how far this one is. */
  get #hasPeers(): boolean {
    return this.#context.plan.sources.length > 1 || this.#context.board.putBack > this.#putBack;
  }

  /** How long the next record may take before something has to be done without it; `undefined`: for ever. */
  #patienceMs(): number | undefined {
    const { batches } = this.#claimed();
    const due = this.#dueInMs();
    if (due !== undefined) return due;
    if (batches.injected) return undefined;
    const wait = Math.min(this.#hasPeers ? this.#context.tickMs : Number.POSITIVE_INFINITY, this.#idleInMs());
    return Number.isFinite(wait) ? Math.max(0, wait) : undefined;
  }

  /** How long until what is to be appended has waited long enough; `undefined`: there is nothing. */
  #dueInMs(): number | undefined {
    const { clock, tickMs } = this.#context;
    const since = this.#waiting.length > 0 ? this.#waitingSince : this.#claimed().batches.openedAt;
    return since === undefined ? undefined : Math.max(0, since + tickMs - clock.monotonic());
  }

  /** Appends what has been read, if anything, and waits while too much is in flight. */
  async #flush(signal: AbortSignal): Promise<void> {
    await this.#appending;
    const { empty } = this.#claimed().batches;
    if (empty && this.#waiting.length === 0) return;
    if (empty) await this.#commit();
    else await this.#append("RecordsAccepted");
    await this.#waitForRoom(signal);
  }

  /**
   * Begins to append a full batch when the one before it is durable, so that the next is filled meanwhile. `steps` is
   * interrupted when that fails.
   */
  async #flushAhead(steps: PullAhead<IntakeStep>, signal: AbortSignal): Promise<void> {
    await this.#appending;
    this.#appending = this.#append("RecordsAccepted");
    this.#appending.catch(() => {
      this.#failed = true;
      steps.interrupt();
    });
    await this.#waitForRoom(signal);
  }

  async #appendNow(type: "RecordsAccepted" | "InputEnded"): Promise<void> {
    await this.#appending;
    await this.#append(type);
  }

  /** Nothing else may be under way. The next batch can be filled at once; this one is accepted when it resolves. */
  async #append(type: "RecordsAccepted" | "InputEnded"): Promise<void> {
    await this.#commit(this.#prepare(type));
  }

  /** The event of what was read since the last one. The next batch can be filled at once. */
  #prepare(type: "RecordsAccepted" | "InputEnded"): Prepared {
    const { clock, deployment, board } = this.#context;
    const { log, place, batches } = this.#claimed();
    const wall = clock.now();
    const through = batches.clock.floor;
    const { batch, columns, stored, bytes } = batches.close();
    const count = batch.ordinals.length;
    const { retried } = batch;
    if (this.#input !== undefined && retried === undefined)
      this.#input = this.#advance(this.#input, batch, type === "InputEnded");
    const revision = log.main.revision + this.#waiting.length + 1;
    const input = this.#input;
    const { epoch, retry, next: first } = place;
    place.next += count;
    place.through = through;
    const { intake } = this.#options;
    const accepted = () => {
      intake.underWay = undefined;
      const { totals } = board;
      const door = this.#order.unit;
      if (count > 0) board.accept({ door, ordinal: through, records: count, bytes });
      totals.duplicate += batch.duplicate;
      totals.rejected += batch.rejected.length;
      if (retried === undefined) intake.taken(batch.read);
      for (const settle of batch.settle) settle();
    };
    if (input === undefined && retried === undefined) {
      intake.underWay = { epoch, revision, accepted };
    }
    const append = {
      type,
      make: (places: BesidePlaces): RecordsAccepted => ({
        v: 2,
        wall,
        epoch,
        node: this.#order.node,
        deployment,
        scheme: 1,
        first,
        count,
        through,
        ...columns,
        ...(places.payload !== undefined && { payload: places.payload }),
        ...(places.transit !== undefined && { transit: places.transit }),
        ...(stored.captured.length > 0 && { captured: stored.captured }),
        ...(places.quarantine !== undefined && {
          rejected: { ...places.quarantine, count: batch.rejected.length },
        }),
        ...(retried !== undefined &&
          retried.rows.length > 0 && {
            retried: { rows: encodeDeltas(retried.rows), items: encodeDeltas(retried.items) },
          }),
        ...(retry > 0 && { retry }),
        ...(input !== undefined && { input }),
      }),
      besides: {
        payload: payloadDrafts(stored.payload, wall),
        transit: payloadDrafts(stored.transit, wall),
        quarantine: rejectedDrafts(batch.rejected, wall, revision),
      },
    };
    return {
      append,
      bytes,
      done: () => {
        accepted();
        board.reportDoor(this.#order.unit, through);
      },
    };
  }

  #advance(input: InputProgress, batch: OpenBatch, ended: boolean): InputProgress {
    const bytes = batch.end ?? input.bytes;
    const { unfinished: before, ...known } = input;
    const unfinished = batch.unfinished ?? (batch.read === 0 ? before : undefined);
    return {
      ...known,
      ...(unfinished !== undefined && { unfinished }),
      name: batch.read === 0 ? input.name : this.#options.intake.name,
      bytes,
      digest: batch.end === undefined ? input.digest : this.#options.intake.digestUpTo(bytes),
      read: input.read + batch.read,
      accepted: input.accepted + batch.ordinals.length,
      duplicate: input.duplicate + batch.duplicate,
      rejected: input.rejected + batch.rejected.length,
      // What only keeps the promise up takes nothing, and an input that has ended stays at its end.
      ended: ended || (input.ended && batch.read === 0),
    };
  }

  async #waitForRoom(signal: AbortSignal): Promise<void> {
    const { board, clock } = this.#context;
    const { unit } = this.#order;
    if (!board.crowded(unit)) return;
    board.pressure.enters(unit, { kind: "held" }, clock.monotonic());
    while (!signal.aborted && board.crowded(unit)) await board.changed(signal);
    board.pressure.enters(unit, { kind: "working" }, clock.monotonic());
  }

  dispose(): void {
    const { board, clock } = this.#context;
    board.pressure.leaves(this.#order.unit, clock.monotonic());
    this.#stop.abort();
    this.#retries?.stop();
  }

  #claimed(): Claimed {
    if (this.#claim === undefined) throw new HeadwaterError("Internal", "a door works before it was claimed");
    return this.#claim;
  }
}
