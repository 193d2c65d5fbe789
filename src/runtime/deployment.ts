import { encodeCanonical } from "../core/canonical.ts";
import { deploymentIdentity } from "../core/deployment-identity.ts";
import { equalBytes, sha256, toHex } from "../core/digest.ts";
import { HeadwaterError } from "../core/errors.ts";
import { decodeEvent } from "../core/event-codec.ts";
import type { DeployedFork, DeployedRuntime, DeployedStage, PipelineDeployed } from "../core/events.ts";
import { LIMITS } from "../core/limits.ts";
import { codeStream, pipelineStream } from "../core/streams.ts";
import { describeAggregate } from "../pipeline/aggregates.ts";
import { CAPTURE_ENDS } from "../pipeline/capture.ts";
import type { PipelineDefinition, SourceDefinition, StageDefinition } from "../pipeline/definition.ts";
import { parametersOf } from "../pipeline/parameter-overrides.ts";
import { kindMakesRecords, type Plan } from "../pipeline/plan.ts";
import type { Bundle, Bundler } from "../ports/bundler.ts";
import type { Clock } from "../ports/clock.ts";
import type { EventLog } from "../ports/event-log.ts";
import { appendToPipeline } from "./pipeline-events.ts";
import { readChunks } from "./snapshots.ts";
import { lastEvent, StreamTail } from "./stream-tail.ts";
import { chunkDrafts } from "./unit-log.ts";

/** What runs a deployment's code. */
export type RuntimeVersions = DeployedRuntime;

/** What is to be deployed. */
export interface DeploymentCandidate {
  readonly plan: Plan;
  /** Absent for a pipeline that a program made as an object: its code cannot be kept. */
  readonly bundle: Bundle | undefined;
  readonly provenance: "full" | "off";
  readonly runtime: RuntimeVersions;
  readonly fork?: DeployedFork;
}

/** Everything of a PipelineDeployed event that follows from the candidate. */
type Content = Omit<PipelineDeployed, "v" | "wall" | "version" | "from">;

/** The deployment that a candidate would be. */
export function describeDeployment(candidate: DeploymentCandidate): Content {
  const { plan, bundle, provenance, runtime, fork } = candidate;
  const { partitions } = plan.definition;
  const code = bundle === undefined ? undefined : sha256(bundle.code);
  const sources = plan.definition.sources.map((source) => ({
    name: source.name,
    schema: source.schema !== undefined,
    key: source.key !== undefined,
    eventTime: source.eventTime !== undefined,
    id: source.id !== undefined,
    digest: digestOfSource(source),
    ...capturedAs(plan, source),
  }));
  const segmentOf = new Map(
    plan.segments.flatMap((segment) => segment.stages.map((stage) => [stage.definition.name, segment.name])),
  );
  const stages = plan.definition.stages.map((stage) => ({
    name: stage.name,
    kind: stage.kind,
    inputs: stage.inputs,
    segment: segmentOf.get(stage.name) ?? "",
    digest: digestOfStage(stage),
    ...capturedAs(plan, stage),
  }));
  const sinks = plan.definition.sinks.map(({ name, input }) => ({ name, input }));
  const parameters = parametersOf(plan.definition);
  const content = {
    ...(code !== undefined && { code }),
    partitions,
    sources,
    stages,
    sinks,
    parameters,
    provenance,
  };
  return {
    deployment: deploymentIdentity(content),
    ...content,
    ...(bundle !== undefined && { module: bundle.module }),
    runtime,
    ...(fork !== undefined && { fork }),
  };
}

/**
 * A digest of all of a deployment that does not hang on how the text of its functions came to be: the same for a
 * pipeline that a program has made as an object, and one made of the bundle of its module.
 */
export function digestOfShape(
  content: Pick<Content, "sources" | "stages" | "sinks" | "partitions" | "parameters">,
) {
  const { sources, stages, sinks, partitions, parameters } = content;
  const plain = (parts: readonly { readonly digest: Uint8Array }[]) =>
    parts.map(({ digest: _, ...rest }) => rest);
  return sha256(encodeCanonical([plain(sources), plain(stages), sinks, partitions, parameters]));
}

