import { type Address, formatAddress, parseUnitStream } from "../core/address.ts";
import { DIGEST_BYTES, toHex } from "../core/digest.ts";
import { HeadwaterError } from "../core/errors.ts";
import type { DeployedStage, EventRange, PipelineDeployed, RecordsAccepted } from "../core/events.ts";
import { besideStream } from "../core/streams.ts";
import type { Members } from "../engine/members.ts";
import { StepGraph, type StepRow } from "../engine/step-graph.ts";
import { kindMakesRecords, SEGMENT_INPUT } from "../pipeline/plan.ts";
import type { Bundler } from "../ports/bundler.ts";
import type { EventLog, RecordedEvent } from "../ports/event-log.ts";
import { DeploymentHistory } from "./deployment-history.ts";
import { RecordSeeker, type UnitEvent } from "./record-seeker.ts";
import { readChunks } from "./snapshots.ts";

/** A record that a source has accepted, found in its event. */
export interface AcceptedPlace {
  readonly kind: "source";
  /** Its one address: two places are the same exactly when these are. */
  readonly address: string;
  readonly stream: string;
  readonly n: number;
  readonly recorded: RecordedEvent;
  readonly event: RecordsAccepted;
  /** Its row in the event. */
  readonly row: number;
  readonly deployed: PipelineDeployed;
}

/** A stage's result, found in its event. An output of a partition is the result of the stage that it leaves. */
export interface ResultPlace {
  readonly kind: "result";
  /** `stream@N.K/T`. */
  readonly address: string;
  readonly stream: string;
  readonly n: number;
  readonly recorded: RecordedEvent;
  readonly graph: StepGraph;
  readonly at: StepRow;
  readonly stage: DeployedStage;
  readonly deployed: PipelineDeployed;
}

/** A firing of a window or join, found in its event: an input that nothing came in with. */
export interface FiringPlace extends Omit<ResultPlace, "kind" | "at"> {
  readonly kind: "firing";
  /** Row among the event's inputs. */
  readonly row: number;
}

export type RecordPlace = AcceptedPlace | ResultPlace | FiringPlace;

/** A record whose event has been let go of. */
export interface GonePlace {
  readonly kind: "gone";
  readonly address: string;
  readonly stream: string;
  /** Events of the stream below this revision are not there any more. */
  readonly before: number;
}

/**
 * Finds records by their addresses, and what each was made of, going from event to event without an index: every
 * address says where it is, and every event what its rows came from.
 */
export class LineageReader {
  readonly #log: EventLog;
  readonly #bundler: Bundler;
  readonly #seeker: RecordSeeker;
  readonly #histories = new Map<string, DeploymentHistory>();
  readonly #graphs = new WeakMap<object, StepGraph>();

  constructor(log: EventLog, bundler: Bundler) {
    this.#log = log;
    this.#bundler = bundler;
    this.#seeker = new RecordSeeker(log);
  }

