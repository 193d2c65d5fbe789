import { branchElement, indexElement, type Path, readIndexElement } from "../core/path.ts";
import { isRetryStream, retryStream, sourceStream } from "../core/streams.ts";
import type { Plan } from "../pipeline/plan.ts";

/** What records descend from: see `Plan.origins`. */
export interface Origins {
  /** In logical order; what indexes of origins refer to. */
  readonly names: readonly string[];
  /** The first so many are windows and joins: records that descend from them began as firings. */
  readonly firing: number;
}

/**
 * Stands for an index of an origin where a record descends from one that was put back from quarantine: those come
 * before all others. (−1 is an origin of an earlier deployment that is not there any more.)
 */
export const RETRIED = -2;

/** The name under which events list it. */
export const RETRIED_NAME = "";

export function originsOf(plan: Pick<Plan, "origins" | "firingOrigins">): Origins {
  return { names: plan.origins, firing: plan.firingOrigins };
}

/** The index of an origin that an event names. */
export function originIndex(names: readonly string[], name: string): number {
  return name === RETRIED_NAME ? RETRIED : names.indexOf(name);
}

/** The name of an origin as events have it. */
export function originName({ names }: Origins, origin: number): string {
  return origin === RETRIED ? RETRIED_NAME : (names[origin] as string);
}

/**
 * The address of a record's root at its source; of a firing `firing_<pipeline>.<stage>@<ordinal>`, which together with
 * its path tells it from all others; of a record that was put back `retry_<pipeline>@<I>`.
 */
export function rootName(pipeline: string, origins: Origins, origin: number, root: number): string {
  if (origin === RETRIED) return `${retryStream(pipeline)}@${root}`;
  return rootNamed(pipeline, origins.names[origin] as string, origin < origins.firing, root);
}

/** The address of a root, by the name of its source, or of the window or join that gave it. */
export function rootNamed(pipeline: string, name: string, firing: boolean, root: number): string {
  return `${firing ? `firing_${pipeline}.${name}` : sourceStream(pipeline, name)}@${root}`;
}

/**
 * The path of a record that was put back as the I-th (`item`): `segmentsAfter` is how many segments come after that
 * which takes it, `origin` the name of what it descended from before. See "Retries" in docs/format.md.
 */
export function retriedPath(segmentsAfter: number, item: number, origin: string): Path {
  return indexElement(segmentsAfter) + indexElement(item) + branchElement(origin);
}

/** The name of what a record descends from, by its root's address and its path; of what was put back, that from before. */
export function originNamed(root: string, path: Path): string {
  if (isRetryStream(root)) return originBefore(path);
  return root.slice(root.indexOf(".") + 1, root.lastIndexOf("@"));
}

/** The name of what a record on a {@link retriedPath} descended from before it was put back. */
export function originBefore(path: Path): string {
  const { end } = readIndexElement(path, readIndexElement(path, 0).end);
  return path.slice(end, path.indexOf("\0", end));
}

/** What was added to a {@link retriedPath} since the record came back. */
export function pathSinceRetry(path: Path): Path {
  const { end } = readIndexElement(path, readIndexElement(path, 0).end);
  return path.slice(path.indexOf("\0", end) + 1);
}
