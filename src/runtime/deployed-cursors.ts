import { type Cursors, TAKEN_OF_GROUP } from "../core/events.ts";
import { isRetryStream } from "../core/streams.ts";
import type { EventLog } from "../ports/event-log.ts";
import type { HostContext } from "./host-context.ts";
import { seekOrdinal } from "./seek.ts";
import { recordsBefore } from "./seek-time.ts";
import type { UpstreamSelection } from "./upstream-reader.ts";

/** The log, and where the deployment that runs begins. */
type DeployedLog = Pick<HostContext, "log" | "deployedFrom">;

/**
 * Where a unit that has no history begins to read: at the first record of the deployment that runs. What came
 * before it was for deployments that did not have the unit.
 */
export async function startingCursors(
  context: DeployedLog,
  upstreams: readonly UpstreamSelection[],
): Promise<Cursors> {
  const cursors: Record<string, number> = {};
  for (const { stream } of upstreams) {
    cursors[stream] =
      context.deployedFrom <= 0 ? 0 : await seekOrdinal(context.log, stream, context.deployedFrom);
  }
  return cursors;
}

/**
 * The cursors of a unit for the streams that it reads now: those that it had, and for a stream that it did not read
 * before, because the pipeline was changed since, where the deployment begins.
 */
export async function currentCursors(
  context: DeployedLog,
  upstreams: readonly UpstreamSelection[],
  before: Cursors,
): Promise<Cursors> {
  const added = upstreams.filter(({ stream }) => before[stream] === undefined);
  const names = new Set(upstreams.map(({ stream }) => stream));
  const read = (stream: string) => names.has(stream) || isRetryStream(stream);
  const gone = Object.keys(before).some((stream) => stream !== TAKEN_OF_GROUP && !read(stream));
  if (added.length === 0 && !gone) return before;
  const kept = Object.entries(before).filter(([stream]) => read(stream));
  return { ...Object.fromEntries(kept), ...(await startingCursors(context, added)) };
}

/** Where the records with `ordinal` or a later one begin in each stream, to the record. */
export async function cursorsFrom(
  log: EventLog,
  upstreams: readonly UpstreamSelection[],
  ordinal: number,
): Promise<Cursors> {
  const cursors: Record<string, number> = {};
  for (const { stream } of upstreams) cursors[stream] = await recordsBefore(log, stream, ordinal);
  return cursors;
}
