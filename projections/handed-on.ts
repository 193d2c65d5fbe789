import { decodeDeltas } from "../src/core/columns.ts";
import type { RecordsAccepted, Section, StepsRecorded, TypedEvent } from "../src/core/events.ts";
import { digestAt, SEGMENT_INPUTS, sectionsOf, stepRowsOf } from "./step-rows.ts";
import type { Edge } from "./topology.ts";

/** The records that an event hands on over one edge, in logical order. */
export interface HandedOn {
  readonly count: number;
  /** Of the event: N of what it begins with, and of what comes after it. */
  readonly first: number;
  readonly end: number;
  n(at: number): number;
  k(at: number): number;
  ordinal(at: number): number;
  /** The source, or the window or join whose firing it descends from. */
  origin(at: number): string;
  root(at: number): number;
  path(at: number): string;
  time(at: number): number | undefined;
  /** Whether the event itself has the records' digests: not where they left as they came in, or none are kept. */
  readonly digested: boolean;
  /** `undefined` unless `digested`. */
  digest(at: number): Uint8Array | undefined;
  /** Of a record that left as it came in: the row among the event's inputs. */
  input(at: number): number | undefined;
}

type Upstream = RecordsAccepted | StepsRecorded;

/** All records that leave an event at one outlet. */
interface Leaving extends HandedOn {
  /** The rows of each partition; `undefined`: all are for whoever reads them. */
  readonly rowsOf: ReadonlyMap<number, readonly number[]> | undefined;
}

const known = new WeakMap<Upstream, Map<string, Leaving | undefined>>();

/** What an event hands on over an edge: nothing, if it is none that has records. */
export function handedOn({ type, data }: TypedEvent, edge: Edge): HandedOn | undefined {
  const isUpstream = edge.stage === undefined ? type === "RecordsAccepted" : type === "StepsRecorded";
  if (!isUpstream) return undefined;
  const event = data as Upstream;
  if (!(event.count > 0)) return undefined;
  let outlets = known.get(event);
  if (outlets === undefined) {
    outlets = new Map();
    known.set(event, outlets);
  }
  const outlet = `${edge.stage} ${edge.rekeys} ${edge.results}`;
  if (!outlets.has(outlet)) {
    outlets.set(
      outlet,
      type === "RecordsAccepted"
        ? accepted(data as RecordsAccepted, edge.stream)
        : leaving(data as StepsRecorded, edge),
    );
  }
  const all = outlets.get(outlet);
  return all === undefined ? undefined : chosen(all, edge);
}

function accepted(event: RecordsAccepted, stream: string): Leaving {
  const { first, count, digests } = event;
  if (event.ordinals === undefined) throw new Error("a column is missing");
  const ordinals = decodeDeltas(event.ordinals, count);
  const times = event.times && decodeDeltas(event.times, count);
  const source = stream.slice(stream.indexOf(".") + 1);
  return {
    count,
    first,
    end: first + count,
    rowsOf: rowsBySection(event.sections, count),
    digested: digests !== undefined,
    n: (at) => first + at,
    k: () => 0,
    ordinal: (at) => ordinals[at] as number,
    origin: () => source,
    root: (at) => first + at,
    path: () => "",
    time: (at) => times?.[at],
    digest: (at) => digests && digestAt(digests, at),
    input: () => undefined,
  };
}

function leaving(
  event: StepsRecorded,
  { stage = SEGMENT_INPUTS, rekeys, results }: Edge,
): Leaving | undefined {
  const { first, count, outlets = [], sources = [] } = event;
  const at = outlets.findIndex(
    (outlet) => outlet.stage === stage && (outlet.sections !== undefined) === rekeys,
  );
  const outlet = outlets[at] ?? (results && { stage, stored: makerOf(event, stage), sections: undefined });
  if (outlet === undefined) return undefined;
  const rows = stepRowsOf(event);
  const { ordinals, source, roots, times } = rows.inputs;
  const inputs = rows.rowsAhead(stage, SEGMENT_INPUTS);
  const stored = rows.rowsAhead(stage, outlet.stored);
  const ks = at < 0 ? resultNumbers(inputs) : rows.outputNumbers(at);
  const paths = rows.paths(stage);
  const digests = outlet.stored === SEGMENT_INPUTS ? undefined : rows.stage(outlet.stored).digests;
  const inputOf = (row: number) => inputs?.[row] ?? row;
  return {
    count: rows.count(stage),
    first,
    end: first + count,
    rowsOf: rowsBySection(outlet.sections, rows.count(stage)),
    digested: digests !== undefined,
    n: (row) => first + inputOf(row),
    k: (row) => ks?.[row] ?? 0,
    ordinal: (row) => ordinals[inputOf(row)] as number,
    origin: (row) => sources[source?.[inputOf(row)] ?? 0] ?? "",
    root: (row) => roots[inputOf(row)] as number,
    path: (row) => paths?.[row] ?? "",
    time: (row) => times?.[inputOf(row)],
    digest: (row) => digests && digestAt(digests, stored?.[row] ?? row),
    input: (row) => (outlet.stored === SEGMENT_INPUTS ? inputOf(row) : undefined),
  };
}

/** The stage that made the records that a stage gave: it, or the nearest one ahead that has digests of its own. */
function makerOf({ stages = [] }: StepsRecorded, stage: number): number {
  let at = stage;
  while (at !== SEGMENT_INPUTS && stages[at]?.digests === undefined) at = stages[at]?.input ?? SEGMENT_INPUTS;
  return at;
}

/** K of each row among those of its input. */
function resultNumbers(inputs: readonly number[] | undefined): readonly number[] | undefined {
  let last = -1;
  let k = 0;
  return inputs?.map((input) => {
    k = input === last ? k + 1 : 0;
    last = input;
    return k;
  });
}

function rowsBySection(sections: readonly Section[] | undefined, count: number): Leaving["rowsOf"] {
  if (sections === undefined) return undefined;
  sectionsOf(sections, count);
  return new Map(sections.map(([partition, rows]) => [partition, decodeDeltas(rows)]));
}

/** Those for the edge's partition, with its branch on their paths. */
function chosen(all: Leaving, { partition, branch }: Edge): HandedOn {
  const { rowsOf } = all;
  if (partition === undefined || rowsOf === undefined) {
    return branch === "" ? all : { ...all, path: (at) => all.path(at) + branch };
  }
  const rows = rowsOf.get(partition) ?? [];
  const rowOf = (at: number) => rows[at] as number;
  return {
    count: rows.length,
    first: all.first,
    end: all.end,
    digested: all.digested,
    n: (at) => all.n(rowOf(at)),
    k: (at) => all.k(rowOf(at)),
    ordinal: (at) => all.ordinal(rowOf(at)),
    origin: (at) => all.origin(rowOf(at)),
    root: (at) => all.root(rowOf(at)),
    path: (at) => all.path(rowOf(at)) + branch,
    time: (at) => all.time(rowOf(at)),
    digest: (at) => all.digest(rowOf(at)),
    input: (at) => all.input(rowOf(at)),
  };
}
