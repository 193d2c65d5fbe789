import type { Path } from "../core/path.ts";
import type { StepGraph, StepRow } from "../engine/step-graph.ts";

/** Where a row is in a pipeline, whatever version runs and however it is cut into batches. */
export interface RowPlace {
  readonly ordinal: number;
  /** The name of what it descends from: a source, a window or join, or nothing for what was put back. */
  readonly origin: string;
  /** The N of its root there; of what was put back its I. */
  readonly root: number;
  readonly path: Path;
}

/** Where the rows of an event are. */
export function placesIn(graph: StepGraph): (at: StepRow) => RowPlace {
  const paths = new Map<number, readonly Path[]>();
  return ({ stage, row }) => {
    let known = paths.get(stage);
    if (known === undefined) {
      known = graph.shape.paths(stage);
      paths.set(stage, known);
    }
    const input = graph.shape.origin(stage)?.[row] ?? row;
    const { ordinal, source, root } = graph.input(input);
    return { ordinal, origin: source, root, path: known[row] ?? "" };
  };
}

/** A place as a text that tells it from others. */
export function placeText({ ordinal, origin, root, path }: RowPlace): string {
  return `${ordinal} ${origin} ${root} ${path}`;
}
