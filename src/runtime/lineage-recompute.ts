import { Arena } from "../core/arena.ts";
import { encodeCanonical } from "../core/canonical.ts";
import { RecordDecoder } from "../core/decode-shapes.ts";
import { HeadwaterError, isHeadwaterError } from "../core/errors.ts";
import { decodeEvent } from "../core/event-codec.ts";
import type { SnapshotReference, StepsRecorded } from "../core/events.ts";
import { LIMITS } from "../core/limits.ts";
import { originIndex, originsOf } from "../engine/origins.ts";
import type { InputRows } from "../engine/rows.ts";
import { SegmentEngine } from "../engine/segment-engine.ts";
import type { StageRows } from "../engine/stage-output.ts";
import { isStateful } from "../pipeline/definition.ts";
import { entryAt } from "../pipeline/entry.ts";
import { type Plan, type PlannedStage, recordsOf, SEGMENT_INPUT, type Segment } from "../pipeline/plan.ts";
import type { Clock } from "../ports/clock.ts";
import type { EventLog, RecordedEvent } from "../ports/event-log.ts";
import type { GonePlace, RecordPlace, ResultPlace } from "./lineage-places.ts";
import type { LineageReader } from "./lineage-reader.ts";
import { type EngineContext, partitionEngine } from "./partition-restore.ts";
import { refusedBefore } from "./refused-inputs.ts";
import { rerunInputs } from "./rerun-inputs.ts";
import { placeBefore } from "./retried-inputs.ts";
import { readOne } from "./seek.ts";
import { ServedEffects } from "./served-effects.ts";
import { loadSnapshot } from "./snapshots.ts";

/** A record's canonical bytes, or why they are not there. */
export type FoundValue = { readonly kind: "stored" | "recomputed"; readonly bytes: Uint8Array } | NoValue;

export interface NoValue {
  readonly kind: "none";
  readonly reason: string;
  /** Whether there was a record, and nobody can have it any more: it is not stored, and cannot be made again. */
  readonly lost: boolean;
}

export interface RecomputationOptions {
  readonly log: EventLog;
  readonly clock: Clock;
  readonly reader: LineageReader;
  readonly signal?: AbortSignal;
}

/** What is thrown where not all is there that state was made of. */
const GONE = ["RecordGone", "StreamNotFound", "LogDamaged"] as const;

type ValueOf = (place: RecordPlace | GonePlace) => Promise<FoundValue>;

/**
 * Makes records again that are not kept: the stages between a segment's input and the result run once more, by exactly
 * the code that ran then. It comes from the log, so the log has to be trusted.
 */
export class Recomputation {
  readonly #options: RecomputationOptions;
  readonly #reader: LineageReader;
  readonly #decoder = new RecordDecoder();
  readonly #arena = new Arena();
  /** What was run again with state, event by event. */
  readonly #made = new Map<string, ReadonlyMap<string, Uint8Array>>();

  constructor(options: RecomputationOptions) {
    this.#options = options;
    this.#reader = options.reader;
  }

