import type { WorkerInput } from "../../actors/worker.ts";
import { HeadwaterError } from "../core/errors.ts";
import type { Cursors } from "../core/events.ts";
import { LIMITS } from "../core/limits.ts";
import { THROUGH_NOTHING } from "../core/ordinal.ts";
import { sinkStream } from "../core/streams.ts";
import { originsOf, rootName } from "../engine/origins.ts";
import type { InputRows } from "../engine/rows.ts";
import type { PlannedSink } from "../pipeline/plan.ts";
import { currentCursors, startingCursors } from "./deployed-cursors.ts";
import type { HostContext } from "./host-context.ts";
import { MergeReader } from "./merge-reader.ts";
import { upstreamsOfSink } from "./routes.ts";
import { type SinkPlace, sinkHistory } from "./sink-history.ts";
import { mustNotBeForeign, type OutputRecord, type SinkTarget } from "./sink-targets.ts";
import { UnitLog } from "./unit-log.ts";
import type { UpstreamSelection } from "./upstream-reader.ts";

/** Merges the partitions that a sink reads, in logical order, and hands the records to its target. */
export class SinkWorker {
  readonly #context: HostContext;
  readonly #order: WorkerInput;
  readonly #sink: PlannedSink;
  readonly #target: SinkTarget;
  readonly #upstreams: readonly UpstreamSelection[];
  #log: UnitLog | undefined;
  #epoch = 0;
  #place: SinkPlace | undefined;
  #reader: MergeReader | undefined;

  constructor(context: HostContext, order: WorkerInput, sink: PlannedSink, target: SinkTarget) {
    this.#context = context;
    this.#order = order;
    this.#sink = sink;
    this.#target = target;
    this.#upstreams = upstreamsOfSink(context.plan, sink.upstream, target.wantsRecords);
  }

  async claim(): Promise<void> {
    const { log, clock, plan, process, deployment } = this.#context;
    this.#log = await UnitLog.open(log, sinkStream(plan.definition.name, this.#sink.name));
    const { last } = this.#log.main;
    this.#epoch = (last !== undefined && "epoch" in last.data ? last.data.epoch : 0) + 1;
    await this.#context.probe?.("sink-claim:before");
    await this.#log.append("SinkClaimed", () => ({
      v: 1,
      wall: clock.now(),
      epoch: this.#epoch,
      node: this.#order.node,
      process,
      assignment: this.#order.assignment,
      deployment,
    }));
    await this.#context.probe?.("sink-claim:after");
  }

  /** Finds out how far the target is, and opens it there. */
  async restore(): Promise<void> {
    const { log, clock, plan, decode, tickMs } = this.#context;
    const history = await sinkHistory(log, plan.definition.name, this.#sink.name, this.#target);
    // A file that was moved away is written anew.
    const gone = history !== undefined && history.place.bytes > 0 && !(await this.#target.hasContent());
    const found =
      history === undefined || gone ? await this.#beginTarget(history !== undefined) : history.place;
    const cursors = await currentCursors(this.#context, this.#upstreams, found.cursors);
    const place = { ...found, cursors };
    const confirm = () => this.#unitLog().mustStillOwn();
    await this.#target.open(place.bytes, gone ? undefined : history?.last, confirm);
    this.#place = place;
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

  async #beginTarget(known: boolean): Promise<SinkPlace> {
    if (!known) await mustNotBeForeign(this.#target);
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
    const reader = this.#reader;
    if (reader === undefined) throw new HeadwaterError("Internal", "a sink works before it was restored");
    let at = this.#opened();
    let written = 0;
    let flushedAt = clock.monotonic();
    board.report(this.#order.unit, at.through);
    for (;;) {
      const owes = at.next > this.#opened().next || at.through > this.#opened().through;
      const batch = await reader.next(batchRecords, signal, owes ? LIMITS.flushMs : undefined);
      if (batch === undefined) break;
      const { rows } = batch;
      if (rows.count > 0 && this.#target.wantsRecords) {
        await this.#target.write(this.#outputs(rows));
        for (let row = 0; row < rows.count; row++)
          written += (rows.ends[row] as number) - (rows.starts[row] as number);
      }
      at = { ...at, next: at.next + rows.count, cursors: batch.cursors, through: batch.through };
      const late = clock.monotonic() - flushedAt >= LIMITS.flushMs;
      const much = written >= LIMITS.flushBytes || at.next - this.#opened().next >= LIMITS.flushRecords;
      if (late || much || board.allTaken(at.through)) {
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
    await probe?.("flush:before");
    const { bytes, digest } = await this.#target.flush();
    await probe?.("flush:after");
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
      probe && ((point) => probe(`delivered:${point}`)),
    );
    this.#place = { ...at, bytes };
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
    if (this.#target.fills) return Object.fromEntries(this.#upstreams.map(({ stream }) => [stream, 0]));
    return startingCursors(this.#context, this.#upstreams);
  }

  #opened(): SinkPlace {
    if (this.#place === undefined)
      throw new HeadwaterError("Internal", "a sink works before it was restored");
    return this.#place;
  }

  #unitLog(): UnitLog {
    if (this.#log === undefined) throw new HeadwaterError("Internal", "a sink works before it was claimed");
    return this.#log;
  }
}
