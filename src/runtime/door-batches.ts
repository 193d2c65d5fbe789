import { Arena } from "../core/arena.ts";
import { encodeDeltas, encodeTexts } from "../core/columns.ts";
import { sha256 } from "../core/digest.ts";
import { describeThrown, HeadwaterError } from "../core/errors.ts";
import type { InputProgress, RecordsAccepted } from "../core/events.ts";
import { LIMITS } from "../core/limits.ts";
import { ORDINAL_MOST, OrdinalClock } from "../core/ordinal.ts";
import { partitionOfKey } from "../core/partition.ts";
import { encodeWatermarks } from "../core/watermark.ts";
import { EventTime } from "../engine/event-time.ts";
import { NO_BYTES } from "../engine/rows.ts";
import { sectionsOf } from "../engine/steps-encoder.ts";
import { acceptedBlocks, type StoredBlocks } from "../engine/stored-blocks.ts";
import { CAPTURE_ENDS } from "../pipeline/capture.ts";
import type { SourceDefinition } from "../pipeline/definition.ts";
import { type Admitted, admit } from "./admission.ts";
import type { DoorPlace } from "./door-place.ts";
import { DuplicateHorizon } from "./duplicates.ts";
import type { HostContext } from "./host-context.ts";
import { type Intake, isRefusedAlready } from "./intake.ts";
import type { IntakeOutcome, IntakeRecord } from "./intake-record.ts";
import { OpenBatch } from "./open-batch.ts";
import { readableValue } from "./rejected-records.ts";

export interface DoorBatchesOptions {
  readonly source: SourceDefinition;
  readonly intake: Intake;
  /** The source's stream. */
  readonly stream: string;
  onRejected(where: string, error: HeadwaterError): void;
  /** A record's event time is so far ahead of all before it that it is not believed yet. */
  onTimeAhead(where: string, time: number): void;
}

/** A batch that takes no more, and what an event says of it. */
export interface ClosedBatch {
  readonly batch: OpenBatch;
  readonly columns: Partial<RecordsAccepted>;
  readonly stored: StoredBlocks;
  /** Of its records in canonical form. */
  readonly bytes: number;
}

/**
 * Fills a door's batches: admits records, finds duplicates, and gives ordinals, partitions and event times. Nothing of
 * it is in the log before the door has appended it; one that fails in that is followed by another door.
 */
export class DoorBatches {
  readonly #context: HostContext;
  readonly #options: DoorBatchesOptions;
  readonly #place: DoorPlace;
  readonly #arena = new Arena();
  readonly clock: OrdinalClock;
  readonly eventTime: EventTime;
  /** The ids that were taken. */
  horizon = new DuplicateHorizon(LIMITS.duplicateHorizonIds);
  /** Ordinals come with the records: what has none takes the least that is free. */
  injected: boolean;
  #open = new OpenBatch();
  #lastTakenAt: number;

  /** `place`: where the door goes on, which it moves forward when it appends. */
  constructor(context: HostContext, place: DoorPlace, options: DoorBatchesOptions) {
    this.#context = context;
    this.#options = options;
    this.#place = place;
    this.clock = new OrdinalClock(place.through);
    this.eventTime = new EventTime(options.source.watermark, place.eventTime);
    this.injected = options.intake.givesOrdinals ?? false;
    this.#lastTakenAt = context.clock.monotonic();
  }

  get empty(): boolean {
    return this.#open.empty;
  }

  /** When a record was last taken, by the monotonic clock. */
  get lastTakenAt(): number {
    return this.#lastTakenAt;
  }

  get full(): boolean {
    const { batchRecords } = this.#context;
    return (
      this.#open.ordinals.length >= batchRecords ||
      this.#open.rejected.length >= batchRecords ||
      this.#arena.all().length >= LIMITS.batchBytes ||
      this.#open.idChars >= LIMITS.batchIdChars ||
      this.#open.read >= LIMITS.batchRecordsMost
    );
  }

  /** When the first record of the open batch was read, by the monotonic clock; `undefined`: it is empty. */
  get openedAt(): number | undefined {
    return this.#open.empty ? undefined : this.#open.openedAt;
  }

  /** The next batch is of what was put back, and of nothing else. */
  takeRetried(): void {
    this.#open.retried = { rows: [], items: [] };
  }

