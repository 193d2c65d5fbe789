import type { PipelineDeployed } from "../core/events.ts";
import { deployedSources } from "./deployment-history.ts";

/**
 * Whether what descends from an origin, which is named, descends from a source: it is that source, or a window or join
 * behind it. Everything does where no source is given.
 */
export function descendsFrom(
  deployed: PipelineDeployed,
  source: string | undefined,
): (origin: string) => boolean {
  const known = new Map<string, boolean>();
  return (origin) => {
    let descends = known.get(origin);
    if (descends === undefined) {
      descends = source === undefined || origin === source || deployedSources(deployed, origin).has(source);
      known.set(origin, descends);
    }
    return descends;
  };
}
