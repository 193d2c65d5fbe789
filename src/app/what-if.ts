import { resolve } from "node:path";
import { HeadwaterError } from "../core/errors.ts";
import type { DeployedFork, PipelineDeployed } from "../core/events.ts";
import { checkName } from "../core/names.ts";
import { forkName, pipelineStream, sourceStream } from "../core/streams.ts";
import { overridesOf, overridesOfTexts } from "../pipeline/parameter-overrides.ts";
import { type Plan, planPipeline } from "../pipeline/plan.ts";
import type { Bundle } from "../ports/bundler.ts";
import type { EventLog } from "../ports/event-log.ts";
import { highestThrough, lastThrough, lowestThrough } from "../runtime/completed.ts";
import { createSurroundings, openLog, type Surroundings } from "../runtime/compose.ts";
import { definitionOf, loadDeployedCode, readDeployedCode } from "../runtime/deployment.ts";
import { type DeploymentHistory, forkedPlan } from "../runtime/deployment-history.ts";
import { mustFit } from "../runtime/fork-fit.ts";
import { deploymentsIn, type Reuse, reusableSegments } from "../runtime/fork-reuse.ts";
import { keptWindow, servedWindow } from "../runtime/fork-window.ts";
import { idInUse } from "../runtime/replay-id.ts";
import { sameFunctions } from "../runtime/same-functions.ts";
import { processAtWork } from "../runtime/supervision.ts";
import { runtimeVersions } from "../runtime/versions.ts";
import { askedOutputs, type ForkBinding, rememberedOutputs } from "./fork-outputs.ts";
import { recordsIn, runAndCompare } from "./fork-replay.ts";
import { type HistoryWindow, nothingIn, WindowSeek } from "./history-window.ts";
import { historyOf, isModulePath } from "./pipeline-name.ts";
import { readChecked } from "./read-log.ts";
import { checkFork, checkMap } from "./replay-options.ts";
import { chosenIn, resolved, selectionOf } from "./replay-selection.ts";
import { STDIO } from "./run-outputs.ts";
import { checkPoint } from "./state.ts";
import type { WhatIfReport, WhatIfRequest } from "./what-if-types.ts";

const NOTHING_REUSED: Reuse = { reused: [], cuts: [] };

/** Characters of an id that is made up. */
const ID_CHARS = 8;

/**
 * Runs another version of a pipeline over a part of its history, and compares what comes of it with what was recorded:
 * `headwater replay --what-if`. The state at the beginning is what it was then; what effects gave is served from the
 * log. Everything is written to a fork of its own; the pipeline's own streams are only read, and it may be running.
 * Each event that is read is held to its digest. Throws `UnknownPipeline`, `BadUsage` for a window in which nothing is
 * and an id that is in use, `IncompatibleDeployment` for a version that cannot be compared, `EffectMissing`,
 * `StageFailed`, `LogDamaged`, and `Stopped`, after which it can be resumed.
 */
export async function whatIf(request: WhatIfRequest): Promise<WhatIfReport> {
  checkPoint(request.from, "from");
  checkPoint(request.to, "to");
  checkFork(request);
  checkMap(
    request.parameters,
    "parameters",
    'a text for each "STAGE.PARAM": new Map([["score.factor", "2"]])',
  );
  mustChangeSomething(request);
  const outputs = await askedOutputs(request);
  const surroundings = createSurroundings();
  const { bundler, ids } = surroundings;
  const id = request.id ?? ids.uuid().slice(0, ID_CHARS);
  checkName("replay", id);
  const name = isModulePath(request.pipeline)
    ? definitionOf(bundler.load(await bundler.bundle(resolve(request.pipeline))), request.pipeline).name
    : request.pipeline;
  const opened = await openLog(request.log, { create: false, courteous: true });
  try {
    return await readChecked(opened, (log) => whatIfIn(surroundings, log, name, id, outputs, request));
  } finally {
    await opened.close();
  }
}

