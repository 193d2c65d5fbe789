import { formatAddress, parseUnitStream } from "../core/address.ts";
import { decodeDeltas } from "../core/columns.ts";
import { HeadwaterError } from "../core/errors.ts";
import { decodeEvent } from "../core/event-codec.ts";
import type { Key } from "../pipeline/definition.ts";
import { SEGMENT_INPUT, type Segment } from "../pipeline/plan.ts";
import type { Bundler } from "../ports/bundler.ts";
import type { Clock } from "../ports/clock.ts";
import { ChosenRecords } from "./chosen-records.ts";
import { structureOf } from "./deployed-plan.ts";
import type { DeploymentHistory } from "./deployment-history.ts";
import { Homes } from "./homes.ts";
import type { FiringPlace, RecordPlace, ResultPlace } from "./lineage-places.ts";
import { LineageReader } from "./lineage-reader.ts";
import { type Refused, readRefused } from "./quarantine.ts";
import { resolveRecord } from "./record-address.ts";
import { placesIn, placeText, type RowPlace } from "./row-places.ts";
import { readUnlessGone } from "./seek.ts";
import { INPUTS, type Part, SelectedRecords } from "./selected-records.ts";
import { givenPart } from "./selection-event.ts";
import { chooseKey, firingsOf } from "./selection-key.ts";
import { type ChooseIn, type Walk, walkBackwards, walkForwards } from "./selection-walk.ts";

/** Which records of a history a replay tells of. At most one of `key`, `record` and `quarantined`. */
export interface SelectionQuery {
  /** Records with this key, that their source gave them or a keyed stage took them by, and all that comes of them. */
  readonly key?: Key | undefined;
  /** RECORD: what it came from, back to its sources, and what it went into, down to the outputs. */
  readonly record?: string | undefined;
  /** Records that stages refused, and what comes of them where they are not refused any more. */
  readonly quarantined?: boolean | undefined;
  /** With `key` or `quarantined`: at this stage alone. */
  readonly stage?: string | undefined;
  /** What descends from this source alone; with `key`: that had it from this source. */
  readonly source?: string | undefined;
}

export interface SelectionContext extends Walk {
  readonly clock: Clock;
  readonly bundler: Bundler;
  readonly history: Pick<DeploymentHistory, "pipeline" | "all" | "after" | "at" | "planOf" | "withIdentity">;
  readonly from: number;
  readonly to: number;
}

/** What was chosen in a pipeline's history. */
export interface Selection {
  readonly chosen: ChosenRecords;
  /** How many records have the key, or were refused; of one record 1. */
  readonly begun: number;
  /** Of a key: of how many records it cannot be told, because they are not kept any more. */
  readonly unknown?: number;
  /** Where they are in a fork, whatever runs there: see {@link placeAt}. What was put back is where it had failed. */
  readonly places: ReadonlySet<string>;
  /** Those that were refused. */
  readonly refused: readonly RefusedRow[];
  /** The address of the one record. */
  readonly record?: string;
}

/** A record that a stage refused, and where it is. */
export interface RefusedRow {
  readonly refused: Refused;
  readonly stage: string;
  readonly ordinal: number;
  /** Where the stage was given it, or would have been if it had not been refused before. */
  readonly home: RowPlace;
}

/** A row of a stage, or an input: what is chosen to begin with. */
interface Seed {
  readonly stream: string;
  readonly part: Part;
  readonly n: number;
  /** Absent: all rows of the input. */
  readonly k?: number;
  readonly ordinal: number;
  /** Absent of what a source has accepted: that is the same in a fork. */
  readonly place: string | undefined;
}

/**
 * Finds what a selection chooses in the history of a pipeline, from its events; code is run for keys alone. Ordinals
 * from `from` up to and with `to` are what is told of: what a key chooses has it there, and of a record all is found that
 * reaches there. Throws `RecordNotFound`, `RecordGone`, `BadUsage`, `UnknownStage`, `UnknownPipeline` and `Stopped`.
 */
export async function select(context: SelectionContext, query: SelectionQuery): Promise<Selection> {
  if (query.stage !== undefined) mustHaveStage(context, query.stage);
  if (query.key !== undefined) return selectKey(context, { ...query, key: query.key });
  const refused = query.quarantined ? await refusedRows(context, query.stage) : [];
  const found = query.record === undefined ? undefined : await seedsOf(context, query.record);
  const seeds = found?.seeds ?? refused.map(({ seed }) => seed);
  const forwards = new SelectedRecords();
  const backwards = new SelectedRecords();
  let from = Number.MAX_SAFE_INTEGER;
  for (const { stream, part, n, k, ordinal } of seeds) {
    forwards.add(stream, part, n, k);
    if (query.record !== undefined) backwards.add(stream, part, n, k);
    from = Math.min(from, ordinal);
  }
  await walkForwards(context, forwards, from, context.to);
  if (query.record !== undefined) await walkBackwards(context, backwards);
  return {
    chosen: new ChosenRecords(forwards, backwards),
    begun: query.record === undefined ? refused.length : 1,
    places: new Set(seeds.flatMap(({ place }) => place ?? [])),
    refused,
    ...(found !== undefined && { record: found.record }),
  };
}

