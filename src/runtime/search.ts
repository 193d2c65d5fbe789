import { parseUnitStream } from "../core/address.ts";
import { decodeDeltas, decodeTexts } from "../core/columns.ts";
import { DIGEST_BYTES, equalBytes } from "../core/digest.ts";
import { decodeEvent, decodeEventAs } from "../core/event-codec.ts";
import type { PipelineDeployed, RecordsAccepted } from "../core/events.ts";
import { digestTerm, hashText, idTerm } from "../core/index-terms.ts";
import { sourceStream, stepsStream } from "../core/streams.ts";
import { originBefore, RETRIED_NAME } from "../engine/origins.ts";
import type { EventLog, RecordedEvent } from "../ports/event-log.ts";
import type { DeploymentHistory } from "./deployment-history.ts";
import { stagesOf } from "./lineage-places.ts";
import type { LineageReader } from "./lineage-reader.ts";
import type { LineageView } from "./lineage-view.ts";
import { readUnlessGone, seekThrough } from "./seek.ts";

/** What a record has to satisfy; what is absent does not count. */
export interface SearchTerms {
  readonly id?: string;
  readonly digest?: Uint8Array;
  readonly node?: string;
  readonly deployed?: (deployed: PipelineDeployed) => boolean;
  /** A source or stage. */
  readonly at?: string;
  /** Ordinals that a record may have: for each source from `from` up to, without, `to`. */
  readonly ordinals?: ReadonlyMap<string, { readonly from: number; readonly to: number }>;
  /** Event times that it may have: from the first up to, without, the second. */
  readonly times?: { readonly from: number; readonly to: number };
}

/** A row that satisfies them. */
export interface SearchHit {
  readonly stream: string;
  readonly n: number;
  /** Of a stage's result: which stage, and its number among those of the input. */
  readonly stage?: string;
  readonly k?: number;
  readonly event: RecordedEvent;
}

export interface SearchContext {
  readonly log: EventLog;
  readonly reader: LineageReader;
  readonly history: DeploymentHistory;
  /** By it ids and digests are found; the others by going through the streams. */
  readonly view: LineageView | undefined;
  readonly signal?: AbortSignal;
  /** Called for a stream of which not all is there that was to be looked through: what was before the revision is not. */
  onGone?(stream: string, before: number): void;
}

/** All records of a pipeline that satisfy the terms, stream by stream, in the order of each. */
export async function* searchRecords(context: SearchContext, terms: SearchTerms): AsyncGenerator<SearchHit> {
  for await (const event of candidates(context, terms)) {
    const unit = parseUnitStream(event.stream);
    const { type, data } = decodeEvent(event);
    if (!("deployment" in data) || !("through" in data)) continue;
    if (terms.node !== undefined && data.node !== terms.node) continue;
    const deployed = context.history.withIdentity(data.deployment, data.through);
    if (terms.deployed !== undefined && !terms.deployed(deployed)) continue;
    if (type === "RecordsAccepted" && unit?.kind === "source")
      yield* acceptedHits(event, data, unit.source, terms);
    else if (type === "StepsRecorded" && unit?.kind === "steps")
      yield* stepHits(context, event, unit.segment, deployed, terms);
  }
}

