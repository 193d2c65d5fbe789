import { stat } from "node:fs/promises";
import { dirname, resolve } from "node:path";
import { HeadwaterError, isHeadwaterError } from "../core/errors.ts";
import type { DeployedParameters } from "../core/events.ts";
import type { PipelineDefinition } from "../pipeline/definition.ts";
import { overridesOf, overridesOfTexts } from "../pipeline/parameter-overrides.ts";
import { type Plan, planPipeline } from "../pipeline/plan.ts";
import type { Bundle } from "../ports/bundler.ts";
import type { EventLog } from "../ports/event-log.ts";
import type { Input } from "../ports/files.ts";
import { createSurroundings, openLog, type Surroundings } from "../runtime/compose.ts";
import { currentDeployment, definitionOf, loadDeployedCode } from "../runtime/deployment.ts";
import { probeFromEnvironment } from "../runtime/fail-points.ts";
import { FileIntake, type Intake } from "../runtime/intake.ts";
import { runPipeline } from "../runtime/pipeline-run.ts";
import { ProgressBoard } from "../runtime/progress-board.ts";
import { sinkHistory } from "../runtime/sink-history.ts";
import { FileTarget, mustNotBeForeign, type SinkTarget, StdoutTarget } from "../runtime/sink-targets.ts";
import { runtimeVersions } from "../runtime/versions.ts";
import { checkpointsOfRun } from "./checkpoint-timer.ts";
import { isModulePath, unknownPipeline } from "./pipeline-name.ts";
import { logNotices, noticesTo, reportOf } from "./report.ts";
import type { RunReport, RunRequest } from "./run-types.ts";

const MS_PER_SECOND = 1_000;
/** How often progress is told, in milliseconds. */
const PROGRESS_MS = 100;
const STDIO = "-";

/**
 * Runs a pipeline from files to files: `headwater run`. Throws a `HeadwaterError`; what had been accepted by then
 * is kept, and the next run goes on with it.
 */
export async function run(request: RunRequest): Promise<RunReport> {
  const surroundings = createSurroundings();
  // The module first: a mistake in it must not leave an empty log behind.
  const module = isModulePath(request.pipeline) ? await loadModule(surroundings, request) : undefined;
  const opened: Input[] = [];
  const intakes = await openIntakes(surroundings, request, opened);
  await checkOutputPaths(request);
  const targets = targetsOf(surroundings, request);
  const log = (await openLogThatIsThere(request)) ?? (await makeLog(request, targets));
  try {
    const loaded = module ?? (await loadDeployed(surroundings, log, request));
    const timer = await checkpointsOfRun(log, request.checkpoints, request.onNotice);
    try {
      return await runLoaded(surroundings, log, loaded, request, intakes, opened, targets);
    } finally {
      await timer?.stop();
    }
  } finally {
    await log.close();
  }
}

async function openLogThatIsThere({ log, onNotice }: RunRequest): Promise<EventLog | undefined> {
  try {
    return await openLog(log, { create: false, onNotice: logNotices(onNotice) });
  } catch (error) {
    if (isHeadwaterError(error, "LogMissing")) return undefined;
    throw error;
  }
}

/** Makes the log, unless it is clear already that nothing would be done. */
async function makeLog(request: RunRequest, targets: ReadonlyMap<string, SinkTarget>): Promise<EventLog> {
  if (!isModulePath(request.pipeline)) throw unknownPipeline(request.pipeline);
  for (const target of targets.values()) await mustNotBeForeign(target);
  return await openLog(request.log, { onNotice: logNotices(request.onNotice) });
}

interface Loaded {
  readonly plan: Plan;
  readonly bundle: Bundle;
}

async function runLoaded(
  surroundings: Surroundings,
  log: EventLog,
  { plan, bundle }: Loaded,
  request: RunRequest,
  intakes: ReadonlyMap<string, Intake>,
  inputs: readonly Input[],
  targets: ReadonlyMap<string, SinkTarget>,
): Promise<RunReport> {
  const { clock } = surroundings;
  const { definition } = plan;
  const board = new ProgressBoard();
  const started = clock.monotonic();
  const nodes = request.nodes ?? 1;
  for (const { name } of plan.sources) {
    if (!request.inputs.has(name)) request.onNotice?.({ kind: "no-input", source: name });
  }
  const probe = probeFromEnvironment();
  await checkOutputs(log, plan, targets);
  const stopProgress = reportProgress(surroundings, request, board, inputs);
  try {
    const deployed = await runPipeline(
      { ...surroundings, log, runtime: runtimeVersions(), ...(probe !== undefined && { probe }) },
      {
        plan,
        bundle,
        intakes,
        targets,
        nodes,
        batchRecords: request.batchRecords ?? definition.batchRecords,
        tickMs: request.tickMs ?? definition.tickMs,
        provenance: "full",
        follow: request.follow ?? false,
        keepOpen: request.keepOpen ?? false,
        signal: request.signal ?? new AbortController().signal,
        board,
        ...noticesTo(definition, request.onNotice),
      },
    );
    const seconds = (clock.monotonic() - started) / MS_PER_SECOND;
    return await reportOf(log, definition, deployed, board, nodes, seconds);
  } finally {
    stopProgress();
  }
}

async function loadModule({ bundler }: Surroundings, request: RunRequest): Promise<Loaded> {
  const bundle = await bundler.bundle(resolve(request.pipeline));
  return planned(bundle, definitionOf(bundler.load(bundle), request.pipeline), request);
}

