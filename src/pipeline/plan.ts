import { HeadwaterError } from "../core/errors.ts";
import { branchElement } from "../core/path.ts";
import { hasKey } from "./ancestry.ts";
import { CAPTURE_ENDS, type Capture, captureOfAll, capturesOf, isDefault } from "./capture.ts";
import {
  isStateful,
  isTimed,
  type PipelineDefinition,
  type SinkDefinition,
  type SourceDefinition,
  type StageDefinition,
  type TimedDefinition,
} from "./definition.ts";
import { type ParameterOverride, withParameters } from "./parameter-overrides.ts";

/** Index of the segment's own inputs where a stage's index is expected. */
export const SEGMENT_INPUT = -1;

/** One stage in its place within a segment. */
export interface PlannedStage {
  readonly definition: StageDefinition;
  /** The stage of this segment whose rows it takes; {@link SEGMENT_INPUT}: the segment's inputs. */
  readonly input: number;
  /** What it adds to the path of each record because its input is read by several stages; empty if it is not. */
  readonly branch: string;
}

/** Where records leave a segment. */
export interface Outlet {
  /** The stage whose rows leave, or {@link SEGMENT_INPUT}. */
  readonly stage: number;
  /** The stage whose results are those records: the nearest one upwards that makes records of its own. */
  readonly stored: number;
  /** Whether the rows go to the partition of the key that `stage` (a keyBy) gives them. */
  readonly rekeys: boolean;
  /** Whether the rows' keys are kept with them, because a reader needs them and cannot make them itself. */
  readonly keyed: boolean;
}

/** How a reader knows the keys of records. */
export type KeySource =
  /** It asks the function that gave them, of a source or keyBy. */
  | ((record: unknown) => unknown)
  /** They are kept with the records. */
  | "kept"
  /** There are none. */
  | undefined;

/** An edge into a segment or sink. */
export interface Upstream {
  /** The source, or the segment. */
  readonly from: { readonly source: string } | { readonly segment: string; readonly outlet: number };
  /**
   * `same`: partition p reads partition p. `sections`: partition p reads its section of every partition.
   * `all`: everything is read (sinks).
   */
  readonly route: "same" | "sections" | "all";
  /** What the edge adds to paths: see {@link PlannedStage.branch}. */
  readonly branch: string;
  /** The key of the records that come in over it. */
  readonly key: KeySource;
}

/** A chain or tree of stages that runs in one go. Named after its first stage. */
export interface Segment {
  readonly name: string;
  readonly upstreams: readonly Upstream[];
  /** Each after its input. */
  readonly stages: readonly PlannedStage[];
  readonly outlets: readonly Outlet[];
  /** Whether some stage keeps state, so that snapshots are needed. */
  readonly stateful: boolean;
  /** Whether it has to know the keys of its inputs. */
  readonly keyed: boolean;
  /** The window or join that the segment begins with, if it does. */
  readonly timed: TimedDefinition | undefined;
  /** Whether it, or a segment after it, has to know how far event time has come. */
  readonly watched: boolean;
  /** Whether records of one root can differ by path here. */
  readonly paths: boolean;
  /** What is kept of its records; `undefined`: all that leave it. */
  readonly captures: SegmentCaptures | undefined;
}

/** What is kept of a segment's records. */
export interface SegmentCaptures {
  /** Of those that leave it as they came in. */
  readonly inputs: Capture;
  /** Of each stage. */
  readonly stages: readonly Capture[];
}

export interface PlannedSink {
  readonly name: string;
  readonly upstream: Upstream;
}

/** How a pipeline runs: what it is cut into, and what reads what. */
export interface Plan {
  readonly definition: PipelineDefinition;
  readonly sources: readonly SourceDefinition[];
  /** Each after those that it reads. */
  readonly segments: readonly Segment[];
  readonly sinks: readonly PlannedSink[];
  /**
   * What records descend from, in logical order: windows and joins, whose firings begin records of their own, each
   * after those that it reads, and sources, ordered by name. What indexes of origins refer to.
   */
  readonly origins: readonly string[];
  /** How many of the origins are windows and joins. */
  readonly firingOrigins: number;
  /** What is kept of each source and stage, by its name. */
  readonly captures: ReadonlyMap<string, Capture>;
  /** Absent unless it runs over what another deployment of the pipeline has recorded. */
  readonly fork?: PlannedFork;
}

/** A plan that runs over recorded history, into streams of its own: see "Forks" in docs/format.md. */
export interface PlannedFork {
  /** Stands for the pipeline's name in the names of these streams. */
  readonly name: string;
  /** The last ordinal that is taken from what was recorded. */
  readonly to: number;
  /** Records that were let go of are left out. */
  readonly gaps?: boolean;
  /**
   * Segments that are not run: what their stages gave is read as it was recorded. With the outlets that they had then,
   * when they may have had more stages.
   */
  readonly reused: ReadonlyMap<string, readonly Outlet[]>;
}