/** What is kept, where that is not what is kept where nothing is said. */
function capturedAs(
  { captures }: Plan,
  { name, kind }: SourceDefinition | StageDefinition,
): Pick<DeployedStage, "capture" | "sample"> {
  if (kind !== "source" && !kindMakesRecords(kind)) return {};
  const { level, rate } = captures.get(name) ?? CAPTURE_ENDS;
  return { ...(level !== "ends" && { capture: level }), ...(rate < 1 && { sample: rate }) };
}

/** Settings count where they are not those that a source has without saying so, as all had in the first version. */
function digestOfSource({ key, eventTime, id, watermark }: SourceDefinition): Uint8Array {
  const { outOfOrdernessMs, idleAfterMs = null, aheadMs } = watermark;
  const functions = digestOfFunctions(key, eventTime, id);
  if (outOfOrdernessMs === 0 && idleAfterMs === null && aheadMs === LIMITS.timeAheadMs) return functions;
  return digestWith(functions, { outOfOrdernessMs, idleAfterMs, aheadMs });
}

/** A digest of functions, and of the settings that decide beside them. */
function digestWith(functions: Uint8Array, settings: Readonly<Record<string, unknown>>): Uint8Array {
  return sha256(encodeCanonical([functions, settings]));
}

/** That a stage tries again counts where it does: none did in the first version. */
function digestOfStage(stage: StageDefinition): Uint8Array {
  const digest = digestOfKind(stage);
  const { retry, onError } = stage;
  return retry === undefined ? digest : digestWith(digest, { retry, onError });
}

function digestOfKind(stage: StageDefinition): Uint8Array {
  switch (stage.kind) {
    case "reduce":
      return digestOfFunctions(stage.init, stage.step, stage.emit);
    case "union":
    case "late":
      return digestOfFunctions();
    case "select":
      return digestWith(digestOfFunctions(), { label: stage.label });
    case "split":
      return digestWith(digestOfFunctions(...stage.predicates), { labels: stage.labels });
    case "route":
      return digestWith(digestOfFunctions(stage.fn), { labels: stage.labels });
    case "window": {
      const { windows, latenessMs, early = null } = stage;
      const aggregate = describeAggregate(stage.aggregate);
      return digestWith(digestOfFunctions(stage.emit), { windows, latenessMs, early, aggregate });
    }
    case "join": {
      const { type, beforeMs, afterMs, latenessMs } = stage;
      return digestWith(digestOfFunctions(stage.fn), { type, beforeMs, afterMs, latenessMs });
    }
    case "tableJoin":
      return digestWith(digestOfFunctions(stage.fn), { type: stage.type, latenessMs: stage.latenessMs });
    default:
      return digestOfFunctions(stage.fn);
  }
}

/** SHA-256 over the source texts of functions, as the engine has them. */
function digestOfFunctions(
  ...functions: readonly (((...args: never[]) => unknown) | undefined)[]
): Uint8Array {
  return sha256(
    encodeCanonical(functions.map((fn) => (fn === undefined ? null : String(fn).toWellFormed()))),
  );
}

/** The deployment that runs, as the log has it; `undefined` if the pipeline was never deployed. */
export async function currentDeployment(
  log: EventLog,
  pipeline: string,
): Promise<PipelineDeployed | undefined> {
  const stream = pipelineStream(pipeline);
  if ((await lastEvent(log, stream)) === undefined) return undefined;
  for await (const recorded of log.read(stream, { direction: "backwards" })) {
    const event = decodeEvent(recorded);
    if (event.type === "PipelineDeployed") return event.data;
  }
  return undefined;
}