  /** The deployments of a pipeline. Throws `UnknownPipeline`. */
  async history(pipeline: string): Promise<DeploymentHistory> {
    let history = this.#histories.get(pipeline);
    if (history === undefined) {
      history = await DeploymentHistory.read(this.#log, this.#bundler, pipeline);
      if (history === undefined) {
        throw new HeadwaterError("UnknownPipeline", `no pipeline of this name is deployed: ${pipeline}`, {
          hint: '"headwater log streams" shows what is in the log.',
        });
      }
      this.#histories.set(pipeline, history);
    }
    return history;
  }

  /**
   * Where the record of an address is. An address of an input is that of the record which came in, unless it is a
   * firing. Throws `RecordNotFound` if the log never had it, `UnknownPipeline`, and `LogDamaged`.
   */
  async locate(address: Address): Promise<RecordPlace | GonePlace> {
    const { stream, n } = address;
    const unit = parseUnitStream(stream);
    if (unit === undefined) throw notFound(address, "Records are in the streams of sources and partitions.");
    const sought = await this.#seeker.find(stream, n);
    if (sought.kind === "gone") {
      return { kind: "gone", address: formatAddress(address), stream, before: sought.before };
    }
    if (sought.kind === "never") throw notFound(address, howMany(sought.next));
    return unit.kind === "source"
      ? this.#accepted(address, unit.pipeline, sought.event)
      : this.#step(address, sought.event);
  }

  /** The digest of a record: 32 bytes; `undefined` where provenance is off, or its event is gone. */
  async digestOf(place: RecordPlace | GonePlace): Promise<Uint8Array | undefined> {
    switch (place.kind) {
      case "source":
        return place.event.digests?.subarray(place.row * DIGEST_BYTES, (place.row + 1) * DIGEST_BYTES);
      case "result": {
        if (place.deployed.provenance === "off") return undefined;
        const owner = ownerOf(place);
        if (owner.stage !== SEGMENT_INPUT) return place.graph.digest(owner);
        const input = await this.inputOf(place, owner.row);
        return input.kind === "firing" ? undefined : this.digestOf(input);
      }
      default:
        return undefined;
    }
  }

  /**
   * What a record was made of, first the record that its stage took: one, or of a window or join each member, or none.
   * A reduce's second is its result before, of the same key.
   */
  async *parents(place: RecordPlace): AsyncGenerator<RecordPlace | GonePlace> {
    if (place.kind !== "result") return;
    const members = await this.membersOf(place);
    if (members !== undefined) {
      for (const n of eachOf(members)) yield await this.locate({ stream: place.stream, n });
      return;
    }
    yield await this.ahead(place);
    const previous = await this.previous(place);
    if (previous !== undefined) yield previous;
  }

  /** The record that a result's stage took; of a window or join the one at which it was made. */
  async ahead(place: ResultPlace): Promise<RecordPlace | GonePlace> {
    const { stage, row } = place.graph.parentOf(place.at);
    return stage === SEGMENT_INPUT ? this.inputOf(place, row) : this.resultAt(place, { stage, row });
  }

  /** At a reduce: its result before, for the same key. */
  async previous(place: ResultPlace): Promise<RecordPlace | GonePlace | undefined> {
    const { graph, at, stream, n, stage } = place;
    const back = graph.previous(at);
    if (back === undefined) return undefined;
    // All rows of one input have one key: those before it in the same input come first.
    if (back === 0) return this.resultAt(place, { stage: at.stage, row: at.row - 1 });
    return this.#lastResult(stream, n - back, stage.name);
  }

  /** The N's of the inputs that a result of a window or join was made of, as runs. `undefined`: it is neither. */
  async membersOf(place: ResultPlace): Promise<Members | undefined> {
    const { graph, at, stream } = place;
    if (at.stage !== 0) return undefined;
    const { membersIn } = graph.event.stages?.[0] ?? {};
    return graph.members(at.row, membersIn && (await this.#membersIn(stream, membersIn)));
  }

  /** An input of the event that a place is in: the record that came in, or the firing. */
  async inputOf(place: ResultPlace | FiringPlace, row: number): Promise<RecordPlace | GonePlace> {
    const { graph } = place;
    const { parent } = graph.input(row);
    if (parent !== undefined) {
      const { stream, n, k } = parent;
      return this.locate(stream.startsWith("source_") ? { stream, n } : { stream, n, k });
    }
    const n = graph.event.first + row;
    const stage = firstStage(place.deployed, place.stage.segment);
    const address = formatAddress({ stream: place.stream, n });
    return { ...place, kind: "firing", address, n, row, stage };
  }

  /** The revision of the event that has the N-th record of a stream; `undefined`: there is none, or not any more. */
  async revisionOf(stream: string, n: number): Promise<number | undefined> {
    const sought = await this.#seeker.find(stream, n);
    return sought.kind === "found" ? sought.event.recorded.revision : undefined;
  }

  /** See {@link RecordSeeker.lastThrough}. */
  lastThrough(stream: string, ordinal: number): Promise<number | undefined> {
    return this.#seeker.lastThrough(stream, ordinal);
  }

  /** An input of a partition as a place of its own, even if a record came in with it. */
  async inputAt(stream: string, n: number): Promise<FiringPlace> {
    const sought = await this.#seeker.find(stream, n);
    return this.#input(stream, n, found(sought, stream, n));
  }

  /** All results of the first stage of a partition's segment in one of its events. */
  async resultsOfFirstStage(stream: string, revision: number): Promise<ResultPlace[]> {
    const event = await this.#seeker.read(stream, revision);
    if (!("first" in event.typed.data)) return [];
    const place = await this.#input(stream, event.typed.data.first, event);
    const { count } = place.graph.shape.stage(0);
    return Array.from({ length: count }, (_, row) => this.resultAt(place, { stage: 0, row }));
  }

  /** In one of a partition's events, the result of a reduce that comes after its step for the input N = `n`. */
  async stepAfter(
    stream: string,
    revision: number,
    stage: string,
    n: number,
  ): Promise<ResultPlace | undefined> {
    const event = await this.#seeker.read(stream, revision);
    if (!("first" in event.typed.data)) return undefined;
    const place = await this.#input(stream, event.typed.data.first, event);
    const at = stagesOf(place.deployed, place.stage.segment).findIndex(({ name }) => name === stage);
    if (at < 0) return undefined;
    const { graph } = place;
    for (let row = 0; row < graph.shape.stage(at).count; row++) {
      const back = graph.previous({ stage: at, row });
      if (back === undefined || back === 0) continue;
      const { input } = graph.placeOf({ stage: at, row });
      if (graph.event.first + input - back === n) return this.resultAt(place, { stage: at, row });
    }
    return undefined;
  }

  /** Another row of the event that a result is in. */
  resultAt(place: ResultPlace | FiringPlace, at: StepRow): ResultPlace {
    const { graph, stream, recorded, deployed } = place;
    const { input, k } = graph.placeOf(at);
    const n = graph.event.first + input;
    const stage = stagesOf(deployed, place.stage.segment)[at.stage];
    if (stage === undefined) throw misfit(recorded);
    const address = formatAddress({ stream, n, k, stage: stage.name });
    return { kind: "result", address, stream, n, recorded, graph, at, stage, deployed };
  }

  async #accepted(
    address: Address,
    pipeline: string,
    { recorded, typed }: UnitEvent,
  ): Promise<AcceptedPlace> {
    if (typed.type !== "RecordsAccepted" && typed.type !== "InputEnded") throw misfit(recorded);
    const { stream, n } = address;
    const history = await this.history(pipeline);
    const event = typed.data;
    return {
      kind: "source",
      address: formatAddress({ stream, n }),
      stream,
      n,
      recorded,
      event,
      row: n - event.first,
      deployed: history.withIdentity(event.deployment, event.through),
    };
  }

  async #input(stream: string, n: number, { recorded, typed }: UnitEvent): Promise<FiringPlace> {
    if (typed.type !== "StepsRecorded") throw misfit(recorded);
    const event = typed.data;
    const graph = this.#graphs.get(event) ?? new StepGraph(event);
    this.#graphs.set(event, graph);
    const deployed = (await this.history(pipelineOf(stream))).withIdentity(event.deployment, event.through);
    const stages = stagesOf(deployed, segmentOf(stream));
    const stage = stages[0];
    if (stage === undefined || (event.count > 0 && stages.length !== event.stages?.length))
      throw misfit(recorded);
    const address = formatAddress({ stream, n });
    return { kind: "firing", address, stream, n, recorded, graph, row: n - event.first, stage, deployed };
  }

  async #step(address: Address, event: UnitEvent): Promise<RecordPlace | GonePlace> {
    const { stream, n, k, stage: name } = address;
    const input = await this.#input(stream, n, event);
    const { graph, row, deployed } = input;
    if (k === undefined) return this.inputOf(input, row);
    const stages = stagesOf(deployed, segmentOf(stream));
    if (name === undefined) {
      const output = graph.output(row, k);
      if (output !== undefined) return this.resultAt(input, output);
      throw notFound(address, "That input has not so many outputs.");
    }
    const at = stages.findIndex((other) => other.name === name);
    if (at < 0)
      throw notFound(address, `The stages there are ${stages.map((each) => each.name).join(", ")}.`);
    const { start, end } = graph.rowsOf(at, row);
    if (start + k >= end) throw notFound(address, `The stage gave ${end - start} results for that input.`);
    return this.resultAt(input, { stage: at, row: start + k });
  }