async function whatIfIn(
  surroundings: Surroundings,
  log: EventLog,
  name: string,
  id: string,
  outputs: ReadonlyMap<string, ForkBinding>,
  request: WhatIfRequest,
): Promise<WhatIfReport> {
  const { bundler, clock } = surroundings;
  const history = await historyOf(surroundings, log, name);
  const asked = selectionOf(history, request);
  const { signal = new AbortController().signal } = request;
  const asking = await settledWindow(surroundings, log, history, { ...request, signal });
  if ((await recordsIn(log, history, asking)) === 0) throw nothingIn(name, asking);
  const { plan, bundle } = await candidate(surroundings, log, history, request);
  const of = { log, clock, history, plan, signal };
  const kept = await keptWindow(of, asking);
  const { gaps } = kept;
  mustFit(history, plan, kept.window);
  const forkedName = forkName(name, id);
  if ((await log.streamInfo(pipelineStream(forkedName))) !== undefined) throw idInUse(id, name);
  const reuse = request.full
    ? NOTHING_REUSED
    : await reusableSegments({
        ...{ log, history, plan, bundle, ...kept.window },
        runtime: runtimeVersions(),
        sameFunctions: sameFunctions(bundler, async () => {
          const ran = deploymentsIn({ history, ...kept.window });
          return [bundle, ...(await Promise.all(ran.map((one) => readDeployedCode(log, one))))];
        }),
      });
  const { window, effectsGone } =
    request.newEffects === "called"
      ? { window: kept.window, effectsGone: undefined }
      : await servedWindow(of, kept, reuse.reused);
  // What chooses nothing is told before anything is run.
  const selection = await chosenIn({ surroundings, log, history, window, signal }, asked);
  const only = resolved(asked, selection);
  const fork: DeployedFork = {
    pipeline: name,
    to: window.to,
    ...reuse,
    newEffects: request.newEffects ?? "refused",
    ...(gaps && { gaps }),
    ...(window.from !== asking.from && { since: asking.from }),
    ...(effectsGone !== undefined && { effectsGone }),
    ...(only !== undefined && { only }),
    ...(request.diff !== undefined && request.diff !== STDIO && { diff: resolve(request.diff) }),
    ...(outputs.size > 0 && { outputs: rememberedOutputs(outputs) }),
  };
  const forked = forkedPlan(plan, forkedName, fork);
  return await runAndCompare(
    surroundings,
    log,
    { history, plan: forked, bundle, fork, window, id, selection, isNew: true },
    outputs,
    request,
  );
}

/** What the compiler does not see to: without either it would be compared with itself. */
function mustChangeSomething({ whatIf: other, parameters }: WhatIfRequest): void {
  if (other !== undefined || (parameters?.size ?? 0) > 0) return;
  throw new HeadwaterError("BadUsage", "there is no other code, and no other parameters, to compare with", {
    where: "whatIf",
    hint: "Give whatIf (a module's path, or the number of a version), or parameters.",
  });
}

/** A window up to where its history can have no more records, and where all of it has gone through the pipeline. */
async function settledWindow(
  surroundings: Surroundings,
  log: EventLog,
  history: DeploymentHistory,
  request: WhatIfRequest & { readonly signal: AbortSignal },
): Promise<HistoryWindow> {
  const { pipeline, current } = history;
  const { to, signal } = request;
  const window = await (await WindowSeek.begin(log, history, request)).whole(signal);
  const through = await throughAll(log, pipeline, current);
  const behind = through < (await highestThrough(log, pipeline, current));
  // Of a pipeline that stands still, at a stage that fails, also what it has not come to can be run.
  const atWork = behind && (await processAtWork({ ...surroundings, log, pipeline })) !== undefined;
  const end = behind && (atWork || to === undefined) ? Math.min(window.to, through) : window.to;
  if (end < window.from) throw nothingIn(pipeline, window, "the pipeline has not come to it yet");
  return { from: window.from, to: end };
}

/** Up to which ordinal everything is accepted, and through. */
async function throughAll(log: EventLog, pipeline: string, deployed: PipelineDeployed): Promise<number> {
  let through = await lowestThrough(log, pipeline, deployed);
  for (const { name } of deployed.sources) {
    through = Math.min(through, await lastThrough(log, sourceStream(pipeline, name)));
  }
  return through;
}

interface Candidate {
  readonly plan: Plan;
  readonly bundle: Bundle;
}

/** What is to be run. A module's parameters have their defaults, a version's those that it ran with. */
async function candidate(
  { bundler }: Surroundings,
  log: EventLog,
  history: DeploymentHistory,
  { whatIf: what, parameters }: WhatIfRequest,
): Promise<Candidate> {
  const set = overridesOfTexts(parameters);
  if (what !== undefined && !/^\d+$/.test(what)) {
    const bundle = await bundler.bundle(resolve(what));
    return { bundle, plan: planPipeline(definitionOf(bundler.load(bundle), what), set) };
  }
  const deployed = what === undefined ? history.current : versionOf(history, Number(what));
  const { bundle, exported } = await loadDeployedCode(log, bundler, deployed);
  const definition = definitionOf(exported, bundle.module);
  return { bundle, plan: planPipeline(definition, [...overridesOf(deployed.parameters), ...set]) };
}

function versionOf(history: DeploymentHistory, version: number): PipelineDeployed {
  const found = history.all.find((deployed) => deployed.version === version);
  if (found !== undefined) return found;
  throw new HeadwaterError("BadUsage", `pipeline ${history.pipeline} has no version ${version} in this log`, {
    where: "--what-if",
    hint: `It has versions 1 to ${history.current.version}. A module's path ends in .ts or .js.`,
  });
}
