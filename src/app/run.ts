import { resolve } from "node:path";
import { isHeadwaterError } from "../core/errors.ts";
import type { DeployedParameters } from "../core/events.ts";
import type { PipelineDefinition } from "../pipeline/definition.ts";
import { overridesOf, overridesOfTexts } from "../pipeline/parameter-overrides.ts";
import { type Plan, planPipeline } from "../pipeline/plan.ts";
import type { Bundle } from "../ports/bundler.ts";
import type { EventLog } from "../ports/event-log.ts";
import { createRunWatchdog, createSurroundings, openLog, type Surroundings } from "../runtime/compose.ts";
import { currentDeployment, definitionOf, loadDeployedCode } from "../runtime/deployment.ts";
import { probeFromEnvironment } from "../runtime/fail-points.ts";
import type { Intake } from "../runtime/intake.ts";
import { runPipeline } from "../runtime/pipeline-run.ts";
import { ProgressBoard } from "../runtime/progress-board.ts";
import { mustNotBeForeign, type SinkTarget } from "../runtime/sink-target.ts";
import { runtimeVersions } from "../runtime/versions.ts";
import { beginWork } from "./at-work.ts";
import { HeldBack } from "./backpressure.ts";
import { checkpointsOfRun, mustBeTimes } from "./checkpoint-timer.ts";
import { chooseExecutor } from "./executor.ts";
import { tellLeftOut } from "./left-out-sinks.ts";
import { isModulePath, mustKnow, unknownPipeline } from "./pipeline-name.ts";
import { logNotices, noticesTo, reportOf } from "./report.ts";
import { openIntakes } from "./run-inputs.ts";
import { checkOutputs, mustNotWrite, openTargets } from "./run-outputs.ts";
import type { RunReport, RunRequest } from "./run-types.ts";

/** How often progress is told, in milliseconds. */
const PROGRESS_MS = 100;
const EVERY_OPTION = "--checkpoint-every";

/**
 * Runs a pipeline from files to files: `headwater run`. Throws a `HeadwaterError`; what had been accepted by then
 * is kept, and the next run goes on with it.
 */
export async function run(request: RunRequest): Promise<RunReport> {
  const surroundings = createSurroundings();
  // The module first: a mistake in it must not leave an empty log behind.
  const module = isModulePath(request.pipeline) ? await loadModule(surroundings, request) : undefined;
  const intakes = await openIntakes(surroundings, request);
  const targets = await openTargets(surroundings, request);
  await mustBeTimes(request.checkpoints, EVERY_OPTION);
  await mustNotWrite(targets, request.checkpoints?.out, "the checkpoints");
  const log = (await openLogThatIsThere(request)) ?? (await makeLog(request, targets));
  const endWork = beginWork();
  try {
    const loaded = module ?? (await loadDeployed(surroundings, log, request));
    const timer = await checkpointsOfRun(log, request.checkpoints, EVERY_OPTION, request.onNotice);
    try {
      return await runLoaded(surroundings, log, loaded, request, intakes, targets);
    } finally {
      await timer?.stop();
    }
  } finally {
    endWork();
    for (const intake of intakes.values()) await intake.close?.();
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
  targets: ReadonlyMap<string, SinkTarget>,
): Promise<RunReport> {
  const { clock } = surroundings;
  const { definition } = plan;
  const board = new ProgressBoard();
  const started = clock.monotonic();
  const executor = chooseExecutor(request, surroundings, definition.partitions);
  for (const { name } of plan.sources) {
    if (!request.inputs.has(name)) request.onNotice?.({ kind: "no-input", source: name });
  }
  const probe = probeFromEnvironment();
  await checkOutputs(surroundings, log, plan, targets);
  await tellLeftOut(log, plan, targets, request.onNotice);
  const stopProgress = reportProgress(surroundings, request, plan, board, [...intakes.values()]);
  try {
    const end = await runPipeline(
      {
        ...surroundings,
        log,
        runtime: runtimeVersions(),
        ...(request.tellsStalls && { watchdog: createRunWatchdog() }),
        ...(probe !== undefined && { probe }),
      },
      {
        plan,
        bundle,
        intakes,
        targets,
        ...executor,
        batchRecords: request.batchRecords ?? definition.batchRecords,
        tickMs: request.tickMs ?? definition.tickMs,
        provenance: "full",
        follow: request.follow ?? false,
        keepOpen: request.keepOpen ?? false,
        signal: request.signal ?? new AbortController().signal,
        ...(request.drainMs !== undefined && { drainMs: request.drainMs }),
        board,
        ...(request.beforeWork !== undefined && { beforeWork: () => request.beforeWork?.(log, plan) }),
        ...noticesTo(definition, request.onNotice),
      },
    );
    const time = { started, ended: clock.monotonic() };
    return await reportOf({ log, clock, plan, targets, board, nodes: executor.nodes, end, time });
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

/** Tells progress while a run lasts; answers how to stop that. */
function reportProgress(
  { clock }: Surroundings,
  request: RunRequest,
  plan: Plan,
  board: ProgressBoard,
  intakes: readonly Intake[],
): () => void {
  const { onProgress } = request;
  if (onProgress === undefined) return () => {};
  let cancel = () => {};
  const heldBack = new HeldBack(plan);
  const tell = () => {
    const now = clock.monotonic();
    const extents = intakes.map((intake) => intake.extent());
    const bytes = extents.reduce<number | undefined>(
      (sum, extent) => (sum === undefined || extent.bytes === undefined ? undefined : sum + extent.bytes),
      0,
    );
    onProgress({
      accepted: board.totals.accepted,
      delivered: Math.max(0, board.totals.accepted - board.pending),
      bytes,
      bytesRead: extents.reduce((sum, { read }) => sum + read, 0),
      heldBackBy: heldBack.look(now, board.pressure.holdUps(now)),
    });
    cancel = clock.setTimeout(tell, PROGRESS_MS);
  };
  tell();
  return () => cancel();
}
