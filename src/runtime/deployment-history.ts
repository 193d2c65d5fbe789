import { equalBytes, toHex } from "../core/digest.ts";
import { HeadwaterError } from "../core/errors.ts";
import { decodeEvent } from "../core/event-codec.ts";
import type { DeployedFork, DeployedRuntime, DeployedStage, PipelineDeployed } from "../core/events.ts";
import { pipelineStream } from "../core/streams.ts";
import { overridesOf } from "../pipeline/parameter-overrides.ts";
import { type Plan, planPipeline } from "../pipeline/plan.ts";
import type { Bundler } from "../ports/bundler.ts";
import type { EventLog } from "../ports/event-log.ts";
import { definitionOf, loadDeployedCode } from "./deployment.ts";

/** All versions of a pipeline in a log, and the code of each, loaded when it is asked for. */
export class DeploymentHistory {
  readonly pipeline: string;
  readonly #log: EventLog;
  readonly #bundler: Bundler;
  readonly #deployments: readonly PipelineDeployed[];
  /** By version. */
  readonly #runtimes: ReadonlyMap<number, readonly DeployedRuntime[]>;
  readonly #plans = new Map<string, Promise<Plan>>();

  private constructor(
    log: EventLog,
    bundler: Bundler,
    pipeline: string,
    deployments: readonly PipelineDeployed[],
    runtimes: ReadonlyMap<number, readonly DeployedRuntime[]>,
  ) {
    this.#log = log;
    this.#bundler = bundler;
    this.pipeline = pipeline;
    this.#deployments = deployments;
    this.#runtimes = runtimes;
  }

  /** `undefined` if the pipeline was never deployed in this log. */
  static async read(
    log: EventLog,
    bundler: Bundler,
    pipeline: string,
  ): Promise<DeploymentHistory | undefined> {
    const { deployments, runtimes } = await versionsIn(log, pipeline);
    if (deployments.length === 0) return undefined;
    return new DeploymentHistory(log, bundler, pipeline, deployments, runtimes);
  }

  /** All of them, the first first. */
  get all(): readonly PipelineDeployed[] {
    return this.#deployments;
  }

  /** The one that is deployed now. */
  get current(): PipelineDeployed {
    return this.#deployments.at(-1) as PipelineDeployed;
  }

  /** The one that records with this ordinal are for. */
  at(ordinal: number): PipelineDeployed {
    return (
      this.#deployments.findLast(({ from }) => from <= ordinal) ?? (this.#deployments[0] as PipelineDeployed)
    );
  }

  /** What a deployment was run by, the first first. */
  runtimesOf({ version, runtime }: PipelineDeployed): readonly DeployedRuntime[] {
    return this.#runtimes.get(version) ?? [runtime];
  }

  /** The last one that satisfies `holds`. */
  last(holds: (deployed: PipelineDeployed) => boolean): PipelineDeployed | undefined {
    return this.#deployments.findLast(holds);
  }

  /** The one that came after another. */
  after(deployed: PipelineDeployed): PipelineDeployed | undefined {
    return this.#deployments.find(({ version }) => version > deployed.version);
  }

  /** The one with this identity that an event complete up to `through` was written by. */
  withIdentity(identity: Uint8Array, through: number): PipelineDeployed {
    const same = this.#deployments.filter(({ deployment }) => equalBytes(deployment, identity));
    // A deployment that came back has the identity that it had; its units begin where it does.
    const found = same.findLast(({ from }) => from <= through + 1) ?? same.at(-1);
    if (found !== undefined) return found;
    throw new HeadwaterError("LogDamaged", "an event was written by a deployment that is not in the log", {
      where: `pipeline ${this.pipeline}, deployment ${toHex(identity)}`,
    });
  }