  async #lastResult(stream: string, n: number, stage: string): Promise<RecordPlace | GonePlace> {
    const sought = await this.#seeker.find(stream, n);
    if (sought.kind === "gone") {
      return { kind: "gone", address: formatAddress({ stream, n }), stream, before: sought.before };
    }
    const place = await this.#step({ stream, n, k: 0, stage }, found(sought, stream, n));
    if (place.kind !== "result") return place;
    const { graph, at } = place;
    return this.resultAt(place, {
      stage: at.stage,
      row: graph.rowsOf(at.stage, n - graph.event.first).end - 1,
    });
  }

  async #membersIn(stream: string, { revision, events }: EventRange): Promise<Uint8Array> {
    return readChunks(this.#log, besideStream(stream, "members"), "MembersNamed", revision, events);
  }
}

function found(sought: Awaited<ReturnType<RecordSeeker["find"]>>, stream: string, n: number): UnitEvent {
  if (sought.kind === "found") return sought.event;
  throw new HeadwaterError("LogDamaged", "a record names a step before it that is not in the log", {
    where: `${stream}@${n}`,
  });
}

/** Each N of a set of members. */
export function* eachOf(members: Members): Generator<number> {
  for (let at = 0; at < members.length; at += 2) {
    const first = members[at] as number;
    for (let n = first; n < first + (members[at + 1] as number); n++) yield n;
  }
}

