import { sourceStream } from "../core/streams.ts";
import type { Plan } from "../pipeline/plan.ts";

/** What records descend from: see `Plan.origins`. */
export interface Origins {
  /** In logical order; what indexes of origins refer to. */
  readonly names: readonly string[];
  /** The first so many are windows and joins: records that descend from them began as firings. */
  readonly firing: number;
}

export function originsOf(plan: Pick<Plan, "origins" | "firingOrigins">): Origins {
  return { names: plan.origins, firing: plan.firingOrigins };
}

/**
 * The address of a record's root at its source; of a firing `firing_<pipeline>.<stage>@<ordinal>`, which together with
 * its path tells it from all others.
 */
export function rootName(pipeline: string, origins: Origins, origin: number, root: number): string {
  const name = origins.names[origin] as string;
  return `${origin < origins.firing ? `firing_${pipeline}.${name}` : sourceStream(pipeline, name)}@${root}`;
}
