import { type Address, parseUnitStream } from "../core/address.ts";
import { decodeDeltas } from "../core/columns.ts";
import { decodeEvent } from "../core/event-codec.ts";
import type { Section } from "../core/events.ts";
import { hashText, membersTerm, previousTerm, type Term } from "../core/index-terms.ts";
import { retryStream, stepsStream } from "../core/streams.ts";
import { StepGraph, type StepRow } from "../engine/step-graph.ts";
import { isStateful } from "../pipeline/definition.ts";
import { type Plan, SEGMENT_INPUT } from "../pipeline/plan.ts";
import type { EventLog } from "../ports/event-log.ts";
import { structureOf } from "./deployed-plan.ts";
import {
  type AcceptedPlace,
  type FiringPlace,
  type QuarantinedPlace,
  type RecordPlace,
  type RefusedPlace,
  type ResultPlace,
  type RetryPlace,
  stagesOf,
} from "./lineage-places.ts";
import type { LineageReader } from "./lineage-reader.ts";
import type { IndexedPlace } from "./lineage-view.ts";
import { refusedKey } from "./quarantine.ts";
import { type Decisions, readDecisions, retriedAs } from "./retry-requests.ts";
import { readInSteps } from "./seek.ts";
import type { Delivered, SinkDeliveries } from "./sink-deliveries.ts";

/** What became of a record: a record that was made of it, a delivery, or why there is nothing there. */
export type ForwardStep =
  | { readonly kind: "record"; readonly place: RecordPlace }
  | { readonly kind: "delivery"; readonly delivered: Delivered }
  /** `gone`: it went on, and where to is not kept any more. */
  | { readonly kind: "end"; readonly reason: string; readonly gone?: true };

/** What an index of the log has to answer: the events that have a term. */
export interface ForwardIndex {
  /** The highest level of its blocks of members: see `membersTerm`. */
  readonly memberLevel: number;
  find(term: Term): readonly IndexedPlace[];
}

export interface ForwardOptions {
  readonly log: EventLog;
  readonly reader: LineageReader;
  readonly index: ForwardIndex;
  readonly deliveries: SinkDeliveries;
}

/** An input of a partition, with the event that has it. */
type InputPlace = FiringPlace;

/**
 * Finds what a record went into. Where it goes next is in the log itself: which partition reads it follows from the
 * deployment, and the event that took it is found by ordinal. What came of it later, in a window, a join or a reduce's
 * next step, is found by the index. Which refused records were asked for is read once, as a whole.
 */
export class ForwardReader {
  readonly #options: ForwardOptions;
  readonly #structures = new WeakMap<object, Plan>();
  readonly #decisions = new Map<string, Promise<Decisions>>();

  constructor(options: ForwardOptions) {
    this.#options = options;
  }

  /** The next steps of a record: at least one, be it why there is none. */
  async *next(place: RecordPlace): AsyncGenerator<ForwardStep> {
    let read = false;
    for await (const step of this.#steps(place)) {
      read = true;
      yield step;
    }
    if (!read) yield { kind: "end", reason: "nothing reads it" };
  }