/** Whether the candidate is what runs already. Throws `IncompatibleDeployment` if it cannot follow what runs. */
export function isDeployed(
  content: Content,
  current: PipelineDeployed | undefined,
  pipeline: string,
): boolean {
  if (current === undefined) return false;
  if (current.partitions !== content.partitions) {
    throw new HeadwaterError(
      "IncompatibleDeployment",
      `the pipeline has ${current.partitions} partitions in this log, and ${content.partitions} in its definition`,
      {
        where: `pipeline ${pipeline}`,
        hint: "The number of partitions is fixed for a pipeline's life. Keep it, or give the pipeline a new name.",
      },
    );
  }
  return equalBytes(current.deployment, content.deployment);
}

/** Records the candidate, its code first, and answers the event. `from` is the first ordinal that it processes. */
export async function deploy(
  log: EventLog,
  clock: Clock,
  pipeline: string,
  candidate: DeploymentCandidate,
  content: Content,
  before: PipelineDeployed | undefined,
  from: number,
  confirm: () => Promise<void>,
): Promise<PipelineDeployed> {
  if (candidate.bundle !== undefined && content.code !== undefined) {
    await keepCode(log, clock, content.code, candidate.bundle.code);
  }
  const event: PipelineDeployed = {
    v: 1,
    wall: clock.now(),
    version: (before?.version ?? 0) + 1,
    from,
    ...content,
  };
  await appendToPipeline(log, pipeline, { type: "PipelineDeployed", event }, async () => {
    await confirm();
    const now = await currentDeployment(log, pipeline);
    if (now?.version === before?.version) return;
    throw new HeadwaterError("OwnershipLost", "another process has deployed the pipeline", {
      where: pipelineStream(pipeline),
    });
  });
  return event;
}

async function keepCode(log: EventLog, clock: Clock, digest: Uint8Array, code: Uint8Array): Promise<void> {
  const tail = await StreamTail.open(log, codeStream(toHex(digest)));
  // The stream is named by its content: what is there already is a prefix of it.
  for (const draft of chunkDrafts("CodeChunk", code, clock.now()).slice(tail.revision + 1))
    await tail.append([draft]);
}

/** The code of a deployment, checked against its digest. Throws `IncompatibleDeployment` if it was not kept. */
export async function loadDeployedCode(
  log: EventLog,
  bundler: Bundler,
  deployed: PipelineDeployed,
): Promise<{ readonly bundle: Bundle; readonly exported: unknown }> {
  const bundle = await readDeployedCode(log, deployed);
  return { bundle, exported: bundler.load(bundle) };
}

/** The code of a deployment as the log has it. Throws as {@link loadDeployedCode}. */
export async function readDeployedCode(log: EventLog, deployed: PipelineDeployed): Promise<Bundle> {
  if (deployed.code === undefined) {
    throw new HeadwaterError("IncompatibleDeployment", "the code of this deployment is not in the log", {
      hint: "It was given as an object by a program. Run that program again.",
    });
  }
  const stream = codeStream(toHex(deployed.code));
  const info = await log.streamInfo(stream);
  const code = await readChunks(log, stream, "CodeChunk", 0, (info?.lastRevision ?? -1) + 1);
  if (!equalBytes(sha256(code), deployed.code)) {
    throw new HeadwaterError("LogDamaged", "deployed code does not have its digest", {
      where: stream,
      hint: "It cannot be run. headwater audit shows whether more is damaged; go on from a copy of the log that is whole.",
    });
  }
  return { code, module: deployed.module ?? "pipeline.js" };
}

/** What a module has to export by default: something made by `pipeline()`. Throws `BadPipeline`. */
export function definitionOf(exported: unknown, where: string): PipelineDefinition {
  if (typeof exported === "object" && exported !== null && "definition" in exported) {
    return (exported as { readonly definition: PipelineDefinition }).definition;
  }
  const what = exported === undefined ? "has no default export" : "exports something else than a pipeline";
  throw new HeadwaterError("BadPipeline", `the module ${what}`, {
    where,
    hint: 'End it with "export default p", where p was made by pipeline("name").',
  });
}