/** The row that holds a result's record: of the stage that made it, or of the segment's inputs. */
export function ownerOf({ graph, at, deployed, stage: { segment } }: ResultPlace): StepRow {
  const stages = stagesOf(deployed, segment);
  let owner = at;
  while (owner.stage !== SEGMENT_INPUT && !kindMakesRecords(stages[owner.stage]?.kind ?? "")) {
    owner = graph.parentOf(owner);
  }
  return owner;
}

/** The stages of a segment in a deployment, in the order in which its events have them. */
export function stagesOf(deployed: PipelineDeployed, segment: string): readonly DeployedStage[] {
  return deployed.stages.filter((stage) => stage.segment === segment);
}

function firstStage(deployed: PipelineDeployed, segment: string): DeployedStage {
  const [first] = stagesOf(deployed, segment);
  if (first !== undefined) return first;
  throw new HeadwaterError("LogDamaged", "a deployment does not have a segment that its events have", {
    where: `segment ${segment}, deployment ${toHex(deployed.deployment)}`,
  });
}

function segmentOf(stream: string): string {
  const unit = parseUnitStream(stream);
  return unit?.kind === "steps" ? unit.segment : "";
}

function pipelineOf(stream: string): string {
  return parseUnitStream(stream)?.pipeline ?? "";
}

function howMany(next: number): string {
  return next === 0 ? "The stream has none." : `The stream has 0 to ${next - 1}.`;
}

function notFound(address: Address, why: string): HeadwaterError {
  return new HeadwaterError("RecordNotFound", "the log has no such record", {
    where: formatAddress(address),
    hint: why,
  });
}

function misfit({ stream, revision }: RecordedEvent): HeadwaterError {
  return new HeadwaterError("LogDamaged", "an event does not fit the deployment that it names", {
    where: `${stream}@${revision}`,
  });
}
