import { THROUGH_NOTHING } from "../core/ordinal.ts";
import { besideStream } from "../core/streams.ts";
import type { Plan } from "../pipeline/plan.ts";
import type { Clock } from "../ports/clock.ts";
import type { EventLog } from "../ports/event-log.ts";
import { MergeReader } from "./merge-reader.ts";
import { rerunContext } from "./partition-restore.ts";
import { upstreamsOfSink } from "./routes.ts";
import type { SinkHistory } from "./sink-history.ts";
import type { SinkTarget } from "./sink-target.ts";
import type { UpstreamSelection } from "./upstream-reader.ts";

/** Whether a target is to be filled from the beginning of history: nothing is in it yet, or what was was moved away. */
export async function isFilledAnew(target: SinkTarget, history: SinkHistory | undefined): Promise<boolean> {
  if (!target.fills) return false;
  if (history === undefined || history.place.next === 0) return true;
  return target.refills && history.place.bytes > 0 && !(await target.hasContent());
}

/**
 * Throws `RecordGone` where the beginning of what a sink would be filled with was let go of: its worker would find out,
 * too, but only when the target is made and said to be begun.
 */
export async function mustReachBack(log: EventLog, clock: Clock, plan: Plan, sink: string): Promise<void> {
  const planned = plan.sinks.find(({ name }) => name === sink);
  // A fork begins with its window.
  if (planned === undefined || plan.fork !== undefined) return;
  const upstreams: UpstreamSelection[] = [];
  let isCut = false;
  for (const upstream of upstreamsOfSink(plan, planned.upstream, true)) {
    const { stream } = upstream;
    if ((await log.streamInfo(stream)) === undefined) continue;
    // What the log holds is all there is.
    upstreams.push({ ...upstream, upTo: Number.MAX_SAFE_INTEGER });
    for (const name of [stream, besideStream(stream, "payload"), besideStream(stream, "transit")])
      isCut ||= ((await log.streamInfo(name))?.firstRevision ?? 0) > 0;
  }
  // History is let go of from its beginning: what is first is gone before anything else.
  if (isCut) await readFirst(log, clock, plan, upstreams);
}

async function readFirst(
  log: EventLog,
  clock: Clock,
  plan: Plan,
  upstreams: readonly UpstreamSelection[],
): Promise<void> {
  const reader = new MergeReader({
    ...{ log, clock, upstreams },
    decode: rerunContext(log, clock, plan, "full").decode,
    cursors: Object.fromEntries(upstreams.map(({ stream }) => [stream, 0])),
    tickMs: 0,
    through: THROUGH_NOTHING,
    upTo: Number.MAX_SAFE_INTEGER,
    firingOrigins: plan.firingOrigins,
  });
  try {
    await reader.next(1, new AbortController().signal);
  } finally {
    reader.stop();
  }
}
