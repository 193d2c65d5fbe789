import { decodeDeltas } from "../core/columns.ts";
import { HeadwaterError } from "../core/errors.ts";
import { decodeEvent } from "../core/event-codec.ts";
import { besideStream, stepsStream } from "../core/streams.ts";
import type { Plan } from "../pipeline/plan.ts";
import type { EventLog } from "../ports/event-log.ts";
import { type DeploymentHistory, recordedPartitions } from "./deployment-history.ts";
import { seekThrough } from "./seek.ts";

/** Results of effects that were let go of: those at the beginning of a history. */
export interface LostEffects {
  /** The first input of a partition whose effects have no results any more, `steps_P.G.Q@N`. */
  readonly first: string;
  /** From this ordinal on all are kept. */
  readonly begin: number;
}

interface LostEffectsQuery {
  readonly log: EventLog;
  readonly history: Pick<DeploymentHistory, "pipeline" | "all">;
  /** The fork's, and the segments of it that are not run. */
  readonly plan: Plan;
  readonly reused: readonly string[];
  readonly from: number;
  readonly to: number;
  readonly signal: AbortSignal;
}

/**
 * Results of effects that stages have had in a window, which the fork would ask for again and which are not kept;
 * `undefined`: all are. Reads partitions' events up to the first one whose effects are kept.
 */
export async function lostEffects(query: LostEffectsQuery): Promise<LostEffects | undefined> {
  const { log, from, to, signal } = query;
  let lost: LostEffects | undefined;
  for (const stream of streamsOf(query)) {
    const info = await log.streamInfo(besideStream(stream, "effects"));
    const begin = await seekThrough(log, stream, from - 1);
    if (info === undefined || info.firstRevision === 0 || begin === undefined) continue;
    for await (const recorded of log.read(stream, { from: begin })) {
      if (signal.aborted) throw new HeadwaterError("Stopped", "stopped while what is kept was looked for");
      const { type, data } = decodeEvent(recorded);
      if (type !== "StepsRecorded" || data.effects === undefined) continue;
      const ordinals = decodeDeltas(data.ordinals ?? new Uint8Array(0));
      if (data.effects.revision >= info.firstRevision || (ordinals[0] ?? 0) > to) break;
      const row = ordinals.findIndex((ordinal) => ordinal >= from);
      if (row < 0) continue;
      const next = (ordinals.at(-1) ?? 0) + 1;
      lost = {
        first: lost?.first ?? `${stream}@${data.first + row}`,
        begin: Math.max(lost?.begin ?? 0, next),
      };
    }
  }
  return lost;
}

/** The recorded partitions of stages that are run. */
function streamsOf({ history: { pipeline, all }, plan, reused }: LostEffectsQuery): Iterable<string> {
  const run = new Set(
    plan.segments
      .filter(({ name }) => !reused.includes(name))
      .flatMap(({ stages }) => stages.map(({ definition }) => definition.name)),
  );
  const ran = all.map((one) => ({ ...one, stages: one.stages.filter(({ name }) => run.has(name)) }));
  return recordedPartitions(ran).map(({ segment, partition }) => stepsStream(pipeline, segment, partition));
}
