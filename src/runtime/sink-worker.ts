import { decodeEvent } from "../core/event-codec.ts";
import { HeadwaterError } from "../core/errors.ts";
import type { Cursors, OutputsDelivered } from "../core/events.ts";
import { LIMITS } from "../core/limits.ts";
import { THROUGH_NOTHING } from "../core/ordinal.ts";
import { sinkStream, sourceStream } from "../core/streams.ts";
import type { InputRows } from "../engine/rows.ts";
import type { PlannedSink } from "../pipeline/plan.ts";
import { startingCursors } from "./deployed-cursors.ts";
import type { HostContext, WorkOrder } from "./host-context.ts";
import { MergeReader } from "./merge-reader.ts";
import { upstreamsOfSink } from "./routes.ts";
import type { OutputRecord, SinkTarget } from "./sink-targets.ts";
import { lastEvent } from "./stream-tail.ts";
import { UnitLog } from "./unit-log.ts";
import type { UpstreamSelection } from "./upstream-reader.ts";

/** How far a sink has delivered to its target. */
interface SinkPlace {
  readonly next: number;
  readonly cursors: Cursors;
  readonly through: number;
  readonly bytes: number;
}

/** Merges the partitions that a sink reads, in logical order, and hands the records to its target. */
export class SinkWorker {
  readonly #context: HostContext;
  readonly #order: WorkOrder;
  readonly #sink: PlannedSink;
  readonly #target: SinkTarget;
  readonly #upstreams: readonly UpstreamSelection[];
  #log: UnitLog | undefined;
  #epoch = 0;
  #place: SinkPlace | undefined;
  #reader: MergeReader | undefined;

  constructor(context: HostContext, order: WorkOrder, sink: PlannedSink, target: SinkTarget) {
    this.#context = context;
    this.#order = order;
    this.#sink = sink;
    this.#target = target;
    this.#upstreams = upstreamsOfSink(context.plan, context.sources, sink.upstream, target.wantsRecords);
  }