async function loadDeployed({ bundler }: Surroundings, log: EventLog, request: RunRequest): Promise<Loaded> {
  const deployed = await currentDeployment(log, request.pipeline);
  if (deployed === undefined) throw unknownPipeline(request.pipeline);
  const { bundle, exported } = await loadDeployedCode(log, bundler, deployed);
  return planned(bundle, definitionOf(exported, bundle.module), request, deployed.parameters);
}

/** `deployed`: values of parameters that hold unless the request has others. */
function planned(
  bundle: Bundle,
  definition: PipelineDefinition,
  request: RunRequest,
  deployed: DeployedParameters = {},
): Loaded {
  const plan = planPipeline(definition, [
    ...overridesOf(deployed),
    ...overridesOf(request.parameters),
    ...overridesOfTexts(request.parameterTexts),
  ]);
  checkNames(plan, request);
  return { bundle, plan };
}

function checkNames(plan: Plan, request: RunRequest): void {
  mustKnow("UnknownSource", "source", plan.definition, request.inputs, plan.definition.sources);
  mustKnow("UnknownSink", "sink", plan.definition, request.outputs, plan.definition.sinks);
}

function mustKnow(
  code: "UnknownSource" | "UnknownSink",
  kind: string,
  definition: PipelineDefinition,
  named: ReadonlyMap<string, string>,
  known: readonly { readonly name: string }[],
): void {
  for (const name of named.keys()) {
    if (known.some((other) => other.name === name)) continue;
    const names = known.map((other) => other.name).join(", ");
    throw new HeadwaterError(code, `the pipeline has no ${kind} ${JSON.stringify(name)}`, {
      where: `pipeline ${definition.name}`,
      hint: names === "" ? `It has no ${kind}s.` : `It has: ${names}.`,
    });
  }
}

async function openIntakes(
  { files, clock }: Surroundings,
  request: RunRequest,
  opened: Input[],
): Promise<Map<string, Intake>> {
  const intakes = new Map<string, Intake>();
  for (const [source, path] of request.inputs) {
    const intake = await FileIntake.open({
      open: () => files.openInput(path),
      clock,
      again: request.again ?? false,
      follow: request.follow ?? false,
      onOpened: (input) => opened.push(input),
    });
    intakes.set(source, intake);
  }
  return intakes;
}

function targetsOf({ files }: Surroundings, request: RunRequest): Map<string, SinkTarget> {
  return new Map(
    [...request.outputs].map(([sink, path]) => [
      sink,
      path === STDIO ? new StdoutTarget(files) : new FileTarget(files, resolve(path)),
    ]),
  );
}

/** A mistake in a path is told before anything is accepted for it. */
async function checkOutputPath(path: string): Promise<void> {
  if (/\.(gz|csv)$/.test(path)) {
    throw new HeadwaterError("BadUsage", "outputs are JSON lines, not compressed", {
      where: path,
      hint: "Name a file that ends in .jsonl.",
    });
  }
  const folder = dirname(resolve(path));
  if (!(await stat(folder).catch(() => undefined))?.isDirectory()) {
    throw new HeadwaterError("BadUsage", "there is no such folder for the output", {
      where: folder,
      hint: "Make it, or name another one.",
    });
  }
  if ((await stat(path).catch(() => undefined))?.isDirectory()) {
    throw new HeadwaterError("BadUsage", "the output is a folder", {
      where: path,
      hint: "Name a file in it.",
    });
  }
}

/** Two sinks that write one file would each find it changed by the other. */
async function checkOutputPaths(request: RunRequest): Promise<void> {
  const sinkOf = new Map<string, string>();
  for (const [sink, path] of request.outputs) {
    if (path !== STDIO) await checkOutputPath(path);
    const other = sinkOf.get(resolve(path));
    if (path !== STDIO && other !== undefined) {
      throw new HeadwaterError("BadUsage", `the sinks ${other} and ${sink} are to write the same file`, {
        where: path,
        hint: "Give each sink a file of its own.",
      });
    }
    sinkOf.set(resolve(path), sink);
  }
}

/** Refuses outputs with foreign content, and those that were changed, before anything is done. */
async function checkOutputs(
  log: EventLog,
  plan: Plan,
  targets: ReadonlyMap<string, SinkTarget>,
): Promise<void> {
  for (const [sink, target] of targets) {
    const history = await sinkHistory(log, plan.definition.name, sink, target);
    if (history === undefined) await mustNotBeForeign(target);
    else if (await target.hasContent()) await target.mustHold(history.place.bytes, history.last);
  }
}

/** Tells progress while a run lasts; answers how to stop that. */
function reportProgress(
  { clock }: Surroundings,
  request: RunRequest,
  board: ProgressBoard,
  inputs: readonly Input[],
): () => void {
  const { onProgress } = request;
  if (onProgress === undefined) return () => {};
  let cancel = () => {};
  const tell = () => {
    const sizes = inputs.map((input) => input.bytes);
    const bytes = sizes.every((size) => size !== undefined)
      ? sizes.reduce((sum, size) => sum + size, 0)
      : undefined;
    onProgress({
      accepted: board.totals.accepted,
      delivered: Math.max(0, board.totals.accepted - board.pending),
      bytes,
      bytesRead: inputs.reduce((sum, input) => sum + input.bytesRead(), 0),
    });
    cancel = clock.setTimeout(tell, PROGRESS_MS);
  };
  tell();
  return () => cancel();
}
