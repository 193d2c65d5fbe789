import { type Address, formatAddress, parseUnitStream } from "../core/address.ts";
import { ColumnReader } from "../core/columns.ts";
import { DIGEST_BYTES, toHex } from "../core/digest.ts";
import { HeadwaterError } from "../core/errors.ts";
import { decodeEvent } from "../core/event-codec.ts";
import type { DeployedStage, PipelineDeployed } from "../core/events.ts";
import { forkOf, isRetryStream, stepsStream } from "../core/streams.ts";
import { type Members, readMembers } from "../engine/members.ts";
import { StepGraph, type StepRow } from "../engine/step-graph.ts";
import { kindMakesRecords, SEGMENT_INPUT } from "../pipeline/plan.ts";
import type { Bundler } from "../ports/bundler.ts";
import type { EventLog, RecordedEvent } from "../ports/event-log.ts";
import { structureOf } from "./deployed-plan.ts";
import { DeploymentHistory } from "./deployment-history.ts";
import {
  type AcceptedPlace,
  type FiringPlace,
  type GonePlace,
  type QuarantinedPlace,
  type RecordPlace,
  type RefusedPlace,
  type RejectedPlace,
  type ResultPlace,
  type RetryPlace,
  stagesOf,
} from "./lineage-places.ts";
import { itemOfRow, RefusedReader } from "./lineage-refused.ts";
import { RecordSeeker, type UnitEvent } from "./record-seeker.ts";
import { upstreamsOfPartition } from "./routes.ts";
import { readOne } from "./seek.ts";
import { readMembersColumn } from "./snapshots.ts";

/**
 * Finds records by their addresses, and what each was made of, going from event to event without an index: every
 * address says where it is, and every event what its rows came from.
 */
export class LineageReader {
  readonly #log: EventLog;
  readonly #bundler: Bundler;
  readonly #seeker: RecordSeeker;
  readonly #refused: RefusedReader;
  readonly #histories = new Map<string, DeploymentHistory>();
  readonly #graphs = new WeakMap<object, StepGraph>();