  async claim(): Promise<void> {
    const { log, clock, plan, process, deployment } = this.#context;
    this.#log = await UnitLog.open(log, sinkStream(plan.definition.name, this.#sink.name));
    const { last } = this.#log.main;
    this.#epoch = (last !== undefined && "epoch" in last.data ? last.data.epoch : 0) + 1;
    await this.#context.probe("sink-claim:before");
    await this.#log.append("SinkClaimed", () => ({
      v: 1,
      wall: clock.now(),
      epoch: this.#epoch,
      node: this.#order.node,
      process,
      assignment: this.#order.assignment,
      deployment,
    }));
    await this.#context.probe("sink-claim:after");
  }

  /** Finds out how far the target is, and opens it there. */
  async restore(): Promise<void> {
    const { log, clock, plan, decode, tickMs } = this.#context;
    const unitLog = this.#unitLog();
    const history = await this.#history(unitLog.main.stream);
    let place = history.place;
    if (place !== undefined && this.#target.fills && place.bytes > 0 && !(await this.#exists())) place = undefined;
    if (place === undefined) {
      if (!history.opened) await this.#target.checkForeign();
      place = { next: 0, cursors: await this.#startingCursors(), through: THROUGH_NOTHING, bytes: 0 };
      const { cursors } = place;
      await unitLog.append("SinkOpened", () => ({
        v: 1,
        wall: clock.now(),
        epoch: this.#epoch,
        node: this.#order.node,
        target: this.#target.id,
        cursors,
      }));
      await this.#target.open(0, undefined);
    } else {
      await this.#target.open(place.bytes, history.last);
    }
    this.#place = place;
    this.#reader = new MergeReader({
      log,
      clock,
      upstreams: this.#upstreams,
      cursors: place.cursors,
      ...(this.#target.wantsRecords && { decode }),
      tickMs,
      through: place.through,
    });
    void plan;
  }

  /** Delivers until `signal` aborts. */
  async work(signal: AbortSignal): Promise<void> {
    const { clock, board, batchRecords } = this.#context;
    const reader = this.#reader;
    if (reader === undefined) throw new HeadwaterError("Internal", "a sink works before it was restored");
    let at = this.#opened();
    let written = 0;
    let flushedAt = clock.monotonic();
    board.report(this.#order.unit, at.through);
    for (;;) {
      const batch = await reader.next(batchRecords, signal);
      if (batch === undefined) break;
      if (batch.rows.count > 0 && this.#target.wantsRecords) {
        const records = this.#outputs(batch.rows);
        await this.#target.write(records);
        for (let row = 0; row < batch.rows.count; row++) {
          written += (batch.rows.ends[row] as number) - (batch.rows.starts[row] as number);
        }
      }
      at = { ...at, next: at.next + batch.rows.count, cursors: batch.cursors, through: batch.through };
      const done = batch.rows.count === 0 || at.through >= board.doorsThrough;
      if (done || written >= LIMITS.flushBytes || clock.monotonic() - flushedAt >= LIMITS.flushMs) {
        at = await this.#deliver(at);
        written = 0;
        flushedAt = clock.monotonic();
      }
    }
    if (at.next > this.#opened().next) await this.#deliver(at);
  }

  async dispose(): Promise<void> {
    this.#reader?.stop();
    await this.#target.close();
  }

  /** Makes what was written durable, and says so. */
  async #deliver(at: SinkPlace): Promise<SinkPlace> {
    const { clock, board, probe } = this.#context;
    const before = this.#opened();
    await probe("flush:before");
    const { bytes, digest } = await this.#target.flush();
    await probe("flush:after");
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
        bytes,
        ...(digest !== undefined && { digest }),
      }),
      {},
      (point) => probe(`delivered:${point}`),
    );
    this.#place = { ...at, bytes };
    board.outputs.set(this.#sink.name, (board.outputs.get(this.#sink.name) ?? 0) + at.next - before.next);
    board.report(this.#order.unit, at.through);
    return this.#place;
  }

  #outputs(rows: InputRows): OutputRecord[] {
    const { plan, sources } = this.#context;
    const streams = sources.map((source) => sourceStream(plan.definition.name, source));
    return Array.from({ length: rows.count }, (_, row) => {
      const path = rows.paths?.[row] ?? "";
      const root = `${streams[rows.sources?.[row] ?? 0]}@${rows.roots[row]}`;
      return {
        value: rows.records[row],
        key: path === "" ? root : `${root}~${Buffer.from(path, "latin1").toString("hex")}`,
        ordinal: rows.ordinals[row] as number,
      };
    });
  }

  async #exists(): Promise<boolean> {
    try {
      await this.#target.checkForeign();
      return false;
    } catch {
      return true;
    }
  }

  /** A file is filled from the beginning of history; for others what came before them was delivered elsewhere. */
  async #startingCursors(): Promise<Cursors> {
    if (this.#target.fills) return Object.fromEntries(this.#upstreams.map(({ stream }) => [stream, 0]));
    return startingCursors(this.#context, this.#upstreams);
  }

  /** What the stream says of this target, back to where it was opened. */
  async #history(stream: string): Promise<{
    opened: boolean;
    place: SinkPlace | undefined;
    last: { readonly from: number; readonly digest: Uint8Array } | undefined;
  }> {
    const { log } = this.#context;
    let latest: OutputsDelivered | undefined;
    if ((await lastEvent(log, stream)) === undefined) return { opened: false, place: undefined, last: undefined };
    for await (const recorded of log.read(stream, { direction: "backwards" })) {
      const event = decodeEvent(recorded);
      if (event.type === "SinkOpened" && event.data.target === this.#target.id) {
        if (latest !== undefined) return this.#from(latest, 0);
        const { cursors } = event.data;
        return { opened: true, place: { next: 0, cursors, through: THROUGH_NOTHING, bytes: 0 }, last: undefined };
      }
      if (event.type !== "OutputsDelivered" || event.data.target !== this.#target.id) continue;
      if (latest !== undefined) return this.#from(latest, event.data.bytes);
      latest = event.data;
    }
    return { opened: false, place: undefined, last: undefined };
  }

  #from(latest: OutputsDelivered, from: number) {
    const place = { next: latest.first + latest.count, cursors: latest.to, through: latest.through, bytes: latest.bytes };
    return { opened: true, place, last: latest.digest && { from, digest: latest.digest } };
  }

  #opened(): SinkPlace {
    if (this.#place === undefined) throw new HeadwaterError("Internal", "a sink works before it was restored");
    return this.#place;
  }

  #unitLog(): UnitLog {
    if (this.#log === undefined) throw new HeadwaterError("Internal", "a sink works before it was claimed");
    return this.#log;
  }
}
