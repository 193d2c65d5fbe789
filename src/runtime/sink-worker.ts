import type { WorkerInput } from "../../actors/worker.ts";
import { encodeCanonical } from "../core/canonical.ts";
import { sha256 } from "../core/digest.ts";
import { HeadwaterError } from "../core/errors.ts";
import type { Cursors } from "../core/events.ts";
import { LIMITS } from "../core/limits.ts";
import { THROUGH_NOTHING } from "../core/ordinal.ts";
import { formatUuid } from "../core/uuid.ts";
import { encodeOrder, streamsOf } from "../engine/delivered-order.ts";
import { originsOf, rootName } from "../engine/origins.ts";
import type { InputRows } from "../engine/rows.ts";
import type { PlannedSink } from "../pipeline/plan.ts";
import { currentCursors, cursorsFrom, startingCursors } from "./deployed-cursors.ts";
import type { HostContext } from "./host-context.ts";
import { restoreLost } from "./lost-part.ts";
import { MergeReader } from "./merge-reader.ts";
import type { Activity } from "./pressure.ts";
import { sinkStreamOf, upstreamsOfSink } from "./routes.ts";
import {
  hasLetGoOfDeliveries,
  type PendingBatch,
  type SinkHistory,
  type SinkPlace,
  sinkHistory,
} from "./sink-history.ts";
import {
  mustNotBeForeign,
  type OutputBatch,
  type OutputRecord,
  type Preparation,
  type SinkTarget,
} from "./sink-target.ts";
import { UnitLog } from "./unit-log.ts";
import type { UpstreamSelection } from "./upstream-reader.ts";

/** Merges the partitions that a sink reads, in logical order, and hands the records to its target. */
export class SinkWorker {
  readonly #context: HostContext;
  readonly #order: WorkerInput;
  readonly #sink: PlannedSink;
  readonly #target: SinkTarget;
  readonly #upstreams: readonly UpstreamSelection[];
  /** Of each upstream, which of the streams it is, as a delivery counts them. */
  readonly #places: readonly number[];
  /** Of each record since the last delivery, which of the streams it came from. */
  #cameFrom: number[] = [];
  #log: UnitLog | undefined;
  #epoch = 0;
  /** When it claimed last, by the monotonic clock in milliseconds. */
  #claimedAt = 0;
  #place: SinkPlace | undefined;
  #reader: MergeReader | undefined;
  readonly #disposed = new AbortController();
  /** A batch of which it is not known whether it was handed over. */
  #pending: PendingBatch | undefined;