  /** The plan of a deployment, made by its own code. Throws `IncompatibleDeployment` if that was not kept. */
  planOf(deployed: PipelineDeployed): Promise<Plan> {
    const identity = toHex(deployed.deployment);
    let plan = this.#plans.get(identity);
    if (plan === undefined) {
      plan = this.#load(deployed);
      this.#plans.set(identity, plan);
    }
    return plan;
  }

  async #load(deployed: PipelineDeployed): Promise<Plan> {
    const { bundle, exported } = await loadDeployedCode(this.#log, this.#bundler, deployed);
    const plan = planPipeline(definitionOf(exported, bundle.module), overridesOf(deployed.parameters));
    return forkedPlan(plan, this.pipeline, deployed.fork);
  }
}

/** All versions of a pipeline in a log, the first first. */
export async function deploymentsOf(log: EventLog, pipeline: string): Promise<readonly PipelineDeployed[]> {
  return (await versionsIn(log, pipeline)).deployments;
}

interface Versions {
  readonly deployments: readonly PipelineDeployed[];
  /** Of each version what it ran in, one after the other. */
  readonly runtimes: ReadonlyMap<number, readonly DeployedRuntime[]>;
}

async function versionsIn(log: EventLog, pipeline: string): Promise<Versions> {
  const stream = pipelineStream(pipeline);
  const deployments: PipelineDeployed[] = [];
  const runtimes = new Map<number, DeployedRuntime[]>();
  if ((await log.streamInfo(stream)) === undefined) return { deployments, runtimes };
  for await (const recorded of log.read(stream)) {
    const { type, data } = decodeEvent(recorded);
    if (type === "PipelineDeployed") deployments.push(data);
    if (type !== "PipelineDeployed" && type !== "RuntimeChanged") continue;
    runtimes.set(data.version, [...(runtimes.get(data.version) ?? []), data.runtime]);
  }
  return { deployments, runtimes };
}

/**
 * The plan as it runs in the streams of `name`, which are a fork's if `fork` says so. A fork keeps all that leaves its
 * segments, whatever the pipeline keeps: it is there to be looked at.
 */
export function forkedPlan(plan: Plan, name: string, fork: DeployedFork | undefined): Plan {
  if (fork === undefined) return plan;
  const outletsOf = (segment: string) => plan.segments.find((other) => other.name === segment)?.outlets ?? [];
  const cut = fork.cuts.length === 0 ? plan : planPipeline(plan.definition, [], new Set(fork.cuts));
  return {
    ...cut,
    segments: cut.segments.map((segment) => ({ ...segment, captures: undefined })),
    captures: new Map(),
    fork: {
      name,
      to: fork.to,
      gaps: fork.gaps === true,
      reused: new Map(fork.reused.map((segment) => [segment, outletsOf(segment)])),
    },
  };
}

/** A stage of a deployment; `undefined` if it has none of this name. */
export function deployedStage(deployed: PipelineDeployed, name: string): DeployedStage | undefined {
  return deployed.stages.find((stage) => stage.name === name);
}

/** The names of the sources that a stage's records descend from. */
export function deployedSources(deployed: PipelineDeployed, name: string): ReadonlySet<string> {
  const stage = deployedStage(deployed, name);
  if (stage === undefined) return new Set([name]);
  return new Set(stage.inputs.flatMap((input) => [...deployedSources(deployed, input)]));
}

/** A partition of a segment. */
export interface RecordedPartition {
  readonly segment: string;
  readonly partition: number;
}

/** Every partition that any of some versions of a pipeline had, once, segments in the order of the pipeline. */
export function recordedPartitions(
  all: readonly Pick<PipelineDeployed, "stages" | "partitions">[],
): readonly RecordedPartition[] {
  const found = new Map<string, RecordedPartition>();
  for (const { stages, partitions } of all) {
    for (const { segment } of stages) {
      for (let partition = 0; partition < partitions; partition++) {
        found.set(`${segment}.${partition}`, { segment, partition });
      }
    }
  }
  return [...found.values()];
}