  async *#steps(place: RecordPlace): AsyncGenerator<ForwardStep> {
    switch (place.kind) {
      case "source":
        yield* this.#ofAccepted(place);
        break;
      case "firing":
        yield* this.#inEvent(place, { stage: SEGMENT_INPUT, row: place.row });
        break;
      case "result":
        yield* this.#inEvent(place, place.at);
        if (place.stage.kind === "reduce") yield* this.#nextOfKey(place);
        yield* this.#leaving(place);
        break;
      case "retry":
        yield* this.#ofRetry(place);
        break;
      default:
        yield await this.#decided(place);
    }
  }

  /** What was decided about a record that was refused. */
  async #decided(place: RefusedPlace): Promise<ForwardStep> {
    const { reader } = this.#options;
    const [unit, at] =
      place.kind === "rejected"
        ? [place.unit, { n: place.n }]
        : [place.stream, { n: place.n, k: place.k, stage: place.record.stage }];
    const stream = retryStream(parseUnitStream(unit)?.pipeline ?? "");
    const decision = (await this.#decisionsOf(stream)).of.get(refusedKey(unit, at));
    if (decision === undefined) return { kind: "end", reason: "it has not been put back" };
    if (decision.kind === "discarded") return { kind: "end", reason: `discarded: ${decision.reason}` };
    const retry = await reader.locate({ stream, n: decision.item });
    return retry.kind === "gone"
      ? { kind: "end", gone: true, reason: `put back as ${retry.address}, which is not kept any more` }
      : { kind: "record", place: retry };
  }

  #decisionsOf(stream: string): Promise<Decisions> {
    const known = this.#decisions.get(stream);
    if (known !== undefined) return known;
    const decisions = readDecisions(this.#options.log, stream.slice(retryStream("").length));
    this.#decisions.set(stream, decisions);
    return decisions;
  }

  /** What a record became that was put back. */
  async *#ofRetry(place: RetryPlace): AsyncGenerator<ForwardStep> {
    const { log, reader } = this.#options;
    const { unit } = place.event;
    const pipeline = parseUnitStream(unit)?.pipeline ?? "";
    const became = await retriedAs(log, pipeline, unit, place.n);
    if (became === undefined) {
      yield { kind: "end", reason: `pending: ${unit} has not taken it back yet` };
    } else if (became.n !== undefined && parseUnitStream(unit)?.kind === "steps") {
      const input = await reader.inputAt(unit, became.n);
      yield* this.#inEvent(input, { stage: SEGMENT_INPUT, row: input.row });
    } else if (became.n !== undefined) {
      const accepted = await reader.locate({ stream: unit, n: became.n });
      yield accepted.kind === "gone"
        ? { kind: "end", gone: true, reason: `accepted as ${accepted.address}, which is not kept any more` }
        : { kind: "record", place: accepted };
    } else if (became.fate === "duplicate") {
      yield { kind: "end", reason: "duplicate: the source had a record with its id" };
    } else {
      const again = await reader.rejectedAgain(place);
      yield again === undefined
        ? { kind: "end", reason: "rejected again" }
        : { kind: "record", place: again };
    }
  }

  async *#ofAccepted(place: AcceptedPlace): AsyncGenerator<ForwardStep> {
    const { stream, n, event, row, deployed } = place;
    const unit = parseUnitStream(stream);
    if (unit?.kind !== "source" || event.ordinals === undefined) return;
    const ordinal = decodeDeltas(event.ordinals, event.count)[row] as number;
    const partition = partitionIn(event.sections, row) ?? 0;
    const plan = this.#structure(deployed, unit.pipeline);
    for (const { name, upstreams } of plan.segments) {
      if (!upstreams.some(({ from }) => "source" in from && from.source === unit.source)) continue;
      const child = stepsStream(unit.pipeline, name, partition);
      yield* this.#taken(child, { stream, n, k: 0 }, ordinal, name);
    }
    for (const { name, upstream } of plan.sinks) {
      if (!("source" in upstream.from) || upstream.from.source !== unit.source) continue;
      yield* this.#delivered(unit.pipeline, name, { stream, n }, ordinal);
    }
  }

  /** Where a result leaves its segment. */
  async *#leaving(place: ResultPlace): AsyncGenerator<ForwardStep> {
    const { graph, at, stream, n, deployed } = place;
    const unit = parseUnitStream(stream);
    if (unit?.kind !== "steps") return;
    const { pipeline, segment, partition } = unit;
    const plan = this.#structure(deployed, pipeline);
    const { ordinal } = graph.input(n - graph.event.first);
    for (const [outlet, columns] of graph.shape.outlets.entries()) {
      if (columns.stage !== at.stage) continue;
      const k = graph.shape.outputNumbers(outlet)?.[at.row] ?? 0;
      const to = partitionIn(columns.sections, at.row) ?? partition;
      for (const { name, upstreams } of plan.segments) {
        const reads = upstreams.some(
          ({ from }) => "segment" in from && from.segment === segment && from.outlet === outlet,
        );
        if (reads) yield* this.#taken(stepsStream(pipeline, name, to), { stream, n, k }, ordinal, name);
      }
      for (const {
        name,
        upstream: { from },
      } of plan.sinks) {
        if (!("segment" in from) || from.segment !== segment || from.outlet !== outlet) continue;
        yield* this.#delivered(pipeline, name, { stream, n, k }, ordinal);
      }
    }
  }

  /** What a partition made of a record that it takes. */
  async *#taken(
    child: string,
    parent: { readonly stream: string; readonly n: number; readonly k: number },
    ordinal: number,
    segment: string,
  ): AsyncGenerator<ForwardStep> {
    let found = false;
    for await (const input of this.#inputs(child, parent, ordinal)) {
      found = true;
      yield* this.#inEvent(input, { stage: SEGMENT_INPUT, row: input.row });
    }
    if (found) return;
    yield (await this.#tookAndLetGo(child, parent))
      ? { kind: "end", gone: true, reason: `taken by ${segment}: what came of it there is not kept any more` }
      : { kind: "end", reason: `pending: ${segment} has not taken it yet` };
  }

  /** Whether a partition has taken a record in an event that is not kept any more: the first one says where it begins. */
  async #tookAndLetGo(
    child: string,
    parent: { readonly stream: string; readonly n: number },
  ): Promise<boolean> {
    const { log } = this.#options;
    if (((await log.streamInfo(child))?.firstRevision ?? 0) === 0) return false;
    for await (const recorded of log.read(child, { limit: 1 })) {
      const { type, data } = decodeEvent(recorded);
      const cursors = type === "StepsRecorded" ? data.from : type === "PartitionClaimed" ? data.cursors : {};
      return parent.n < (cursors[parent.stream] ?? 0);
    }
    return true;
  }

  /**
   * The inputs of a partition that came from a record: one, or two where a stream is joined with itself. A partition
   * takes records in the order of their ordinals, and each of its events says how far it has come.
   */
  async *#inputs(
    child: string,
    parent: { readonly stream: string; readonly n: number; readonly k: number },
    ordinal: number,
  ): AsyncGenerator<InputPlace> {
    const { log, reader } = this.#options;
    // Where a batch ended between records of one ordinal, it is complete up to the one before only.
    const before = await reader.lastThrough(child, ordinal - 2);
    if (before === undefined) return;
    for await (const recorded of readInSteps(log, child, before, "forwards")) {
      const event = decodeEvent(recorded);
      if (event.type !== "StepsRecorded") continue;
      const { data } = event;
      if (data.count > 0 && data.through >= ordinal - 1 && data.streams?.includes(parent.stream)) {
        const graph = new StepGraph(data);
        for (const row of graph.inputsFrom(parent)) yield await reader.inputAt(child, data.first + row);
      }
      if (data.through >= ordinal) return;
    }
  }

  /** What the stages after a row made of it, in the same event and, where they keep state, later. */
  async *#inEvent(place: ResultPlace | FiringPlace, from: StepRow): AsyncGenerator<ForwardStep> {
    const { graph, n, deployed, stream } = place;
    const { reader } = this.#options;
    const input = n - graph.event.first;
    const stages = stagesOf(deployed, place.stage.segment);
    const { entry } = graph.event;
    // What came back at a later stage than the first comes to none of those that read the segment's inputs.
    const comesInAt = from.stage === SEGMENT_INPUT && entry !== stages[0]?.name ? entry : undefined;
    if (comesInAt !== undefined && !stages.some(({ name }) => name === comesInAt)) {
      yield await this.#quarantined(place, comesInAt, from.row);
      return;
    }
    for (const [at, { name, kind }] of stages.entries()) {
      if (graph.shape.ahead(at) !== from.stage || (comesInAt ?? name) !== name) continue;
      const rows = childRows(graph, at, input, from.row);
      const timed = at === 0 && isStateful({ kind }) && kind !== "reduce";
      if (timed) {
        const results = await this.#resultsWith(stream, n);
        for (const result of results) yield { kind: "record", place: result };
        if (results.length > 0) continue;
      } else {
        for (const row of rows) yield { kind: "record", place: reader.resultAt(place, { stage: at, row }) };
        if (rows.length > 0 || kind === "select" || kind === "late") continue;
      }
      if (graph.endOf(at, from.row) === "failed") yield await this.#quarantined(place, name, from.row);
      else yield { kind: "end", reason: endOf(place, at, from.row, name, kind) };
    }
  }

  /** Where a row of a stage failed there. */
  async #quarantined(place: ResultPlace | FiringPlace, stage: string, row: number): Promise<ForwardStep> {
    const quarantined: QuarantinedPlace | undefined = await this.#options.reader.quarantined(
      place,
      stage,
      row,
    );
    return quarantined === undefined
      ? { kind: "end", reason: `quarantined at ${stage}` }
      : { kind: "record", place: quarantined };
  }

  /** Results of the window or join of a partition that have its input N = `n` among their members. */
  async #resultsWith(stream: string, n: number): Promise<ResultPlace[]> {
    const own = hashText(stream);
    const places = new Map<number, IndexedPlace>();
    const { index } = this.#options;
    for (let level = 0, block = n; level <= index.memberLevel; level++, block = Math.floor(block / 2)) {
      for (const place of index.find(membersTerm(own, level, block))) {
        if (place.stream === stream) places.set(place.revision, place);
      }
    }
    const results: ResultPlace[] = [];
    for (const { revision } of [...places.values()].sort((a, b) => a.revision - b.revision)) {
      for (const result of await this.#options.reader.resultsOfFirstStage(stream, revision)) {
        const members = await this.#options.reader.membersOf(result);
        if (members !== undefined && includes(members, n)) results.push(result);
      }
    }
    return results;
  }

  /** A reduce's next result for the same key. */
  async *#nextOfKey(place: ResultPlace): AsyncGenerator<ForwardStep> {
    const { graph, at, stream, n, stage } = place;
    const { reader, index } = this.#options;
    const { end } = graph.rowsOf(at.stage, n - graph.event.first);
    if (at.row + 1 < end) {
      yield { kind: "record", place: reader.resultAt(place, { stage: at.stage, row: at.row + 1 }) };
      return;
    }
    for (const { stream: of, revision } of index.find(previousTerm(hashText(stream), n))) {
      if (of !== stream) continue;
      const next = await reader.stepAfter(stream, revision, stage.name, n);
      if (next !== undefined) yield { kind: "record", place: next };
    }
  }

  async *#delivered(
    pipeline: string,
    sink: string,
    address: Address,
    ordinal: number,
  ): AsyncGenerator<ForwardStep> {
    const delivered = await this.#options.deliveries.find(pipeline, sink, address, ordinal);
    if (delivered === undefined) {
      yield { kind: "end", reason: `pending: the sink ${sink} has not delivered it yet` };
    } else if (delivered === "gone") {
      yield {
        kind: "end",
        gone: true,
        reason: `delivered by the sink ${sink}: as which of its outputs is not kept any more`,
      };
    } else yield { kind: "delivery", delivered };
  }

  #structure(deployed: ResultPlace["deployed"], pipeline: string): Plan {
    const plan = this.#structures.get(deployed) ?? structureOf(deployed, pipeline);
    this.#structures.set(deployed, plan);
    return plan;
  }
}