  /** The record of a result, which its own stage made. `recordOfInput` answers that of the input which it was made of. */
  async recordOf(place: ResultPlace, recordOfInput: ValueOf): Promise<FoundValue> {
    const { graph, at, deployed, stream } = place;
    const history = await this.#reader.history(pipelineOf(stream));
    let plan: Plan;
    try {
      plan = await history.planOf(deployed);
    } catch (error) {
      if (!isHeadwaterError(error, "IncompatibleDeployment")) throw error;
      return none("the record is not kept, and the code that made it is not in the log");
    }
    const segment = plan.segments.find(({ name }) => name === place.stage.segment);
    if (segment === undefined)
      return none("the record is not kept, and its deployment's code has other segments");
    const { entry } = graph.event;
    const way = wayTo(entry === undefined ? segment : entryAt(segment, entry).segment, at.stage);
    if (way.some(({ definition }) => isStateful(definition))) return this.#rerun(place, plan, segment);
    const { input, k } = graph.placeOf(at);
    const parent = await this.#reader.inputOf(place, input);
    const before = await recordOfInput(parent);
    if (before.kind === "none") return notMadeOf(before);
    const engine = this.#engineOf(plan, segment, way);
    const rows = { ...this.#rowsOf(plan, place, input, before.bytes), ...(await this.#placeBefore(parent)) };
    const { log, clock, signal = new AbortController().signal } = this.#options;
    const effects = new ServedEffects({ log, clock, steps: stream, signal });
    const { stages } = await engine.process(rows, graph.event.first + input, effects);
    const bytes = recordAt(stages.at(-1), k);
    return bytes === undefined
      ? none("the record is not kept, and its stage, run again, gives fewer of them")
      : { kind: "recomputed", bytes };
  }

  /** A record that rests on state: its partition's inputs since the last snapshot run again. */
  async #rerun(place: ResultPlace, plan: Plan, segment: Segment): Promise<FoundValue> {
    const { stream, n, graph, at, deployed, recorded } = place;
    const key = `${stream}@${recorded.revision}/${at.stage}`;
    let made = this.#made.get(key);
    if (made === undefined) {
      if (this.#made.size >= LIMITS.lineageReruns) {
        const reason =
          "the record is not kept, and rests on state: ask for it by itself to have it made again";
        return { kind: "none", reason, lost: false };
      }
      try {
        made = await this.#rerunEvent(place, plan, segment);
      } catch (error) {
        if (!GONE.some((code) => isHeadwaterError(error, code))) throw error;
        return none("the record is not kept, and neither is all that its state was made of");
      }
      this.#made.set(key, made);
    }
    const { k } = graph.placeOf(at);
    const bytes = made.get(`${n}.${k}`);
    if (bytes !== undefined) return { kind: "recomputed", bytes };
    return none(`the record is not kept, and version ${deployed.version}, run again, does not make it`);
  }

  /** The records of one stage for all inputs of an event, by `N.K`. */
  async #rerunEvent(
    { stream, graph, at, deployed, recorded }: ResultPlace,
    plan: Plan,
    segment: Segment,
  ): Promise<ReadonlyMap<string, Uint8Array>> {
    const { log, clock, signal } = this.#options;
    const { first, count } = graph.event;
    const context: EngineContext = {
      log,
      clock,
      plan,
      arena: this.#arena,
      decode: (bytes, start, end) => this.#decoder.decode(bytes, start, end),
      provenance: "full",
      tickMs: 0,
    };
    const reference = await snapshotBefore(log, recorded, graph.event);
    const made = new Map<string, Uint8Array>();
    const upTo = graph.input(count - 1).ordinal;
    const snapshot = reference && (await loadSnapshot(log, stream, reference));
    const refused = await refusedBefore(log, stream, { snapshot }, upTo);
    const batches = rerunInputs(context, partitionEngine(context, segment, { refused }), {
      stream,
      segment,
      partition: Number(stream.slice(-4)),
      deployedFrom: deployed.from,
      snapshot,
      to: graph.event,
      upTo,
      signal: signal ?? new AbortController().signal,
    });
    for await (const batch of batches) {
      const rows = batch.result.stages[at.stage];
      let k = 0;
      for (let row = 0, last = -1; row < (rows?.count ?? 0); row++) {
        const input = rows?.origin?.[row] ?? row;
        k = input === last ? k + 1 : 0;
        last = input;
        const n = batch.first + input;
        const bytes = n >= first && n < first + count ? recordAt(rows, row) : undefined;
        if (bytes !== undefined) made.set(`${n}.${k}`, bytes);
      }
      if (batch.first + batch.rows.count >= first + count) break;
    }
    return made;
  }

  /** An engine for the stages on the way to one of them alone, whose rows leave it. */
  #engineOf({ definition, ...plan }: Plan, segment: Segment, way: readonly PlannedStage[]): SegmentEngine {
    const stages = way.map((stage, index) => ({ ...stage, input: index - 1 }));
    const stage = stages.length - 1;
    const outlets = [{ stage, stored: recordsOf({ stages }, stage), rekeys: false, keyed: false }];
    return new SegmentEngine({
      pipeline: definition.name,
      segment: { ...segment, stages, outlets, stateful: false, keyed: false, timed: undefined },
      origins: originsOf(plan),
      partitions: definition.partitions,
      arena: this.#arena,
      decode: (bytes, start, end) => this.#decoder.decode(bytes, start, end),
      provenance: "full",
    });
  }

  /** Of an input that was put back: what the place was that it had before, by which its effects are known. */
  async #placeBefore(parent: RecordPlace | GonePlace): Promise<Pick<InputRows, "before">> {
    if (parent.kind !== "retry") return {};
    const refused = await this.#reader.refusedAs(parent);
    return refused.kind === "quarantined" ? { before: [placeBefore(refused.record)] } : {};
  }

  #rowsOf(plan: Plan, { graph }: ResultPlace, row: number, bytes: Uint8Array): InputRows {
    const { ordinal, source, root, path, time, parent } = graph.input(row);
    return {
      count: 1,
      records: [this.#decoder.decode(bytes, 0, bytes.length)],
      buffers: [bytes],
      starts: [0],
      ends: [bytes.length],
      ordinals: [ordinal],
      sources: [originIndex(plan.origins, source)],
      roots: [root],
      paths: [path],
      times: [time],
      upstreams: undefined,
      parents: [parent?.n ?? 0],
      parentKs: [parent?.k ?? 0],
      keys: undefined,
      firings: [],
    };
  }
}