/**
 * Cuts a pipeline into segments. A stage joins the segment of its input, unless it reads a source, reads a keyBy
 * (its records move to other partitions), or is a union, window or join; then it begins one.
 *
 * The plan's definition has the parameters' values of `overrides`. A stage of `cuts` begins a segment in any case. Throws `BadParameter` for those that do not fit.
 */
export function planPipeline(
  defined: PipelineDefinition,
  overrides: readonly ParameterOverride[] = [],
  cuts: ReadonlySet<string> = new Set(),
): Plan {
  const definition = withParameters(defined, overrides);
  const stages = new Map(definition.stages.map((stage) => [stage.name, stage]));
  const sources = new Map(definition.sources.map((source) => [source.name, source]));
  const readers = countReaders(definition);
  const segmentOf = new Map<string, SegmentBuilder>();
  const segments: SegmentBuilder[] = [];

  const branchOf = (stage: StageDefinition, input: string) =>
    stage.kind === "late" || (readers.get(input) ?? 0) > 1 ? branchElement(stage.name) : "";

  const upstreamOf = (input: string, branch: string, to: "segment" | "sink"): Upstream => {
    const kept = to === "segment" && hasKey(input, definition) ? "kept" : undefined;
    const source = sources.get(input);
    if (source !== undefined) {
      return { from: { source: input }, route: to === "sink" ? "all" : "same", branch, key: source.key };
    }
    const stage = stages.get(input);
    const segment = segmentOf.get(input);
    if (stage === undefined || segment === undefined) {
      throw new HeadwaterError("BadPipeline", "a stage or sink reads something that is not defined", {
        where: input,
      });
    }
    const rekeys = stage.kind === "keyBy" && to === "segment";
    const outlet = segment.outlet(segment.indexOf(input), rekeys);
    const route = to === "sink" ? "all" : rekeys ? "sections" : "same";
    return {
      from: { segment: segment.name, outlet },
      route,
      branch,
      key: stage.kind === "keyBy" ? stage.fn : kept,
    };
  };

  // Stages are defined after what they read, so that one pass in order of definition is enough.
  for (const stage of definition.stages) {
    const [input] = stage.inputs;
    const joins =
      input !== undefined &&
      stage.inputs.length === 1 &&
      stages.has(input) &&
      stages.get(input)?.kind !== "keyBy" &&
      !isTimed(stage) &&
      !cuts.has(stage.name);
    const home = joins ? segmentOf.get(input) : undefined;
    if (home !== undefined && input !== undefined) {
      // What came too late is what came in.
      const reads = stage.kind === "late" ? SEGMENT_INPUT : home.indexOf(input);
      home.add(stage, reads, branchOf(stage, input));
      segmentOf.set(stage.name, home);
      continue;
    }
    const twice = new Set(stage.inputs).size < stage.inputs.length;
    const upstreams = stage.inputs.map((name, side) =>
      // A stream that is joined with itself comes in twice, and each record has to be told from its twin.
      upstreamOf(name, twice ? branchElement(`${stage.name}.${side}`) : branchOf(stage, name), "segment"),
    );
    const segment = new SegmentBuilder(stage, upstreams);
    segments.push(segment);
    segmentOf.set(stage.name, segment);
  }
  const sinks = definition.sinks.map((sink: SinkDefinition) => ({
    name: sink.name,
    upstream: upstreamOf(sink.input, "", "sink"),
  }));
  for (const segment of segments.toReversed()) segment.askUpstream(segments);
  const withPaths = new Set<string>();
  const captures = capturesOf(definition);
  const planned = segments.map((segment) => segment.build(withPaths, captures));
  const firing = definition.stages.filter(isTimed).map((stage) => stage.name);
  return {
    definition,
    sources: definition.sources,
    segments: planned,
    sinks,
    // In the order of definition: what a window takes of another's firings comes before its own.
    origins: [...firing, ...definition.sources.map((source) => source.name).sort()],
    firingOrigins: firing.length,
    captures,
  };
}

/** How many stages read each source or stage. Sinks do not count: they take a copy, they do not branch. */
function countReaders(definition: PipelineDefinition): Map<string, number> {
  const readers = new Map<string, number>();
  for (const stage of definition.stages) {
    // What came too late is no output of the stage that it came too late for.
    if (stage.kind === "late") continue;
    for (const input of stage.inputs) readers.set(input, (readers.get(input) ?? 0) + 1);
  }
  return readers;
}

