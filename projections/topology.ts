import { equalBytes } from "../src/core/digest.ts";
import type { PipelineDeployed } from "../src/core/events.ts";
import { pipelineOf, sinkStream, sourceStream, stepsStream } from "../src/core/streams.ts";

/** What a reader takes from one stream: the records of one source, or of one outlet of a partition. */
export interface Edge {
  readonly stream: string;
  /** The stage whose rows leave, as an index into those of its segment; `undefined`: the stream is a source's. */
  readonly stage: number | undefined;
  /** Whether the rows go to the partitions of the keys that the stage (a keyBy) gives them. */
  readonly rekeys: boolean;
  /** Only the records for this partition. */
  readonly partition: number | undefined;
  /** What is added to the paths. */
  readonly branch: string;
  /** Where the stage's rows do not leave its segment, all of them are handed on, K counting those of each input. */
  readonly results?: true;
}

/** A sink, or a partition of a segment, of a deployment. */
export interface Reader {
  readonly edges: readonly Edge[];
  /** Names of the segment's stages, in the order of its events' `stages`, and of what kind each is; none at a sink. */
  readonly stages: readonly string[];
  readonly kinds: readonly string[];
  /** The pipeline whose records it takes, and roots are of: of a fork that which it is a fork of. */
  readonly pipeline: string;
  /** Names of the pipeline's sources. */
  readonly sources: ReadonlySet<string>;
  /** Whether digests are recorded. */
  readonly digests: boolean;
  /** How many of the pipeline's segments come after this one; 0 at a sink. */
  readonly segmentsAfter: number;
  /** Of a fork: it takes nothing beyond this ordinal. */
  readonly upTo?: number;
  /** Of a fork: it leaves records out that were let go of. */
  readonly gaps?: true;
}

/** What reads what in the deployments of a log, as far as their events say it: see "Addresses" in docs/format.md. */
export class Topology {
  readonly #deployments = new Map<string, PipelineDeployed[]>();
  readonly #readers = new Map<string, Reader | undefined>();

  /** Takes in an event of `pipeline_P`. One that is not as deployments are tells nothing: what is wrong is told of its chain. */
  deploy(stream: string, deployed: PipelineDeployed): void {
    const { stages, sources, sinks, deployment } = deployed;
    if (!(deployment instanceof Uint8Array && [stages, sources, sinks].every(Array.isArray))) return;
    const pipeline = pipelineOf(stream);
    const known = this.#deployments.get(pipeline);
    if (known === undefined) this.#deployments.set(pipeline, [deployed]);
    else known.push(deployed);
  }

  /** The deployment with the identity `deployment` of the pipeline whose stream is `stream`; `undefined` if it is not known. */
  deployment(stream: string, deployment: Uint8Array): PipelineDeployed | undefined {
    if (!(deployment instanceof Uint8Array)) return undefined;
    return this.#deployments
      .get(pipelineOf(stream))
      ?.find((other) => equalBytes(other.deployment, deployment));
  }