/** Events that may hold such records. */
async function* candidates(
  { log, history, view, signal, onGone }: SearchContext,
  { id, digest, at, ordinals }: SearchTerms,
): AsyncGenerator<RecordedEvent> {
  const { pipeline } = history;
  const deployments = history.all;
  const sources = [...new Set(deployments.flatMap((each) => each.sources.map(({ name }) => name)))];
  if (view !== undefined && (id !== undefined || digest !== undefined)) {
    const found =
      id !== undefined
        ? sources.flatMap((name) => {
            const stream = sourceStream(pipeline, name);
            return view.find(idTerm(hashText(stream), id)).filter((place) => place.stream === stream);
          })
        : view.find(digestTerm(digest as Uint8Array, 0));
    for (const { stream, revision } of found) {
      if (parseUnitStream(stream)?.pipeline !== pipeline) continue;
      const event = await readUnlessGone(log, stream, revision);
      if (event === undefined) onGone?.(stream, (await log.streamInfo(stream))?.firstRevision ?? 0);
      else yield event;
    }
    return;
  }
  const streams = sources
    .filter((name) => at === undefined || at === name)
    .map((name) => sourceStream(pipeline, name));
  for (const { stages, partitions } of deployments) {
    for (const { name, segment } of stages) {
      // Without a stage that is asked for, what was accepted is what is looked for.
      if (name !== at) continue;
      for (let partition = 0; partition < partitions; partition++) {
        streams.push(stepsStream(pipeline, segment, partition));
      }
    }
  }
  for (const stream of new Set(streams)) {
    const info = await log.streamInfo(stream);
    if (info === undefined) continue;
    const unit = parseUnitStream(stream);
    const range = unit?.kind === "source" ? ordinals?.get(unit.source) : undefined;
    const from = range === undefined ? 0 : ((await seekThrough(log, stream, range.from - 1)) ?? 0);
    if (info.firstRevision > 0 && from <= info.firstRevision) onGone?.(stream, info.firstRevision);
    for await (const event of log.read(stream, { from, ...(signal && { signal }) })) {
      yield event;
      const { data } = decodeEvent(event);
      if (range !== undefined && "through" in data && data.through >= range.to) break;
    }
  }
}

function* acceptedHits(
  event: RecordedEvent,
  { ordinals, times, ids, digests, count, first }: RecordsAccepted,
  source: string,
  { id, digest, at, ordinals: ranges, times: within }: SearchTerms,
): Generator<SearchHit> {
  if (count === 0 || (at !== undefined && at !== source)) return;
  const texts = id === undefined ? undefined : ids === undefined ? [] : decodeTexts(ids, count);
  const range = ranges?.get(source);
  const own = range === undefined || ordinals === undefined ? undefined : decodeDeltas(ordinals, count);
  const eventTimes = within === undefined ? undefined : times === undefined ? [] : decodeDeltas(times, count);
  for (let row = 0; row < count; row++) {
    if (texts !== undefined && texts[row] !== id) continue;
    if (digest !== undefined && !hasDigest(digests, row, digest)) continue;
    if (range !== undefined && own !== undefined && !isWithin(own[row], range)) continue;
    if (eventTimes !== undefined && within !== undefined && !isWithin(eventTimes[row], within)) continue;
    yield { stream: event.stream, n: first + row, event };
  }
}

async function* stepHits(
  { reader }: Pick<SearchContext, "reader">,
  event: RecordedEvent,
  segment: string,
  deployed: PipelineDeployed,
  { id, digest, at, ordinals, times }: SearchTerms,
): AsyncGenerator<SearchHit> {
  if (id !== undefined || decodeEventAs(event, "StepsRecorded").count === 0) return;
  const { graph } = await reader.inputAt(event.stream, decodeEventAs(event, "StepsRecorded").first);
  for (const [stage, { name }] of stagesOf(deployed, segment).entries()) {
    if (at !== undefined && at !== name) continue;
    const { digests } = graph.shape.stages[stage] ?? {};
    if (digest !== undefined && digests === undefined) continue;
    for (let row = 0; row < graph.shape.stage(stage).count; row++) {
      if (digest !== undefined && !hasDigest(digests, row, digest)) continue;
      const { input, k } = graph.placeOf({ stage, row });
      if (ordinals !== undefined || times !== undefined) {
        const { ordinal, source, path, time } = graph.input(input);
        // What was put back has the ordinal with which it came back, and descends from the source of before.
        const range = ordinals?.get(source === RETRIED_NAME ? originBefore(path) : source);
        if (ordinals !== undefined && (range === undefined || !isWithin(ordinal, range))) continue;
        if (times !== undefined && !isWithin(time, times)) continue;
      }
      yield { stream: event.stream, n: graph.event.first + input, k, stage: name, event };
    }
  }
}

function hasDigest(digests: Uint8Array | undefined, row: number, digest: Uint8Array): boolean {
  const own = digests?.subarray(row * DIGEST_BYTES, (row + 1) * DIGEST_BYTES);
  return own !== undefined && equalBytes(own, digest);
}

function isWithin(
  value: number | undefined,
  { from, to }: { readonly from: number; readonly to: number },
): boolean {
  return value !== undefined && value >= from && value < to;
}
