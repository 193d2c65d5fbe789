import { decodeEvent } from "../core/event-codec.ts";
import type { PipelineDeployed } from "../core/events.ts";
import { stepsStream } from "../core/streams.ts";
import type { EventLog } from "../ports/event-log.ts";
import type { RecordedPartition } from "./deployment-history.ts";
import { readUnlessGone } from "./seek.ts";
import { firstFromOrdinal, recordsBefore } from "./seek-time.ts";

/**
 * Which inputs of a partition are in a window: from N = `first` up to, and without, `end`. `undefined`: the events that
 * would say it were let go of.
 */
export interface WindowInputs {
  readonly first: number | undefined;
  readonly end: number | undefined;
}

/** The inputs of a partition with ordinals from `from` up to and with `to`. O(log n) reads. */
export async function windowInputs(
  log: EventLog,
  history: {
    readonly pipeline: string;
    readonly all: readonly Pick<PipelineDeployed, "stages" | "partitions" | "from">[];
  },
  { segment, partition }: RecordedPartition,
  { from, to }: { readonly from: number; readonly to: number },
): Promise<WindowInputs> {
  const has = history.all.filter(
    ({ stages, partitions }) => partition < partitions && stages.some((stage) => stage.segment === segment),
  );
  // Before the first version that had the partition it had no input.
  const since = Math.min(...has.map((deployed) => deployed.from));
  if (to < since) return { first: 0, end: 0 };
  const stream = stepsStream(history.pipeline, segment, partition);
  return {
    first: from <= since ? 0 : await firstInput(log, stream, from),
    end: await firstInput(log, stream, to + 1),
  };
}

/** The N of the first input with this ordinal or a later one: the next one, if there is none; `undefined`: see above. */
async function firstInput(log: EventLog, stream: string, ordinal: number): Promise<number | undefined> {
  const place = await firstFromOrdinal(log, stream, ordinal);
  if (place === undefined) return recordsBefore(log, stream, ordinal);
  const info = await log.streamInfo(stream);
  if (info === undefined || info.firstRevision === 0) return place.n;
  const earliest = await readUnlessGone(log, stream, info.firstRevision);
  const data = earliest && decodeEvent(earliest).data;
  if (data === undefined || !("first" in data)) return undefined;
  // What was let go of may have been as late.
  return data.first < place.n ? place.n : undefined;
}