  constructor(log: EventLog, bundler: Bundler) {
    this.#log = log;
    this.#bundler = bundler;
    this.#seeker = new RecordSeeker(log);
    this.#refused = new RefusedReader(log, this.#seeker, (stream, n) => this.#inputOrGone(stream, n));
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
   * firing. An address of a stage's result that it has not given is that of the
   * record which failed there. Throws `RecordNotFound` if the log never had it, `UnknownPipeline`, and `LogDamaged`.
   */
  async locate(address: Address): Promise<RecordPlace | GonePlace> {
    const { stream, n } = address;
    if (isRetryStream(stream)) {
      const retry = await this.#refused.retry(address);
      if (retry.kind === "retry") return retry;
      if (retry.kind === "gone") return goneAt(address, retry.before);
      throw notFound(address, howMany(retry.next));
    }
    if (stream.startsWith("quarantine_")) return this.#refusedAt(address);
    const unit = parseUnitStream(stream);
    if (unit === undefined) throw notFound(address, "Records are in the streams of sources and partitions.");
    const sought = await this.#seeker.find(stream, n);
    if (sought.kind === "gone") return goneAt(address, sought.before);
    if (sought.kind === "never") {
      const before = await this.#beforeFork(stream, n);
      if (before !== undefined) return this.locate({ ...address, stream: before });
      throw notFound(address, howMany(sought.next));
    }
    return unit.kind === "source"
      ? this.#accepted(address, unit.pipeline, sought.event)
      : this.#step(address, sought.event);
  }

  /** The stream that has an input from before a fork began: its pipeline's; `undefined`: it is none. */
  async #beforeFork(stream: string, n: number): Promise<string | undefined> {
    const unit = parseUnitStream(stream);
    const fork = unit?.kind === "steps" ? forkOf(unit.pipeline) : undefined;
    if (unit?.kind !== "steps" || fork === undefined) return undefined;
    if ((await this.#log.streamInfo(stream)) === undefined) return undefined;
    const { type, data } = decodeEvent(await readOne(this.#log, stream, 0));
    if (type !== "PartitionClaimed" || n >= data.first) return undefined;
    return stepsStream(fork.pipeline, unit.segment, unit.partition);
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
      case "quarantined": {
        const given = await this.#given(place);
        return given.kind === "firing" ? undefined : this.digestOf(given);
      }
      case "retry":
        return this.digestOf(await this.refusedAs(place));
      default:
        return undefined;
    }
  }

  /**
   * What a record was made of, first the record that its stage took: one, or of a window or join each member, or none.
   * A reduce's second is its result before, of the same key. Of a record that was put back it is the retry, of a retry
   * the record that had been refused, and of that the one that its stage was given.
   */
  async *parents(place: RecordPlace): AsyncGenerator<RecordPlace | GonePlace> {
    switch (place.kind) {
      case "source":
      case "rejected": {
        const retry = await (place.kind === "source"
          ? this.#refused.retryOf(place)
          : this.#refused.retryOfRejected(place));
        if (retry !== undefined) yield retry;
        return;
      }
      case "retry":
        yield await this.refusedAs(place);
        return;
      case "firing":
        return;
    }
    const members =
      place.kind === "result" ? await this.membersOf(place) : membersOfFiring(place.record.firing?.members);
    if (members !== undefined) {
      for (const n of eachOf(members)) yield await this.locate({ stream: place.stream, n });
      return;
    }
    if (place.kind === "quarantined") {
      yield await this.#given(place);
      return;
    }
    yield await this.ahead(place);
    const previous = await this.previous(place);
    if (previous !== undefined) yield previous;
  }

  /** Whether a record was made of others: whether {@link parents} has any. */
  hasParents(place: RecordPlace): boolean {
    if (place.kind === "source") return itemOfRow(place.event, place.row) !== undefined;
    if (place.kind === "rejected") return place.record.item !== undefined;
    return place.kind !== "firing";
  }

  /** What a record that was put back had been refused as. */
  refusedAs(place: RetryPlace): Promise<RefusedPlace | GonePlace> {
    return this.#refused.refusedAs(place);
  }

  /** As what a record that was put back was rejected again. */
  rejectedAgain(place: RetryPlace): Promise<RejectedPlace | undefined> {
    return this.#refused.rejectedAgain(place);
  }

  /** The record that a stage refused of an input: the `row`-th that it was given in the event. `undefined`: it is not kept. */
  quarantined(
    place: ResultPlace | FiringPlace,
    stage: string,
    row: number,
  ): Promise<QuarantinedPlace | undefined> {
    return this.#refused.quarantined(place, stage, row);
  }

  /** What a stage was given that failed at it. */
  #given({ input, at }: QuarantinedPlace): Promise<RecordPlace | GonePlace> {
    return at.stage === SEGMENT_INPUT
      ? this.inputOf(input, at.row)
      : Promise.resolve(this.resultAt(input, at));
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
    return graph.members(at.row, membersIn && (await readMembersColumn(this.#log, stream, membersIn)));
  }

  /** An input of the event that a place is in: the record that came in, or the firing. */
  async inputOf(place: ResultPlace | FiringPlace, row: number): Promise<RecordPlace | GonePlace> {
    const { graph } = place;
    const { parent } = graph.input(row);
    if (parent !== undefined) {
      const { stream, n, k } = parent;
      if (!stream.startsWith("steps_")) return this.locate({ stream, n });
      const stage = cutBehind(place, stream);
      return this.locate({ stream, n, k, ...(stage !== undefined && { stage }) });
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

  /** Whether the N-th record of a stream was there, and is not kept any more. */
  async isGone(stream: string, n: number): Promise<boolean> {
    return (await this.#seeker.find(stream, n)).kind === "gone";
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

  async #inputOrGone(stream: string, n: number): Promise<FiringPlace | GonePlace> {
    const sought = await this.#seeker.find(stream, n);
    return sought.kind === "gone"
      ? goneAt({ stream, n }, sought.before)
      : this.#input(stream, n, found(sought, stream, n));
  }

  async #refusedAt(address: Address): Promise<RecordPlace | GonePlace> {
    const { stream, n, k, stage } = address;
    if (k === undefined || stage === undefined) {
      const rejected = await this.#refused.rejected(address);
      if (rejected !== undefined) return rejected;
      throw notFound(address, '"headwater quarantine list PIPELINE" shows those that there are.');
    }
    const unit = stream.replace(/^quarantine_/, "steps_");
    const sought = await this.#seeker.find(unit, n);
    if (sought.kind === "gone") return { ...goneAt(address, sought.before), stream: unit };
    if (sought.kind === "never") throw notFound(address, howMany(sought.next));
    const input = await this.#input(unit, n, sought.event);
    const quarantined = await this.#refused.quarantinedAt(input, stage, k);
    if (quarantined !== undefined) return quarantined;
    throw notFound(address, "The stage has not refused so many rows of that input.");
  }

  async #step(address: Address, event: UnitEvent): Promise<RecordPlace | GonePlace> {
    const { stream, n, k, stage: name } = address;
    const input = await this.#input(stream, n, event);
    const { graph, row, deployed } = input;
    if (k === undefined) {
      const { stream: unit, revision } = event.recorded;
      const came = await this.inputOf(input, row);
      return came.kind === "gone" ? came : { ...came, passed: { stream: unit, revision } };
    }
    const stages = stagesOf(deployed, segmentOf(stream));
    if (name === undefined) {
      const output = graph.output(row, k);
      if (output !== undefined) return this.resultAt(input, output);
      throw notFound(address, "That input has not so many outputs.");
    }
    const at = stages.findIndex((other) => other.name === name);
    const { start, end } = at < 0 ? { start: 0, end: 0 } : graph.rowsOf(at, row);
    if (start + k < end) return this.resultAt(input, { stage: at, row: start + k });
    const quarantined = await this.#refused.quarantinedAt(input, name, k);
    if (quarantined !== undefined) return quarantined;
    if (at < 0)
      throw notFound(address, `The stages there are ${stages.map((each) => each.name).join(", ")}.`);
    throw notFound(address, `The stage gave ${end - start} results for that input.`);
  }

  async #lastResult(stream: string, n: number, stage: string): Promise<RecordPlace | GonePlace> {
    const sought = await this.#seeker.find(stream, n);
    if (sought.kind === "gone") return goneAt({ stream, n }, sought.before);
    const place = await this.#step({ stream, n, k: 0, stage }, found(sought, stream, n));
    if (place.kind !== "result") return place;
    const { graph, at } = place;
    return this.resultAt(place, {
      stage: at.stage,
      row: graph.rowsOf(at.stage, n - graph.event.first).end - 1,
    });
  }
}

function found(sought: Awaited<ReturnType<RecordSeeker["find"]>>, stream: string, n: number): UnitEvent {
  if (sought.kind === "found") return sought.event;
  throw new HeadwaterError("LogDamaged", "a record names a step before it that is not in the log", {
    where: `${stream}@${n}`,
  });
}

function goneAt(address: Address, before: number): GonePlace {
  return { kind: "gone", address: formatAddress(address), stream: address.stream, before };
}

/** What a window's firing, or a join's, would have been made of; `undefined`: it is none, or it was too much to keep. */
function membersOfFiring(members: Uint8Array | undefined): Members | undefined {
  return members && readMembers(new ColumnReader(members));
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

/** The stage whose results a partition of a fork has read in the place of outputs; `undefined`: it has read outputs. */
function cutBehind(
  { deployed, stage, stream: own }: ResultPlace | FiringPlace,
  stream: string,
): string | undefined {
  if (deployed.fork?.cuts.includes(stage.segment) !== true) return undefined;
  const plan = structureOf(deployed, pipelineOf(own));
  const segment = plan.segments.find(({ name }) => name === stage.segment);
  if (segment === undefined) return undefined;
  const selections = upstreamsOfPartition(plan, segment, Number(own.slice(-4)));
  const read = selections.find((one) => one.stream === stream);
  return read !== undefined && "results" in read.from ? segment.stages[0]?.definition.inputs[0] : undefined;
}
