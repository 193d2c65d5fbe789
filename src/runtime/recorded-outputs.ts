import type { Cursors, PipelineDeployed } from "../core/events.ts";
import type { Path } from "../core/path.ts";
import { originName, originsOf, rootName } from "../engine/origins.ts";
import type { InputRows } from "../engine/rows.ts";
import type { Plan } from "../pipeline/plan.ts";
import type { Clock } from "../ports/clock.ts";
import type { EventLog } from "../ports/event-log.ts";
import { cursorsFrom } from "./deployed-cursors.ts";
import { structureOf } from "./deployed-plan.ts";
import type { DeploymentHistory } from "./deployment-history.ts";
import type { Doubts } from "./fork-gaps.ts";
import { MergeReader } from "./merge-reader.ts";
import { upstreamsOfSink, upstreamsOfStage } from "./routes.ts";
import type { RowPlace } from "./row-places.ts";
import { INPUTS, OUTPUTS, type Part } from "./selected-records.ts";
import type { UpstreamSelection } from "./upstream-reader.ts";

/** Which outputs of a sink are wanted: those with ordinals from `from` up to and with `to`. */
export interface OutputsQuery {
  readonly log: EventLog;
  readonly clock: Clock;
  readonly history: Pick<DeploymentHistory, "pipeline" | "all" | "after">;
  /** What is asked of: what goes to a sink, or what a stage has given, of which only the digests are told. */
  readonly of: { readonly sink: string } | { readonly stage: string };
  readonly from: number;
  readonly to: number;
  /** Where the first of them begins, as who had come there kept it; absent: where `from` does. */
  readonly begin?: Cursors;
  readonly signal: AbortSignal;
  /** Whether a row is asked for; all are, if absent. */
  told?(row: OutputPlace): boolean;
  /** Records that were let go of: what is made of them cannot be compared. */
  readonly doubts?: Doubts | undefined;
}

/** Where an output is, and what it descends from. */
export interface OutputPlace {
  readonly stream: string;
  readonly part: Part;
  readonly n: number;
  readonly k: number;
  /** The name of its origin, and the deployment that it is of. */
  readonly origin: string;
  readonly deployed: PipelineDeployed;
}

/** Outputs of a sink, in logical order; columns have a row for each. */
export interface OutputRows {
  readonly rows: Pick<InputRows, "count" | "buffers" | "starts" | "ends" | "ordinals" | "paths" | "digested">;
  /** The name of what a row descends from: a source, a window or join, or nothing for what was put back. */
  originOf(row: number): string;
  /** What tells a row from all others: the address of its root, and its path. */
  keyOf(row: number): string;
  /** Where a row's record is, as `steps_P.G.Q@N.K` or `source_P.S@N`. */
  addressOf(row: number): string;
  /** Whether it was asked for. */
  isTold(row: number): boolean;
  /** Whether it is made of records that are not there any more, or should be. */
  isDoubtful(row: number): boolean;
}

/** Outputs as they are recorded. */
export interface RecordedRows extends OutputRows {
  placeOf(row: number): RowPlace;
  /** As {@link isTold} and {@link isDoubtful}, of a row that is taken to be at another place. */
  isToldAt(row: number, place: RowPlace): boolean;
  isDoubtfulAt(place: RowPlace): boolean;
}

/** Records that are read at a time. */
const BATCH_RECORDS = 2_048;

/**
 * What went to a sink, whether it was delivered or not, from what the log holds: each record as the deployment had it
 * that it was for. None of their code is loaded. Memory is that of one sink. Ends early when `signal` aborts.
 */
export async function* recordedOutputs(query: OutputsQuery): AsyncGenerator<RecordedRows> {
  const { history, from, to } = query;
  for (const deployed of history.all) {
    const until = (history.after(deployed)?.from ?? Number.MAX_SAFE_INTEGER) - 1;
    const [first, last] = [Math.max(from, deployed.from), Math.min(to, until)];
    if (first <= last)
      yield* outputsOf(query, deployed, first, last, first === from ? query.begin : undefined);
  }
}

