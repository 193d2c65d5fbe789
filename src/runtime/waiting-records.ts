import { decodeEvent } from "../core/event-codec.ts";
import type { Cursors, PipelineDeployed } from "../core/events.ts";
import { LIMITS } from "../core/limits.ts";
import { ORDINAL_MOST, THROUGH_NOTHING } from "../core/ordinal.ts";
import { stepsStream } from "../core/streams.ts";
import type { Plan } from "../pipeline/plan.ts";
import type { Clock } from "../ports/clock.ts";
import type { EventLog } from "../ports/event-log.ts";
import { currentCursors } from "./deployed-cursors.ts";
import { MergeReader } from "./merge-reader.ts";
import { upstreamsOfPartition, upstreamsOfSink } from "./routes.ts";
import { sinkHistory } from "./sink-history.ts";
import type { SinkTarget } from "./sink-target.ts";
import { CountTarget } from "./sink-targets.ts";
import { lastEvent } from "./stream-tail.ts";
import type { UpstreamSelection } from "./upstream-reader.ts";

export interface WaitingQuery {
  readonly log: EventLog;
  readonly clock: Clock;
  readonly plan: Plan;
  readonly deployed: PipelineDeployed;
  readonly targets: ReadonlyMap<string, SinkTarget>;
}

/**
 * How many records were accepted and are not at their end yet: what a source or a stage has handed on, and some
 * partition or sink has not taken, each counted once as the record, or the result of a window or join, that it comes
 * from. What windows, joins and reduces keep is state, and waits for nothing. Reads the log, as it is when nothing
 * works on the pipeline; memory grows with the number, which is bounded by what may be in flight.
 */
export async function waitingRecords(query: WaitingQuery): Promise<number> {
  const { log, plan, targets } = query;
  const { name: pipeline, partitions } = plan.definition;
  const waiting = new Waiting(query);
  for (const segment of plan.segments) {
    for (let partition = 0; partition < partitions; partition++) {
      const taken = await cursorsOf(log, stepsStream(pipeline, segment.name, partition));
      await waiting.add(upstreamsOfPartition(plan, segment, partition), taken);
    }
  }
  for (const sink of plan.sinks) {
    const target = targets.get(sink.name) ?? new CountTarget();
    const upstreams = upstreamsOfSink(plan, sink.upstream, false);
    const history = await sinkHistory(log, pipeline, sink.name, target);
    const filled = target.fills ? Object.fromEntries(upstreams.map(({ stream }) => [stream, 0])) : {};
    await waiting.add(upstreams, history?.place.cursors ?? filled);
  }
  return waiting.count;
}

/** How far a partition has taken what it reads. */
async function cursorsOf(log: EventLog, stream: string): Promise<Cursors> {
  const last = await lastEvent(log, stream);
  if (last === undefined) return {};
  const { data } = decodeEvent(last);
  if ("to" in data) return data.to;
  return "cursors" in data ? data.cursors : {};
}

/** What some unit has not taken, by where it comes from. */
class Waiting {
  readonly #query: WaitingQuery;
  readonly #roots = new Map<number, Set<number>>();

  constructor(query: WaitingQuery) {
    this.#query = query;
  }

  get count(): number {
    let count = 0;
    for (const roots of this.#roots.values()) count += roots.size;
    return count;
  }

  async add(upstreams: readonly UpstreamSelection[], taken: Cursors): Promise<void> {
    const { log, clock, plan, deployed } = this.#query;
    const places = upstreams.map((upstream) => ({ ...upstream, payload: false, watched: false }));
    const reader = new MergeReader({
      log,
      clock,
      upstreams: places,
      cursors: await currentCursors({ log, deployedFrom: deployed.from }, places, taken),
      tickMs: 0,
      through: THROUGH_NOTHING,
      upTo: ORDINAL_MOST,
      firingOrigins: plan.firingOrigins,
    });
    const never = new AbortController().signal;
    try {
      for (;;) {
        const batch = await reader.next(LIMITS.batchRecordsMost, never);
        if (batch === undefined) return;
        const { count, sources, roots } = batch.rows;
        for (let row = 0; row < count; row++) this.#rootsOf(sources?.[row] ?? 0).add(roots[row] as number);
        if (batch.through >= ORDINAL_MOST) return;
      }
    } finally {
      reader.stop();
    }
  }

  #rootsOf(origin: number): Set<number> {
    const roots = this.#roots.get(origin) ?? new Set();
    this.#roots.set(origin, roots);
    return roots;
  }
}