  constructor(context: HostContext, order: WorkerInput, sink: PlannedSink, target: SinkTarget) {
    this.#context = context;
    this.#order = order;
    this.#sink = sink;
    this.#target = target;
    this.#upstreams = upstreamsOfSink(context.plan, sink.upstream, target.wantsRecords);
    const streams = streamsOf(this.#upstreams.map(({ stream }) => stream));
    this.#places = this.#upstreams.map(({ stream }) => streams.indexOf(stream));
  }

  async claim(): Promise<void> {
    const { log, plan } = this.#context;
    this.#log = await UnitLog.open(log, sinkStreamOf(plan, this.#sink.name));
    const { last } = this.#log.main;
    this.#epoch = last !== undefined && "epoch" in last.data ? last.data.epoch : 0;
    await this.#context.probe?.("sink-claim:before");
    await this.#appendClaim();
    await this.#context.probe?.("sink-claim:after");
  }

  async #appendClaim(): Promise<void> {
    const { clock, process, deployment } = this.#context;
    const epoch = this.#epoch + 1;
    await this.#unitLog().append("SinkClaimed", () => ({
      v: 1,
      wall: clock.now(),
      epoch,
      node: this.#order.node,
      process,
      assignment: this.#order.assignment,
      deployment,
    }));
    this.#epoch = epoch;
    this.#claimedAt = clock.monotonic();
  }

  /** Says anew by which version it delivers, where history is let go of: nobody looks at a claim before that then. */
  async #claimAnew(): Promise<void> {
    const { snapshotEveryMs, clock } = this.#context;
    if (snapshotEveryMs === undefined || clock.monotonic() - this.#claimedAt < snapshotEveryMs) return;
    await this.#appendClaim();
  }

  /** Finds out how far the target is, and opens it there. */
  async restore(): Promise<void> {
    const { log, clock, plan, decode, tickMs } = this.#context;
    const history = await sinkHistory(
      log,
      plan.fork?.name ?? plan.definition.name,
      this.#sink.name,
      this.#target,
    );
    // A file that was moved away is written anew.
    const gone =
      history !== undefined &&
      history.place.bytes > 0 &&
      this.#target.refills &&
      !(await this.#target.hasContent());
    const found =
      history === undefined || gone ? await this.#beginTarget(history !== undefined) : history.place;
    const cursors = await currentCursors(this.#context, this.#upstreams, found.cursors);
    const place = { ...found, cursors };
    const confirm = () => this.#unitLog().mustStillOwn();
    if (history !== undefined && !gone) await this.#restoreLost(history, confirm);
    await this.#target.open(place, gone ? undefined : history?.last, confirm);
    this.#place = place;
    this.#pending = gone ? undefined : history?.pending;
    this.#reader = new MergeReader({
      log,
      clock,
      upstreams: this.#upstreams,
      cursors,
      ...(this.#target.wantsRecords && { decode }),
      tickMs,
      through: place.through,
      firingOrigins: plan.firingOrigins,
    });
  }

  async #restoreLost(history: SinkHistory, confirm: () => Promise<void>): Promise<void> {
    const { signal } = this.#disposed;
    const { name } = this.#sink;
    const missing = await restoreLost(this.#context, name, this.#target, history, confirm, signal);
    if (missing !== undefined && !signal.aborted) this.#context.onOutputMissing(name, missing);
  }

  async #beginTarget(known: boolean): Promise<SinkPlace> {
    if (!known) {
      const { log, plan } = this.#context;
      const letGo = await hasLetGoOfDeliveries(log, plan.fork?.name ?? plan.definition.name, this.#sink.name);
      await mustNotBeForeign(this.#target, { letGo });
    }
    const cursors = await this.#startingCursors();
    await this.#unitLog().append("SinkOpened", () => ({
      v: 1,
      wall: this.#context.clock.now(),
      epoch: this.#epoch,
      node: this.#order.node,
      target: this.#target.id,
      cursors,
    }));
    return { next: 0, cursors, through: THROUGH_NOTHING, bytes: 0 };
  }

  /** Delivers until `signal` aborts. */
  async work(signal: AbortSignal): Promise<void> {
    const { clock, board, batchRecords } = this.#context;
    const reader = this.#restored();
    board.report(this.#order.unit, this.#opened().through);
    if (!(await this.#repeatPending(signal))) return;
    let at = this.#opened();
    let written = 0;
    let flushedAt = clock.monotonic();
    for (;;) {
      const owes = at.next > this.#opened().next || at.through > this.#opened().through;
      this.#enters({ kind: "waiting" });
      const batch = await reader.next(batchRecords, signal, owes ? LIMITS.flushMs : undefined);
      if (batch === undefined) break;
      this.#enters({ kind: "working" });
      const { rows } = batch;
      let prepared = false;
      if (rows.count > 0 && this.#target.wantsRecords) {
        const outputs = this.#batchOf(this.#outputs(rows), at.next);
        const preparation = await this.#target.prepare?.(outputs, undefined);
        prepared = preparation !== undefined;
        if (preparation !== undefined) at = await this.#prepare(at, rows.count, preparation);
        if (!(await this.#write(outputs, signal))) break;
        for (let row = 0; row < rows.count; row++)
          written += (rows.ends[row] as number) - (rows.starts[row] as number);
      }
      at = { ...at, next: at.next + rows.count, cursors: batch.cursors, through: batch.through };
      this.#noteOrigin(rows);
      const late = clock.monotonic() - flushedAt >= LIMITS.flushMs;
      const much = written >= LIMITS.flushBytes || at.next - this.#opened().next >= LIMITS.flushRecords;
      if (prepared || late || much || board.allTaken(at.through)) {
        at = await this.#deliver(at);
        await this.#claimAnew();
        written = 0;
        flushedAt = clock.monotonic();
      }
    }
    if (at.next > this.#opened().next) await this.#deliver(at);
  }

  /** Hands over once more what may have been handed over: the very same batch. Answers `false` when `signal` aborts. */
  async #repeatPending(signal: AbortSignal): Promise<boolean> {
    const pending = this.#pending;
    if (pending === undefined) return true;
    const place = this.#opened();
    const outputs: OutputRecord[] = [];
    let { cursors, through } = place;
    while (outputs.length < pending.count) {
      const batch = await this.#restored().next(pending.count - outputs.length, signal);
      if (batch === undefined) return false;
      outputs.push(...this.#outputs(batch.rows));
      this.#noteOrigin(batch.rows);
      ({ cursors, through } = batch);
    }
    const batch = this.#batchOf(outputs, place.next);
    await this.#target.prepare?.(batch, pending.preparation);
    if (!(await this.#write(batch, signal))) return false;
    await this.#deliver({ ...place, next: place.next + pending.count, cursors, through });
    this.#pending = undefined;
    return true;
  }

  /** Says which records the next batch has. What was written before it has to be delivered by then. */
  async #prepare(at: SinkPlace, count: number, preparation: Preparation): Promise<SinkPlace> {
    const { clock, probe } = this.#context;
    const place = at.next > this.#opened().next ? await this.#deliver(at) : at;
    await this.#unitLog().append(
      "OutputsPrepared",
      () => ({
        v: 1,
        wall: clock.now(),
        epoch: this.#epoch,
        node: this.#order.node,
        target: this.#target.id,
        first: place.next,
        count,
        from: place.cursors,
        through: place.through,
        ...preparation,
      }),
      {},
      probe && ((point) => probe(`prepared:${point}`)),
    );
    return place;
  }

  async #write(batch: OutputBatch, signal: AbortSignal): Promise<boolean> {
    const { probe } = this.#context;
    await probe?.("write:before");
    this.#enters({ kind: "outside" });
    const written = await this.#target.write(batch, signal, (reason) => {
      this.#enters({ kind: "outside", ...(reason !== undefined && { reason }) });
      this.#context.onOutputWaits(this.#sink.name, reason);
    });
    this.#enters({ kind: "working" });
    await probe?.("write:after");
    return written;
  }

  #noteOrigin({ count, upstreams }: InputRows): void {
    for (let row = 0; row < count; row++) this.#cameFrom.push(this.#places[upstreams?.[row] ?? 0] as number);
  }

  #enters(activity: Activity): void {
    const { board, clock } = this.#context;
    board.pressure.enters(this.#order.unit, activity, clock.monotonic());
  }

  #batchOf(records: readonly OutputRecord[], first: number): OutputBatch {
    const { log, plan } = this.#context;
    const sink = [log.id, plan.fork?.name ?? plan.definition.name, this.#sink.name, this.#target.id];
    const key = (from: number, count: number) => {
      const ends = [records[from]?.key ?? "", records[from + count - 1]?.key ?? ""];
      return formatUuid(sha256(encodeCanonical([...sink, first + from, count, ...ends])), 8);
    };
    return { records, first, key };
  }

  async dispose(): Promise<void> {
    const { board, clock } = this.#context;
    board.pressure.leaves(this.#order.unit, clock.monotonic());
    this.#disposed.abort();
    this.#reader?.stop();
    await this.#target.close();
  }

  /** Makes what was written durable, and says so. */
  async #deliver(at: SinkPlace): Promise<SinkPlace> {
    const { clock, board, probe } = this.#context;
    const before = this.#opened();
    const order = encodeOrder(at.cursors, this.#cameFrom);
    this.#cameFrom = [];
    this.#enters({ kind: "outside" });
    await probe?.("flush:before");
    const { bytes, digest, part } = await this.#target.flush();
    await probe?.("flush:after");
    this.#enters({ kind: "log" });
    await this.#unitLog().append(
      "OutputsDelivered",
      () => ({
        v: 1,
        wall: clock.now(),
        epoch: this.#epoch,
        node: this.#order.node,
        target: this.#target.id,
        first: before.next,
        count: at.next - before.next,
        from: before.cursors,
        to: at.cursors,
        through: at.through,
        ...(order !== undefined && { order }),
        bytes,
        ...(part !== undefined && { part }),
        ...(digest !== undefined && { digest }),
      }),
      {},
      probe && ((point) => probe(`delivered:${point}`)),
    );
    this.#place = { ...at, bytes, ...(part !== undefined && { part }) };
    board.outputs.set(this.#sink.name, (board.outputs.get(this.#sink.name) ?? 0) + at.next - before.next);
    board.report(this.#order.unit, at.through);
    return this.#place;
  }

  #outputs(rows: InputRows): OutputRecord[] {
    const { plan } = this.#context;
    const origins = originsOf(plan);
    return Array.from({ length: rows.count }, (_, row) => {
      const path = rows.paths?.[row] ?? "";
      const origin = rows.sources?.[row] ?? 0;
      const root = rootName(plan.definition.name, origins, origin, rows.roots[row] as number);
      return {
        value: rows.records[row],
        key: path === "" ? root : `${root}~${Buffer.from(path, "latin1").toString("hex")}`,
        ordinal: rows.ordinals[row] as number,
      };
    });
  }

  /** A file is filled from the beginning of history; for others what came before them was delivered elsewhere. */
  async #startingCursors(): Promise<Cursors> {
    const { log, plan, deployedFrom } = this.#context;
    // What came before a fork's window is not of it.
    if (plan.fork !== undefined) return cursorsFrom(log, this.#upstreams, deployedFrom);
    if (this.#target.fills) return Object.fromEntries(this.#upstreams.map(({ stream }) => [stream, 0]));
    return startingCursors(this.#context, this.#upstreams);
  }

  #opened(): SinkPlace {
    if (this.#place === undefined)
      throw new HeadwaterError("Internal", "a sink works before it was restored");
    return this.#place;
  }

  #restored(): MergeReader {
    if (this.#reader === undefined)
      throw new HeadwaterError("Internal", "a sink works before it was restored");
    return this.#reader;
  }

  #unitLog(): UnitLog {
    if (this.#log === undefined) throw new HeadwaterError("Internal", "a sink works before it was claimed");
    return this.#log;
  }
}