/** The stages from the segment's inputs to one of them. */
function wayTo(segment: Segment, stage: number): PlannedStage[] {
  const way: PlannedStage[] = [];
  for (let at = stage; at !== SEGMENT_INPUT; ) {
    const planned = segment.stages[at];
    if (planned === undefined) throw new HeadwaterError("Internal", `a segment has no stage ${at}`);
    way.unshift(planned);
    at = planned.input;
  }
  return way;
}

function recordAt(rows: StageRows | undefined, row: number): Uint8Array | undefined {
  if (rows === undefined || row >= rows.count) return undefined;
  const { packed } = rows;
  // Of records that nothing reads the bytes are not kept; they are as they were made.
  if (packed === undefined) return encodeCanonical(rows.records[row]);
  const start = packed.lengths.slice(0, row).reduce((sum, length) => sum + length, 0);
  return packed.bytes.slice(start, start + (packed.lengths[row] ?? 0));
}

/** The last snapshot that was taken before an event; `undefined`: the partition began without one. */
async function snapshotBefore(
  log: EventLog,
  { stream, revision }: RecordedEvent,
  { snapshot, first }: StepsRecorded,
): Promise<SnapshotReference | undefined> {
  if (snapshot === undefined || snapshot.next <= first || revision === 0) return snapshot;
  const { data } = decodeEvent(await readOne(log, stream, revision - 1));
  return "snapshot" in data ? data.snapshot : undefined;
}

function none(reason: string): NoValue {
  return { kind: "none", reason, lost: true };
}

const CANNOT = "the record is not kept, and cannot be made again: ";

/** Where what a record was made of is not there: why that is so at the end of the chain, said once. */
function notMadeOf({ reason, lost }: NoValue): NoValue {
  const why = reason.startsWith(CANNOT)
    ? reason.slice(CANNOT.length)
    : reason.replace(/^the record is not kept/, "what it was made of is not kept");
  return { kind: "none", reason: CANNOT + why, lost };
}

function pipelineOf(stream: string): string {
  return /^steps_([^.]+)\./.exec(stream)?.[1] ?? "";
}