async function selectKey(
  context: SelectionContext,
  query: SelectionQuery & { readonly key: Key },
): Promise<Selection> {
  const forwards = new SelectedRecords();
  const { from, to } = context;
  const { found, unknown } = await chooseKey(context, forwards, query, { from, to });
  let begun = found;
  const firings = firingsOf(query, () => begun++);
  await walkForwards(context, forwards, from, to, firings);
  return { chosen: new ChosenRecords(forwards), begun, unknown, places: new Set(), refused: [] };
}

/**
 * Finds what a selection chooses in a fork: what comes of the same records there, which are found by their place in the
 * pipeline, and what they are made of.
 */
export async function selectInFork(
  context: SelectionContext,
  query: SelectionQuery,
  selection: Selection,
): Promise<ChosenRecords> {
  const { from, to } = context;
  const streamOf = await streamsBefore(context);
  const { chosen, places } = selection;
  const forwards = new SelectedRecords({ selected: chosen.forwards, streamOf });
  const backwards = new SelectedRecords({ selected: chosen.backwards, streamOf });
  if (query.key !== undefined) {
    await chooseKey(context, forwards, { ...query, key: query.key }, { from, to });
    await walkForwards(
      context,
      forwards,
      from,
      to,
      firingsOf({ ...query, key: query.key }, () => {}),
    );
    return new ChosenRecords(forwards);
  }
  await walkForwards(context, forwards, from, to, matching(places, backwards));
  if (query.record === undefined) return new ChosenRecords(forwards);
  await walkBackwards(context, backwards);
  return new ChosenRecords(forwards, backwards);
}

/** Chooses rows at places; those that are found are added to `found`. */
function matching(places: ReadonlySet<string>, found: SelectedRecords): ChooseIn {
  const ordinals = new Set([...places].map((place) => Number(place.slice(0, place.indexOf(" ")))));
  return ({ stream, graph, segment }) => {
    const { first, count } = graph.event;
    let some = false;
    for (let row = 0; row < count && !some; row++) some = ordinals.has(graph.input(row).ordinal);
    if (!some) return undefined;
    const placeOf = placesIn(graph);
    return (part, at) => {
      if (!places.has(placeAt(placeOf(at), part, segment.name))) return false;
      const { input, k } = at.stage === SEGMENT_INPUT ? { input: at.row, k: 0 } : graph.placeOf(at);
      found.add(stream, part, first + input, k);
      return true;
    };
  };
}

/** The stream of the pipeline that has what was before a fork, and all that the fork reads. */
async function streamsBefore({ log, history }: SelectionContext) {
  const own = `steps_${history.pipeline}.`;
  const firsts = new Map<string, number>();
  for await (const { stream, deleted } of log.streams({ prefixes: [own] })) {
    const recorded = deleted ? undefined : await readUnlessGone(log, stream, 0);
    const typed = recorded && decodeEvent(recorded);
    if (typed?.type === "PartitionClaimed") firsts.set(stream, typed.data.first);
  }
  const original = `steps_${history.pipeline.slice(0, history.pipeline.indexOf("~"))}.`;
  return (stream: string, n: number) => {
    if (!stream.startsWith(own)) return stream;
    return n < (firsts.get(stream) ?? 0) ? `${original}${stream.slice(own.length)}` : undefined;
  };
}

/** A place at a stage whose results are meant, or at a segment whose inputs are. */
function placeAt(place: RowPlace, part: Part, segment: string): string {
  return `${placeText(place)} ${part === INPUTS ? `>${segment}` : part}`;
}

/** The refused records of a window, each with the row that its stage was given. */
async function refusedRows(
  context: SelectionContext,
  stage: string | undefined,
): Promise<(RefusedRow & { readonly seed: Seed })[]> {
  const { log, bundler, history, from, to } = context;
  const reader = new LineageReader(log, bundler);
  const homes = new Homes(log, history);
  const rows: (RefusedRow & { readonly seed: Seed })[] = [];
  const filter = stage === undefined ? {} : { stage };
  for await (const refused of readRefused(log, history.pipeline, filter)) {
    const { unit, place, record } = refused;
    if (record.kind !== "quarantined" || place.stage === undefined) continue;
    const input = await reader.inputAt(unit, place.n);
    const { ordinal } = input.graph.input(input.row);
    if (ordinal < from || ordinal > to) continue;
    const { segment } = segmentOf(context, input, unit);
    const part = givenPart(segment, place.stage);
    const at = segment.stages.findIndex(({ definition }) => definition.name === place.stage);
    const given = at < 0 || part === INPUTS ? SEGMENT_INPUT : input.graph.shape.ahead(at);
    const row =
      given === SEGMENT_INPUT ? input.row : input.graph.rowsOf(given, input.row).start + (place.k ?? 0);
    const home = await homes.placeOf(placesIn(input.graph)({ stage: given, row }));
    const k = given === SEGMENT_INPUT ? 0 : (place.k ?? 0);
    const where = placeAt(home, part, segment.name);
    const seed = { stream: unit, part, n: place.n, k, ordinal, place: where };
    rows.push({ refused, stage: place.stage, ordinal, home, seed });
  }
  return rows;
}

