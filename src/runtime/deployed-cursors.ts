import type { Cursors } from "../core/events.ts";
import type { HostContext } from "./host-context.ts";
import { seekOrdinal } from "./seek.ts";
import type { UpstreamSelection } from "./upstream-reader.ts";

/**
 * Where a unit that has no history begins to read: at the first record of the deployment that runs. What came
 * before it was for deployments that did not have the unit.
 */
export async function startingCursors(
  context: HostContext,
  upstreams: readonly UpstreamSelection[],
): Promise<Cursors> {
  const cursors: Record<string, number> = {};
  for (const { stream } of upstreams) {
    cursors[stream] =
      context.deployedFrom <= 0 ? 0 : await seekOrdinal(context.log, stream, context.deployedFrom);
  }
  return cursors;
}