/** The partition whose section has a row; `undefined`: there are no sections. */
function partitionIn(sections: readonly Section[] | undefined, row: number): number | undefined {
  return sections?.find(([, rows]) => decodeDeltas(rows).includes(row))?.[0];
}

/** The rows of a stage that were made of a row ahead, of an input. */
function childRows(graph: StepGraph, stage: number, input: number, parent: number): number[] {
  const rows: number[] = [];
  const { start, end } = graph.rowsOf(stage, input);
  for (let row = start; row < end; row++) if (graph.parentOf({ stage, row }).row === parent) rows.push(row);
  return rows;
}

function includes(members: readonly number[], n: number): boolean {
  for (let at = 0; at < members.length; at += 2) {
    const first = members[at] as number;
    if (n >= first && n < first + (members[at + 1] as number)) return true;
  }
  return false;
}

/** How a row ended at a stage that did not fail at it, and made nothing of it. */
function endOf(
  { graph }: ResultPlace | FiringPlace,
  stage: number,
  row: number,
  name: string,
  kind: string,
): string {
  if (graph.endOf(stage, row) === "late") return `late: it came too late for ${name}`;
  if (kind === "filter") return `filtered at ${name}`;
  if (kind === "window") return `aggregated at ${name}, which has given no result with it yet`;
  if (kind === "join" || kind === "tableJoin") return `no counterpart at ${name} yet`;
  return `${name} gave nothing for it`;
}