function homeOf({ log, history }: SelectionContext, place: RowPlace): Promise<RowPlace> {
  return new Homes(log, history).placeOf(place);
}

function segmentOf(
  { history }: SelectionContext,
  { deployed }: FiringPlace | ResultPlace,
  stream: string,
): { readonly segment: Segment } {
  const unit = parseUnitStream(stream);
  const segment = structureOf(deployed, history.pipeline).segments.find(
    ({ name }) => unit?.kind === "steps" && name === unit.segment,
  );
  if (segment !== undefined) return { segment };
  throw new HeadwaterError("LogDamaged", "a deployment does not have a segment that its events have", {
    where: stream,
  });
}

/** The rows that a RECORD stands for. */
async function seedsOf(
  context: SelectionContext,
  text: string,
): Promise<{ readonly record: string; readonly seeds: readonly Seed[] }> {
  const { log, bundler, history, signal } = context;
  const reader = new LineageReader(log, bundler);
  const address = await resolveRecord({ log, reader, signal }, text);
  const written = formatAddress(address);
  const unit = parseUnitStream(address.stream.replace(/^quarantine_/, "steps_"));
  const pipeline = unit?.pipeline ?? address.stream.slice(address.stream.indexOf("_") + 1);
  if (pipeline !== history.pipeline) {
    throw new HeadwaterError("BadUsage", `the record is one of the pipeline ${pipeline}`, {
      where: written,
      hint: `Name a record of ${history.pipeline}: headwater lineage shows how records hang together.`,
    });
  }
  const place = await reader.locate(address);
  if (place.kind === "gone") {
    throw new HeadwaterError("RecordGone", "the record's event was let go of", {
      where: written,
      hint: "What came of it can be chosen, if that is still there: name one of its outputs.",
    });
  }
  return { record: written, seeds: await seedsAt(context, reader, place) };
}

async function seedsAt(
  context: SelectionContext,
  reader: LineageReader,
  place: RecordPlace,
): Promise<Seed[]> {
  switch (place.kind) {
    case "source": {
      const { stream, n, event, row } = place;
      const ordinal = decodeDeltas(event.ordinals ?? new Uint8Array(0))[row] ?? 0;
      return [{ stream, part: INPUTS, n, k: 0, ordinal, place: undefined }];
    }
    case "firing": {
      const { stream, n, graph, row, stage } = place;
      const { ordinal } = graph.input(row);
      const home = await homeOf(context, placesIn(graph)({ stage: SEGMENT_INPUT, row }));
      const where = placeAt(home, INPUTS, stage.segment);
      return [{ stream, part: INPUTS, n, k: 0, ordinal, place: where }];
    }
    case "result": {
      const { stream, n, graph, at, stage } = place;
      const { input, k } = graph.placeOf(at);
      const { ordinal } = graph.input(input);
      const where = placeAt(await homeOf(context, placesIn(graph)(at)), stage.name, stage.segment);
      return [{ stream, part: stage.name, n, k, ordinal, place: where }];
    }
    case "quarantined": {
      const { stream, n, input, at, record } = place;
      const { segment } = segmentOf(context, input, stream);
      const part = givenPart(segment, record.stage);
      const { ordinal } = input.graph.input(input.row);
      const where = placeAt(await homeOf(context, placesIn(input.graph)(at)), part, segment.name);
      return [{ stream, part, n, k: place.k, ordinal, place: where }];
    }
    case "retry": {
      const refused = await reader.refusedAs(place);
      if (refused.kind !== "gone") return seedsAt(context, reader, refused);
      throw new HeadwaterError("RecordGone", "what the record had been refused as was let go of", {
        where: place.address,
      });
    }
    case "rejected":
      throw new HeadwaterError("BadUsage", "its source rejected the record, so that nothing ran for it", {
        where: place.address,
        hint: "If it was put back, name what it was taken in as: headwater quarantine show tells it.",
      });
  }
}

function mustHaveStage({ history }: SelectionContext, stage: string): void {
  const names = new Set(history.all.flatMap(({ stages }) => stages.map(({ name }) => name)));
  if (names.has(stage)) return;
  throw new HeadwaterError("UnknownStage", `the pipeline has no stage ${JSON.stringify(stage)}`, {
    where: `pipeline ${history.pipeline}`,
    hint: `It has: ${[...names].join(", ")}.`,
  });
}