class SegmentBuilder {
  readonly name: string;
  readonly #upstreams: readonly Upstream[];
  readonly #stages: PlannedStage[] = [];
  readonly #outlets: Outlet[] = [];
  #watched = false;

  constructor(first: StageDefinition, upstreams: readonly Upstream[]) {
    this.name = first.name;
    this.#upstreams = upstreams;
    // Branches at the segment's edge are added by the edge, so that they are in the paths that merging compares.
    this.add(first, SEGMENT_INPUT, "");
  }

  add(definition: StageDefinition, input: number, branch: string): void {
    this.#stages.push({ definition, input, branch });
  }

  indexOf(stage: string): number {
    return this.#stages.findIndex((other) => other.definition.name === stage);
  }

  /** The outlet for the rows of `stage`, made if there is none yet; its index. */
  outlet(stage: number, rekeys: boolean): number {
    const found = this.#outlets.findIndex((other) => other.stage === stage && other.rekeys === rekeys);
    if (found >= 0) return found;
    const stored = recordsOf({ stages: this.#stages }, stage);
    return this.#outlets.push({ stage, stored, rekeys, keyed: false }) - 1;
  }

  get #timed(): TimedDefinition | undefined {
    const first = this.#stages[0]?.definition;
    return first !== undefined && isTimed(first) ? first : undefined;
  }

  get #keyed(): boolean {
    return (
      this.#stages.some((stage) => isStateful(stage.definition)) || this.#outlets.some((one) => one.keyed)
    );
  }

  /** Tells the segments that it reads what it needs of them; called before they tell those that they read. */
  askUpstream(segments: readonly SegmentBuilder[]): void {
    this.#watched ||= this.#timed !== undefined;
    for (const { from, key } of this.#upstreams) {
      if (!("segment" in from)) continue;
      const upstream = segments.find((other) => other.name === from.segment);
      if (upstream === undefined) continue;
      upstream.#watched ||= this.#watched;
      const outlet = upstream.#outlets[from.outlet];
      if (outlet !== undefined && this.#keyed && key === "kept") {
        upstream.#outlets[from.outlet] = { ...outlet, keyed: true };
      }
    }
  }

  #captures(known: ReadonlyMap<string, Capture>): SegmentCaptures | undefined {
    const of = (name: string) => known.get(name) ?? CAPTURE_ENDS;
    const inputs = captureOfAll((this.#stages[0]?.definition.inputs ?? []).map(of));
    const stages = this.#stages.map(({ definition }) => of(definition.name));
    return [inputs, ...stages].every(isDefault) ? undefined : { inputs, stages };
  }

  build(segmentsWithPaths: Set<string>, captures: ReadonlyMap<string, Capture>): Segment {
    const paths =
      this.#stages.some((stage) => addsIndex(stage.definition) || stage.branch !== "") ||
      this.#upstreams.some(
        (upstream) =>
          upstream.branch !== "" ||
          ("segment" in upstream.from && segmentsWithPaths.has(upstream.from.segment)),
      );
    if (paths) segmentsWithPaths.add(this.name);
    return {
      name: this.name,
      upstreams: this.#upstreams,
      stages: this.#stages,
      outlets: this.#outlets,
      stateful: this.#stages.some((stage) => isStateful(stage.definition)),
      keyed: this.#keyed,
      timed: this.#timed,
      watched: this.#watched,
      paths,
      captures: this.#captures(captures),
    };
  }
}

/** Whether a stage makes records of its own; the others (filter, keyBy, union, …) let those of their input through. */
export function makesRecords(segment: Pick<Segment, "stages">, stage: number): boolean {
  const definition = segment.stages[stage]?.definition;
  return definition !== undefined && kindMakesRecords(definition.kind);
}

const RECORD_MAKERS: ReadonlySet<string> = new Set<StageDefinition["kind"]>([
  "map",
  "flatMap",
  "route",
  "reduce",
  "window",
  "join",
  "tableJoin",
]);

/** {@link makesRecords}, by the kind of stage. */
export function kindMakesRecords(kind: string): boolean {
  return RECORD_MAKERS.has(kind);
}

/** Whether each result's index among those of its input is added to its path: see "Addresses" in docs/format.md. */
export function addsIndex(stage: StageDefinition): boolean {
  return stage.kind === "flatMap" || stage.kind === "route" || isTimed(stage);
}

/** The stage that made the records which leave `stage`: it, or the nearest one before it that makes records. */
export function recordsOf(segment: Pick<Segment, "stages">, stage: number): number {
  let at = stage;
  while (at !== SEGMENT_INPUT && !makesRecords(segment, at)) at = segment.stages[at]?.input ?? SEGMENT_INPUT;
  return at;
}
