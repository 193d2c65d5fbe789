import { decodeCanonical } from "../core/canonical.ts";
import { decodeDeltas } from "../core/columns.ts";
import { fromHex, toHex } from "../core/digest.ts";
import { HeadwaterError } from "../core/errors.ts";
import type { PipelineDeployed, RecordsAccepted } from "../core/events.ts";
import { ORDINAL_MOST, timeToOrdinal } from "../core/ordinal.ts";
import { countedKey, partitionOfKey } from "../core/partition.ts";
import { sourceStream } from "../core/streams.ts";
import type { Key } from "../pipeline/definition.ts";
import type { EventLog } from "../ports/event-log.ts";
import { createSurroundings, type Surroundings } from "../runtime/compose.ts";
import type { DeploymentHistory } from "../runtime/deployment-history.ts";
import type { AcceptedPlace, RecordPlace } from "../runtime/lineage-places.ts";
import { LineageReader } from "../runtime/lineage-reader.ts";
import { LineageValues } from "../runtime/lineage-values.ts";
import { describeRecord } from "../runtime/lineage-vertices.ts";
import type { LineageView } from "../runtime/lineage-view.ts";
import { type SearchTerms, searchRecords } from "../runtime/search.ts";
import { firstFromTime } from "../runtime/seek-time.ts";
import type { HistoryPoint } from "./history-point.ts";
import { withLineageView } from "./lineage-index.ts";
import { readLog } from "./read-log.ts";
import type { FoundRecord, SearchRequest } from "./search-types.ts";

export { parsePoint } from "./history-point.ts";

/**
 * The records of a pipeline that satisfy what is asked: `headwater search`. They are handed to `take`, which answers
 * whether it wants more. Throws `BadUsage`, `UnknownPipeline`, `UnknownStage`, `ViewBehind`, `OutputFailed` where the
 * index cannot be kept, and what the log throws.
 */
export async function search(
  request: SearchRequest,
  take: (found: FoundRecord) => boolean | Promise<boolean>,
): Promise<void> {
  const surroundings = createSurroundings();
  const terms = {
    id: request.id,
    digest: request.digest,
    key: request.key,
    from: request.from,
    to: request.to,
  };
  const asked = [...Object.values(terms), request.node, request.deployment, request.at];
  if (asked.every((term) => term === undefined)) {
    throw new HeadwaterError("BadUsage", "nothing is said of what to look for", {
      where: "search",
      hint: "Give an id, key, digest, time, node or deployment.",
    });
  }
  // Where the index turns out to be damaged, all is found once more.
  let given = 0;
  await readLog(request.log, (log) => {
    const go = (view?: LineageView) => {
      let found = 0;
      return searchLog(surroundings, log, view, request, (record) => {
        if (found++ < given) return true;
        given++;
        return take(record);
      });
    };
    const indexed = request.id !== undefined || request.digest !== undefined;
    return indexed ? withLineageView(request.log, log, request, go) : go();
  });
}

async function searchLog(
  { bundler }: Pick<Surroundings, "bundler">,
  log: EventLog,
  view: LineageView | undefined,
  request: SearchRequest,
  take: (found: FoundRecord) => boolean | Promise<boolean>,
): Promise<void> {
  const reader = new LineageReader(log, bundler);
  const history = await reader.history(request.pipeline);
  const terms = await termsOf(log, history, request);
  const { signal, key, onGone } = request;
  const hasKey = key === undefined ? undefined : await keyFilter(log, reader, history, countedKey(key));
  const context = { log, reader, history, view, ...(signal && { signal }), ...(onGone && { onGone }) };
  for await (const { stream, n, k, stage } of searchRecords(context, terms)) {
    const place = await reader.locate({
      stream,
      n,
      ...(k !== undefined && { k }),
      ...(stage !== undefined && { stage }),
    });
    if (place.kind === "gone") continue;
    const has = hasKey === undefined ? "yes" : await hasKey(place);
    if (has === "unknown") request.onKeyUnknown?.(place.address);
    if (has !== "yes") continue;
    if (!(await take(await foundRecord(reader, place)))) return;
  }
  if (signal?.aborted) throw new HeadwaterError("Stopped", "stopped before all of the log was searched");
}

async function foundRecord(reader: LineageReader, place: RecordPlace): Promise<FoundRecord> {
  const vertex = await describeRecord(reader, undefined, place);
  return {
    address: vertex.address,
    kind: vertex.kind,
    stage: vertex.stage ?? "",
    node: vertex.node ?? "",
    version: vertex.version ?? 0,
    time: vertex.time ?? 0,
    eventTime: vertex.eventTime,
    digest: vertex.after,
    id: vertex.id,
  };
}