  /** Takes a record of `input`, or notes why it is refused. */
  async take(record: IntakeRecord, input: InputProgress | undefined): Promise<void> {
    const batch = this.#open;
    const { totals } = this.#context.board;
    if (record.retried === undefined && isRefusedAlready(record, input)) return;
    const endBefore = batch.end;
    if (batch.read === 0) {
      batch.openedAt = this.#context.clock.monotonic();
      this.#lastTakenAt = batch.openedAt;
    }
    batch.read++;
    if (record.retried === undefined) totals.read++;
    if (record.end !== undefined) batch.end = record.end;
    try {
      const pending = admit(this.#options.source, record);
      const admitted = pending instanceof Promise ? await pending : pending;
      this.#accept(record, admitted);
    } catch (error) {
      this.#reject(record, error);
      if (record.unfinished && record.frame !== undefined) {
        batch.end = endBefore;
        batch.unfinished = sha256(record.frame);
      }
    }
  }

  #accept(record: IntakeRecord, admitted: Admitted): void {
    const batch = this.#open;
    const { stream, source } = this.#options;
    const { id, time, key, value } = admitted;
    if (id !== undefined && this.horizon.has(id)) {
      batch.duplicate++;
      batch.settle.push(() => record.settle?.({ kind: "duplicate" }));
      return;
    }
    const n = this.#place.next + batch.ordinals.length;
    const { partitions } = this.#context.plan.definition;
    // Whatever may refuse the record comes before anything is noted of it.
    const partition = source.key !== undefined ? partitionOfKey(key, partitions) : n % partitions;
    const ordinal = this.#ordinalFor(record);
    this.#arena.append(value);
    if (record.retried !== undefined) {
      batch.retried?.rows.push(batch.ordinals.length);
      batch.retried?.items.push(record.retried.item);
    }
    if (id !== undefined) {
      this.horizon.add(id);
      batch.ids.push(id);
      batch.idChars += id.length;
    }
    this.clock.raise(ordinal);
    batch.ordinals.push(ordinal);
    batch.partitions.push(partition);
    if (time !== undefined) batch.times.push(time);
    const first = this.eventTime.place.ahead?.least;
    const disbelief = this.eventTime.accept(time, ordinal);
    // The first record may be in an event before: what events say of a row must not depend on batches.
    if (disbelief === "this") batch.ahead.push(batch.ordinals.length - 1);
    if (disbelief !== undefined) {
      const [of, ahead] = disbelief === "this" ? [n, time] : [n - 1, first];
      batch.settle.push(() => this.#options.onTimeAhead(`${stream}@${of}`, ahead ?? Number.NaN));
    }
    if (record.settle !== undefined) {
      const { settle } = record;
      batch.settle.push(() => settle({ kind: "accepted", address: `${stream}@${n}` }));
    }
  }

  #ordinalFor(record: IntakeRecord): number {
    if (record.ordinal === undefined) {
      // The clock would leave no room for those that come with the records.
      if (this.injected && record.retried !== undefined) return this.clock.floor + 1;
      return this.clock.peek(this.#context.clock.now());
    }
    if (
      record.ordinal > this.clock.floor &&
      record.ordinal <= ORDINAL_MOST &&
      Number.isSafeInteger(record.ordinal)
    ) {
      return record.ordinal;
    }
    throw new HeadwaterError("BadInput", `the ordinal ${record.ordinal} is not above ${this.clock.floor}`, {
      where: "$",
      hint: "Ordinals of a source have to rise.",
    });
  }

  #reject(record: IntakeRecord, thrown: unknown): void {
    const error =
      thrown instanceof HeadwaterError
        ? thrown
        : new HeadwaterError("BadInput", describeThrown(thrown), { where: "$" });
    const frame = record.frame ?? new Uint8Array(0);
    const cut = frame.length > LIMITS.rejectedFrameBytes;
    const name = record.retried?.input ?? this.#options.intake.name;
    const value = readableValue(record);
    this.#open.rejected.push({
      input: name,
      line: record.line,
      code: error.code,
      message: error.message.slice(0, LIMITS.reasonChars).toWellFormed(),
      where: (error.where ?? "$").slice(0, LIMITS.reasonChars).toWellFormed(),
      frame: cut ? frame.slice(0, LIMITS.rejectedFrameBytes) : frame,
      ...(cut && { cut: true as const }),
      ...(value !== undefined && { value }),
      ...(record.retried !== undefined && { item: record.retried.item }),
    });
    const field = error.where === undefined || error.where === "$" ? "" : ` ${error.where}`;
    const where = `${name}:${record.line}${field}`;
    this.#open.settle.push(() => {
      this.#options.onRejected(where, error);
      record.settle?.({ kind: "rejected", error } satisfies IntakeOutcome);
    });
  }

  /** What an event says of event time. */
  timeColumns(): Pick<RecordsAccepted, "maxTime" | "ahead" | "watermark"> {
    const { maxTime, ahead } = this.eventTime.place;
    const { steps } = this.eventTime;
    return {
      ...(maxTime !== undefined && { maxTime }),
      ...(ahead !== undefined && { ahead }),
      ...(steps.length > 0 && { watermark: encodeWatermarks(steps) }),
    };
  }

  /** Closes the batch that was filled, and begins the next one. */
  close(): ClosedBatch {
    const batch = this.#open;
    const closed = {
      batch,
      columns: { ...this.#recordColumns(batch), ...this.timeColumns() },
      stored: this.#stored(batch.ordinals.length),
      bytes: this.#arena.all().length,
    };
    this.#open = new OpenBatch();
    this.eventTime.nextBatch();
    this.#arena.reset();
    return closed;
  }

  #recordColumns(batch: OpenBatch): Partial<RecordsAccepted> {
    if (batch.ordinals.length === 0) return {};
    const { provenance, plan } = this.#context;
    return {
      ordinals: encodeDeltas(batch.ordinals),
      ...(provenance === "full" && { digests: this.#arena.digests() }),
      ...(plan.definition.partitions > 1 && { sections: sectionsOf(batch.partitions) }),
      ...(batch.times.length > 0 && { times: encodeDeltas(batch.times) }),
      ...(batch.ahead.length > 0 && { aheadRows: encodeDeltas(batch.ahead) }),
      ...(batch.ids.length > 0 && { ids: encodeTexts(batch.ids) }),
    };
  }

  /** What is kept of the first `count` records that were taken. */
  #stored(count: number): StoredBlocks {
    const { source, stream } = this.#options;
    const lengths = Array.from({ length: count }, (_, row) => this.#arena.end(row) - this.#arena.start(row));
    const capture = this.#context.plan.captures.get(source.name) ?? CAPTURE_ENDS;
    const bytes = count === 0 ? NO_BYTES : this.#arena.all().slice();
    return acceptedBlocks(capture, stream, this.#place.next, { bytes, lengths });
  }
}