async function* outputsOf(
  { log, clock, history, of, signal, told, doubts }: OutputsQuery,
  deployed: PipelineDeployed,
  first: number,
  last: number,
  begin: Cursors | undefined,
): AsyncGenerator<RecordedRows> {
  const plan = structureOf(deployed, history.pipeline);
  const upstreams = selectionsOf(plan, of).map((one) => ({ ...one, upTo: last, gone: "digest" as const }));
  if (upstreams.length === 0) return;
  const reader = new MergeReader({
    log,
    clock,
    upstreams,
    cursors: { ...(await cursorsFrom(log, upstreams, first)), ...begin },
    // Their bytes are wanted, and most are not looked into.
    decode: () => undefined,
    tickMs: 0,
    through: first - 1,
    upTo: last,
    firingOrigins: plan.firingOrigins,
  });
  const origins = originsOf(plan);
  const results = "stage" in of ? of.stage : inputOfSink(plan, of.sink);
  const { name } = plan.definition;
  try {
    for (let through = first - 1; through < last; ) {
      const batch = await reader.next(BATCH_RECORDS, signal);
      if (batch === undefined) return;
      through = batch.through;
      const { rows } = batch;
      if (rows.count === 0) continue;
      const originAt = (row: number) => rows.sources?.[row] ?? 0;
      const placeOf = (row: number): RowPlace => ({
        ordinal: rows.ordinals[row] as number,
        origin: originName(origins, originAt(row)),
        root: rows.roots[row] as number,
        path: rows.paths?.[row] ?? "",
      });
      const isToldAt = (row: number, { origin }: RowPlace) => {
        if (told === undefined) return true;
        const { stream = "", from } = upstreams[rows.upstreams?.[row] ?? 0] ?? {};
        const part = from === undefined || "source" in from ? INPUTS : "outlet" in from ? OUTPUTS : results;
        const [n, k] = [rows.parents[row] as number, rows.parentKs?.[row] ?? 0];
        return told({ stream, part, n, k, origin, deployed });
      };
      const isDoubtfulAt = ({ ordinal, origin, root }: RowPlace) =>
        doubts !== undefined && (ordinal >= doubts.since(results) || doubts.isLost(origin, root));
      yield {
        rows,
        placeOf,
        isToldAt,
        isDoubtfulAt,
        originOf: (row) => originName(origins, originAt(row)),
        keyOf: (row) =>
          outputKey(
            rootName(name, origins, originAt(row), rows.roots[row] as number),
            rows.paths?.[row] ?? "",
          ),
        addressOf(row) {
          const stream = upstreams[rows.upstreams?.[row] ?? 0]?.stream ?? "";
          const at = `${stream}@${rows.parents[row]}`;
          if (stream.startsWith("source_")) return at;
          return `${at}.${rows.parentKs?.[row] ?? 0}${"stage" in of ? `/${of.stage}` : ""}`;
        },
        isDoubtful: (row) => doubts !== undefined && isDoubtfulAt(placeOf(row)),
        isTold: (row) => told === undefined || isToldAt(row, placeOf(row)),
      };
    }
  } finally {
    reader.stop();
  }
}

/** A record's key at a sink: the address of its root, and its path. */
export function outputKey(root: string, path: Path): string {
  return path === "" ? root : `${root}~${Buffer.from(path, "latin1").toString("hex")}`;
}

/** The name of an output by its key, wherever it is in the log. */
export function outputName(pipeline: string, sink: string, key: string): string {
  return `${pipeline}/${sink}@${key}`;
}

/** The stage whose results a sink gets, where these are read in the place of outputs. */
function inputOfSink({ definition }: Plan, sink: string): string {
  return definition.sinks.find(({ name }) => name === sink)?.input ?? "";
}

function selectionsOf(plan: Plan, of: OutputsQuery["of"]): UpstreamSelection[] {
  if ("sink" in of) {
    const planned = plan.sinks.find(({ name }) => name === of.sink);
    return planned === undefined ? [] : upstreamsOfSink(plan, planned.upstream, true);
  }
  return upstreamsOfStage(plan, of.stage);
}
