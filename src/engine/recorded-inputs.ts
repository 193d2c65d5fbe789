import { decodeByteTexts, decodeDeltas, decodePlain, decodeRuns } from "../core/columns.ts";
import { HeadwaterError } from "../core/errors.ts";
import type { StepsRecorded } from "../core/events.ts";
import type { Path } from "../core/path.ts";
import { originBefore, RETRIED_NAME } from "./origins.ts";

/** An input of a partition as its step event has it. */
export interface RecordedInput {
  /** Name of the source, window or join that it descends from; of what was put back, that from before. */
  readonly origin: string;
  /** Whether it descends from a record that was put back. */
  readonly retried: boolean;
  /** N, ordinal or I of its root. */
  readonly root: number;
  readonly path: Path;
  /** Milliseconds since 1970. */
  readonly time: number | undefined;
  readonly firing: boolean;
  /** The upstream stream, and its N and K there. */
  readonly stream: string;
  readonly parent: number;
  readonly parentK: number;
}

/** All inputs of a step event, decoded once. */
const decoded = new WeakMap<StepsRecorded, readonly RecordedInput[]>();

/** The input N = `n` of the event that holds it. Throws `LogDamaged` where the event does not. */
export function recordedInput(event: StepsRecorded, n: number): RecordedInput {
  let inputs = decoded.get(event);
  if (inputs === undefined) {
    inputs = decodeInputs(event);
    decoded.set(event, inputs);
  }
  const input = inputs[n - event.first];
  if (input !== undefined) return input;
  throw new HeadwaterError("LogDamaged", "an event does not hold an input that is looked for in it", {
    where: `N ${n}`,
  });
}

function decodeInputs(event: StepsRecorded): RecordedInput[] {
  const { count, streams = [], sources = [] } = event;
  if (count === 0) return [];
  const parents = event.parents === undefined ? [] : decodeDeltas(event.parents, count);
  const ks = event.parentKs === undefined ? undefined : decodePlain(event.parentKs, count);
  const roots = event.roots === undefined ? parents : decodeDeltas(event.roots, count);
  const paths = event.paths === undefined ? undefined : decodeByteTexts(event.paths, count);
  const source = event.source === undefined ? undefined : decodeRuns(event.source, count);
  const upstream = event.upstream === undefined ? undefined : decodeRuns(event.upstream, count);
  const times = event.times === undefined ? undefined : decodeDeltas(event.times, count);
  const timeless = new Set(event.timeless === undefined ? [] : decodeDeltas(event.timeless));
  const firings = new Set(event.firings === undefined ? [] : decodeDeltas(event.firings));
  return Array.from({ length: count }, (_, row) => {
    const name = sources[source?.[row] ?? 0] ?? "";
    const path = paths?.[row] ?? "";
    const retried = name === RETRIED_NAME;
    return {
      origin: retried ? originBefore(path) : name,
      retried,
      root: roots[row] as number,
      path,
      time: timeless.has(row) ? undefined : times?.[row],
      firing: firings.has(row),
      stream: streams[upstream?.[row] ?? 0] ?? "",
      parent: parents[row] as number,
      parentK: ks?.[row] ?? 0,
    };
  });
}