  /** The reader whose stream is `stream`, in the deployment with the identity `deployment`; `undefined` if it is not known. */
  reader(stream: string, deployment: Uint8Array): Reader | undefined {
    const pipeline = pipelineOf(stream);
    const deployed = this.deployment(stream, deployment);
    if (deployed === undefined) return undefined;
    const name = `${deployed.version} ${stream}`;
    if (!this.#readers.has(name)) this.#readers.set(name, readable(pipeline, deployed, stream));
    return this.#readers.get(name);
  }
}

/** What a deployment's parts do not fit for tells nothing either. */
function readable(pipeline: string, deployed: PipelineDeployed, stream: string): Reader | undefined {
  try {
    return readerOf(pipeline, deployed, stream);
  } catch {
    return undefined;
  }
}

function readerOf(pipeline: string, deployed: PipelineDeployed, stream: string): Reader | undefined {
  const digests = deployed.provenance === "full";
  const forked = {
    pipeline: deployed.fork?.pipeline ?? pipeline,
    ...(deployed.fork && { upTo: deployed.fork.to }),
    ...(deployed.fork?.gaps && { gaps: deployed.fork.gaps }),
  };
  const sources = new Set(deployed.sources.map(({ name }) => name));
  const sink = deployed.sinks.find(({ name }) => sinkStream(pipeline, name) === stream);
  if (sink !== undefined) {
    const edges = sinkEdges(pipeline, deployed, sink.input);
    return { edges, stages: [], kinds: [], sources, digests, segmentsAfter: 0, ...forked };
  }
  const [, segment = "", digits = ""] = /^steps_[^.]*\.([^.]*)\.(\d{4})$/.exec(stream) ?? [];
  const stages = stagesOf(deployed, segment);
  if (stages.length === 0) return undefined;
  const segments = [...new Set(deployed.stages.map((stage) => stage.segment))];
  const segmentsAfter = segments.length - 1 - segments.indexOf(segment);
  const kinds = deployed.stages.filter((stage) => stage.segment === segment).map(({ kind }) => kind);
  const edges = segmentEdges(pipeline, deployed, segment, Number(digits));
  return { edges, stages, kinds, sources, digests, segmentsAfter, ...forked };
}

function stagesOf({ stages }: PipelineDeployed, segment: string): string[] {
  return stages.filter((stage) => stage.segment === segment).map(({ name }) => name);
}

function sinkEdges(pipeline: string, deployed: PipelineDeployed, input: string): Edge[] {
  const partition = undefined;
  if (deployed.sources.some(({ name }) => name === input)) {
    const stream = sourceStream(deployed.fork?.pipeline ?? pipeline, input);
    return [{ stream, stage: undefined, rekeys: false, partition, branch: "" }];
  }
  const segment = deployed.stages.find(({ name }) => name === input)?.segment ?? "";
  const stage = stagesOf(deployed, segment).indexOf(input);
  return partitionsOf(deployed).map((from) => ({
    stream: stepsStream(runsIn(pipeline, deployed, segment), segment, from),
    stage,
    rekeys: false,
    partition,
    branch: "",
  }));
}

function segmentEdges(
  pipeline: string,
  deployed: PipelineDeployed,
  segment: string,
  partition: number,
): Edge[] {
  const first = deployed.stages.find(({ name }) => name === segment);
  const inputs = first?.inputs ?? [];
  const twice = new Set(inputs).size < inputs.length;
  return inputs.flatMap((input, side): Edge[] => {
    const branch = twice
      ? `${segment}.${side}\0`
      : first?.kind === "late" || readersOf(deployed, input) > 1
        ? `${segment}\0`
        : "";
    if (deployed.sources.some(({ name }) => name === input)) {
      return [
        {
          stream: sourceStream(deployed.fork?.pipeline ?? pipeline, input),
          stage: undefined,
          rekeys: false,
          partition,
          branch,
        },
      ];
    }
    const ahead = deployed.stages.find(({ name }) => name === input);
    const rekeys = ahead?.kind === "keyBy";
    const stage = stagesOf(deployed, ahead?.segment ?? "").indexOf(input);
    const from = rekeys ? partitionsOf(deployed) : [partition];
    return from.map((number) => ({
      stream: stepsStream(runsIn(pipeline, deployed, ahead?.segment), ahead?.segment ?? "", number),
      stage,
      rekeys,
      partition: rekeys ? partition : undefined,
      branch,
      ...(deployed.fork?.cuts.includes(segment) && { results: true }),
    }));
  });
}

/** What came too late is no output of the stage that it came too late for. */
function readersOf({ stages }: PipelineDeployed, input: string): number {
  return stages
    .filter(({ kind }) => kind !== "late")
    .reduce((sum, { inputs }) => sum + inputs.filter((name) => name === input).length, 0);
}

/** A fork takes what it does not run from the pipeline whose history it is. */
function runsIn(pipeline: string, { fork }: PipelineDeployed, segment: string | undefined): string {
  return fork?.reused.includes(segment ?? "") ? fork.pipeline : pipeline;
}

function partitionsOf({ partitions }: PipelineDeployed): number[] {
  return Array.from({ length: partitions }, (_, partition) => partition);
}