async function termsOf(
  log: EventLog,
  history: DeploymentHistory,
  { id, digest, node, deployment, at, from, to }: SearchRequest,
): Promise<SearchTerms> {
  if (at !== undefined && !history.all.some((each) => hasUnit(each, at))) {
    throw new HeadwaterError("UnknownStage", `the pipeline has no source or stage ${JSON.stringify(at)}`, {
      where: `pipeline ${history.pipeline}`,
    });
  }
  const ranged = from !== undefined || to !== undefined;
  return {
    ...(id !== undefined && { id }),
    ...(digest !== undefined && { digest: digestOf(digest) }),
    ...(node !== undefined && { node }),
    ...(deployment !== undefined && { deployed: deployedAs(history, deployment) }),
    ...(at !== undefined && { at }),
    ...(ranged && (await rangesOf(log, history, from, to))),
  };
}

function hasUnit({ sources, stages }: PipelineDeployed, name: string): boolean {
  return [...sources, ...stages].some((each) => each.name === name);
}

function digestOf(text: string): Uint8Array {
  if (/^[0-9a-fA-F]{64}$/.test(text)) return fromHex(text);
  throw new HeadwaterError("BadUsage", `not a digest: ${JSON.stringify(text)}`, {
    where: "--digest",
    hint: "A digest is 64 hexadecimal digits, as lineage prints them with --json.",
  });
}

function deployedAs(
  history: DeploymentHistory,
  given: string | number,
): (deployed: PipelineDeployed) => boolean {
  const fits = ({ deployment, version }: PipelineDeployed) =>
    typeof given === "number" ? version === given : toHex(deployment).startsWith(given.toLowerCase());
  if (history.all.some(fits)) return fits;
  const known = history.all.map(
    ({ deployment, version }) => `${version} (${toHex(deployment).slice(0, 12)})`,
  );
  throw new HeadwaterError("BadUsage", `the pipeline has no such deployment: ${given}`, {
    where: "--deployment",
    hint: `It has the versions ${known.join(", ")}.`,
  });
}

/** Of event times both bounds are looked up, and each record is held to them: they need not come in order. */
async function rangesOf(
  log: EventLog,
  history: DeploymentHistory,
  from: HistoryPoint | undefined,
  to: HistoryPoint | undefined,
): Promise<Pick<SearchTerms, "ordinals" | "times">> {
  const times =
    (from !== undefined && "eventTime" in from) || (to !== undefined && "eventTime" in to)
      ? {
          from: from !== undefined && "eventTime" in from ? from.eventTime : Number.NEGATIVE_INFINITY,
          to: to !== undefined && "eventTime" in to ? to.eventTime : Number.POSITIVE_INFINITY,
        }
      : undefined;
  const ordinals = new Map<string, { from: number; to: number }>();
  for (const name of new Set(history.all.flatMap(({ sources }) => sources.map((source) => source.name)))) {
    const stream = sourceStream(history.pipeline, name);
    ordinals.set(name, {
      from: from === undefined ? 0 : await lowerBound(log, stream, from),
      to: to === undefined ? ORDINAL_MOST : upperBound(to),
    });
  }
  return { ordinals, ...(times !== undefined && { times }) };
}

/** The first ordinal that may be after a point: none of those before it has so late an event time. */
async function lowerBound(log: EventLog, stream: string, point: HistoryPoint): Promise<number> {
  if ("ordinal" in point) return point.ordinal;
  if ("logTime" in point) return timeToOrdinal(point.logTime);
  return (await firstFromTime(log, stream, point))?.ordinal ?? ORDINAL_MOST;
}

/** The first ordinal that is certainly not before a point. An early event time may come at any later ordinal. */
function upperBound(point: HistoryPoint): number {
  if ("ordinal" in point) return point.ordinal;
  return "logTime" in point ? timeToOrdinal(point.logTime) : ORDINAL_MOST;
}

type HasKey = "yes" | "no" | "unknown";

/**
 * Whether an accepted record has a key, by the function of its source as it was deployed for it. The log has the
 * partition of each: only of records in the key's own that are not kept it is not known.
 */
async function keyFilter(
  log: EventLog,
  reader: LineageReader,
  history: DeploymentHistory,
  key: Key,
): Promise<(place: RecordPlace) => Promise<HasKey>> {
  const values = new LineageValues({ log, reader });
  const rows = new WeakMap<RecordsAccepted, ReadonlySet<number> | "all">();
  const rowsOf = ({ event, deployed }: AcceptedPlace) => {
    const known = rows.get(event) ?? rowsOfPartition(event, partitionOfKey(key, deployed.partitions));
    rows.set(event, known);
    return known;
  };
  return async (place) => {
    if (place.kind !== "source") return "no";
    const plan = await history.planOf(place.deployed);
    const source = plan.sources.find(({ name }) => sourceStream(history.pipeline, name) === place.stream);
    if (source?.key === undefined) return "no";
    const own = rowsOf(place);
    if (own !== "all" && !own.has(place.row)) return "no";
    const found = await values.valueOf(place);
    if (found.kind === "none") return "unknown";
    return Object.is(countedKey(source.key(decodeCanonical(found.bytes))), key) ? "yes" : "no";
  };
}

function rowsOfPartition({ sections }: RecordsAccepted, partition: number): ReadonlySet<number> | "all" {
  if (sections === undefined) return "all";
  return new Set(sections.flatMap(([of, rows]) => (of === partition ? [...decodeDeltas(rows)] : [])));
}
