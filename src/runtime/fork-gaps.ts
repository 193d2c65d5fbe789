import { HeadwaterError } from "../core/errors.ts";
import { decodeEvent } from "../core/event-codec.ts";
import type { PipelineDeployed } from "../core/events.ts";
import { stepsStream } from "../core/streams.ts";
import { isStateful, type PipelineDefinition } from "../pipeline/definition.ts";
import type { Segment } from "../pipeline/plan.ts";
import type { EventLog } from "../ports/event-log.ts";
import { type DeploymentHistory, recordedPartitions } from "./deployment-history.ts";
import { type ForkStart, stateAt } from "./fork-start.ts";
import type { LostRecords } from "./lost-records.ts";
import { isGone, readOne, seekThrough } from "./seek.ts";
import { recordsBefore } from "./seek-time.ts";
import { loadSnapshot } from "./snapshots.ts";

/** Where a fork is to begin. */
export type ForkBeginning = Pick<ForkStart, "log" | "clock" | "history" | "plan" | "signal"> & {
  /** The first ordinal that is wanted. */
  readonly from: number;
  readonly to: number;
};

/**
 * The first ordinal, from the one that is wanted on, where a fork can begin with the state that there was: what that is
 * brought back from may have been let go of. Throws `RecordGone` if there is none in the window.
 */
export async function firstBeginning(beginning: ForkBeginning): Promise<number> {
  const { to } = beginning;
  let { from } = beginning;
  const units = statefulUnits(beginning);
  for (let at = 0; at < units.length; ) {
    const unit = units[at] as StatefulUnit;
    const gone = await goneState({ ...beginning, from }, unit);
    if (gone === undefined) {
      at++;
      continue;
    }
    from = await afterSnapshot(beginning, unit.stream, from, gone);
    if (from > to) throw stateGone(unit.stream, gone);
    // The others have to have their state there, too.
    at = 0;
  }
  return from;
}

/** Stages that a fork which may begin without state begins so: what theirs is brought back from is not kept. */
export async function stagesWithoutState(beginning: ForkBeginning): Promise<ReadonlySet<string>> {
  const names = new Set<string>();
  for (const unit of statefulUnits(beginning)) {
    if ((await goneState(beginning, unit)) === undefined) continue;
    for (const { definition } of unit.segment.stages) if (isStateful(definition)) names.add(definition.name);
  }
  return names;
}

/** A partition that keeps state, and its stream in the pipeline's history. */
interface StatefulUnit {
  readonly segment: Segment;
  readonly partition: number;
  readonly stream: string;
}

/** Those that are not at their beginning where the fork begins. */
function statefulUnits({ plan, history, from }: ForkBeginning): readonly StatefulUnit[] {
  if (from === 0) return [];
  return plan.segments.flatMap((segment) =>
    segment.stateful
      ? Array.from({ length: plan.definition.partitions }, (_, partition) => ({
          segment,
          partition,
          stream: stepsStream(history.pipeline, segment.name, partition),
        }))
      : [],
  );
}

/** Why the state that a partition had is not kept; `undefined`: it is. */
async function goneState(
  beginning: ForkBeginning,
  { segment, partition, stream }: StatefulUnit,
): Promise<HeadwaterError | undefined> {
  const next = await recordsBefore(beginning.log, stream, beginning.from);
  const deployed = { from: beginning.from } as PipelineDeployed;
  try {
    if (next > 0) await stateAt({ ...beginning, deployed, process: "" }, segment, partition, stream, next);
    return undefined;
  } catch (error) {
    if (!isGone(error)) throw error;
    return error;
  }
}

/**
 * The first ordinal, from the one that is wanted on, before which nothing is asked of partitions' events that were let go
 * of: how far each has come there is known, and what it recorded from there on.
 */
export async function recordedFrom(
  log: EventLog,
  { pipeline, all }: Pick<DeploymentHistory, "pipeline" | "all">,
  wanted: number,
): Promise<number> {
  let from = wanted;
  for (const { segment, partition } of recordedPartitions(all)) {
    const stream = stepsStream(pipeline, segment, partition);
    const info = await log.streamInfo(stream);
    if (info === undefined || info.firstRevision === 0) continue;
    const { data } = decodeEvent(await readOne(log, stream, info.firstRevision));
    if ("through" in data && typeof data.through === "number") from = Math.max(from, data.through + 1);
  }
  return from;
}

/** The ordinal that follows the next snapshot of a partition, of those that are later than `from`. */
async function afterSnapshot(
  { log }: ForkBeginning,
  stream: string,
  from: number,
  error: HeadwaterError,
): Promise<number> {
  const begin = await seekThrough(log, stream, from - 1);
  let tried: number | undefined;
  if (begin !== undefined) {
    for await (const recorded of log.read(stream, { from: begin })) {
      const { data } = decodeEvent(recorded);
      const reference = "snapshot" in data ? data.snapshot : undefined;
      if (reference === undefined || reference.revision === tried) continue;
      tried = reference.revision;
      try {
        const { through } = await loadSnapshot(log, stream, reference);
        if (through + 1 > from) return through + 1;
      } catch (gone) {
        if (!isGone(gone)) throw gone;
      }
    }
  }
  throw stateGone(stream, error);
}

function stateGone(stream: string, cause: HeadwaterError): HeadwaterError {
  return new HeadwaterError(
    "RecordGone",
    "the state that there was is not kept for any point of the window",
    {
      where: cause.where ?? stream,
      hint: "Begin at a later point, behind a snapshot, or at one from which on everything is kept.",
      cause,
    },
  );
}

/** What of a fork's results cannot be compared, because it is made of records that were let go of. */
export interface Doubts {
  /** From which ordinal on it holds for what a stage gives, or a source has. */
  since(name: string): number;
  /** Whether a record of a source is one of those. */
  isLost(source: string, n: number): boolean;
}

/**
 * What cannot be compared where records are missing in the middle: what descends from them, and from there on all that
 * windows, joins and totals give that they would have gone into, and what is made of that; and all that stages give which
 * began at `from` without the state that they had, see {@link stagesWithoutState}.
 */
export function doubtsOf(
  lost: LostRecords,
  definitions: readonly Pick<PipelineDefinition, "stages">[],
  from: number,
  withoutState: ReadonlySet<string>,
): Doubts {
  const since = new Map<string, number>();
  for (const { stages } of definitions) {
    const reached = new Map<string, { readonly lost: number; readonly doubt: number }>();
    for (const [source, { since: first = Number.POSITIVE_INFINITY }] of lost.sources)
      reached.set(source, { lost: first, doubt: Number.POSITIVE_INFINITY });
    for (const stage of stages) {
      const inputs = stage.inputs.map((input) => reached.get(input));
      const least = (of: "lost" | "doubt") =>
        Math.min(...inputs.map((input) => input?.[of] ?? Number.POSITIVE_INFINITY));
      const missing = least("lost");
      const own = withoutState.has(stage.name) ? from : Number.POSITIVE_INFINITY;
      const doubt = isStateful(stage) ? Math.min(missing, own, least("doubt")) : least("doubt");
      reached.set(stage.name, { lost: missing, doubt });
      since.set(stage.name, Math.min(since.get(stage.name) ?? Number.POSITIVE_INFINITY, doubt));
    }
  }
  return {
    since: (name) => since.get(name) ?? Number.POSITIVE_INFINITY,
    isLost: (source, n) => lost.sources.get(source)?.ns.has(n) === true,
  };
}

/** Whether records are missing after the fork's beginning. */
export function isBroken({ sources }: LostRecords): boolean {
  return [...sources.values()].some(({ since }) => since !== undefined);
}
