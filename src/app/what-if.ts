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
import { definitionOf, loadDeployedCode } from "../runtime/deployment.ts";
import { DeploymentHistory, forkedPlan } from "../runtime/deployment-history.ts";
import { mustFit } from "../runtime/fork-fit.ts";
import { firstBeginning, isBroken, isGone, recordedFrom } from "../runtime/fork-gaps.ts";
import { type Reuse, reusableSegments } from "../runtime/fork-reuse.ts";
import { lostEffects } from "../runtime/lost-effects.ts";
import { lostRecords } from "../runtime/lost-records.ts";
import { sameFunctions } from "../runtime/same-functions.ts";
import { processAtWork } from "../runtime/supervision.ts";
import { runAndCompare } from "./fork-replay.ts";
import { type HistoryWindow, nothingIn, windowOf } from "./history-window.ts";
import { isModulePath, unknownPipeline } from "./pipeline-name.ts";
import { idInUse } from "./replay-id.ts";
import { chosenIn, resolved, selectionOf } from "./replay-selection.ts";
import type { WhatIfReport, WhatIfRequest } from "./what-if-types.ts";

const NOTHING_REUSED: Reuse = { reused: [], cuts: [] };

/** Characters of an id that is made up. */
const ID_CHARS = 8;

/**
 * Runs another version of a pipeline over a part of its history, and compares what comes of it with what was recorded:
 * `headwater replay --what-if`. The state at the beginning is what it was then; what effects gave is served from the
 * log. Everything is written to a fork of its own; the pipeline's own streams are only read, and it may be running.
 * Throws `UnknownPipeline`, `BadUsage` for a window in which nothing is and an id that is in use,
 * `IncompatibleDeployment` for a version that cannot be compared, `EffectMissing`, `StageFailed`, and `Stopped`, after
 * which it can be resumed.
 */
export async function whatIf(request: WhatIfRequest): Promise<WhatIfReport> {
  const surroundings = createSurroundings();
  const { bundler, ids } = surroundings;
  const id = request.id ?? ids.uuid().slice(0, ID_CHARS);
  checkName("replay", id);
  const name = isModulePath(request.pipeline)
    ? definitionOf(bundler.load(await bundler.bundle(resolve(request.pipeline))), request.pipeline).name
    : request.pipeline;
  const log = await openLog(request.log, { create: false, courteous: true });
  try {
    const history = await DeploymentHistory.read(log, bundler, name);
    if (history === undefined) throw unknownPipeline(name);
    const asked = selectionOf(history, request);
    const asking = await settledWindow(surroundings, log, history, request);
    const { plan, bundle } = await candidate(surroundings, log, history, request);
    const { signal = new AbortController().signal } = request;
    const kept = await keptWindow(surroundings, log, history, plan, asking, signal);
    const { gaps } = kept;
    mustFit(history, plan, kept.window);
    const of = forkName(name, id);
    if ((await log.streamInfo(pipelineStream(of))) !== undefined) throw idInUse(id, name);
    const reuse = request.full
      ? NOTHING_REUSED
      : await reusableSegments({
          ...{ log, history, plan, bundle, ...kept.window },
          sameFunctions: sameFunctions(bundler),
        });
    const { window, effectsGone } =
      request.newEffects === "called"
        ? { window: kept.window, effectsGone: undefined }
        : await servedWindow(surroundings, log, history, plan, { ...kept, ...reuse }, signal);
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
    };
    const forked = forkedPlan(plan, of, fork);
    return await runAndCompare(
      surroundings,
      log,
      { history, plan: forked, bundle, fork, window, id, selection },
      request,
    );
  } finally {
    await log.close();
  }
}

/** A window up to where its history can have no more records, and where all of it has gone through the pipeline. */
async function settledWindow(
  surroundings: Surroundings,
  log: EventLog,
  history: DeploymentHistory,
  { from, to }: WhatIfRequest,
): Promise<HistoryWindow> {
  const { pipeline, current } = history;
  const window = await windowOf(log, history, from, to);
  const through = await throughAll(log, pipeline, current);
  const behind = through < (await highestThrough(log, pipeline, current));
  // Of a pipeline that stands still, at a stage that fails, also what it has not come to can be run.
  const atWork = behind && (await processAtWork({ ...surroundings, log, pipeline })) !== undefined;
  const end = behind && (atWork || to === undefined) ? Math.min(window.to, through) : window.to;
  if (end < window.from)
    throw nothingIn(pipeline, { ...window, to: end }, "the pipeline has not come to it yet");
  return { from: window.from, to: end };
}

/**
 * The part of a window that can be run: where it begins, records are kept, and the state of then can be brought back.
 * Throws `RecordGone` where that is nowhere.
 */
async function keptWindow(
  { clock }: Surroundings,
  log: EventLog,
  history: DeploymentHistory,
  plan: Plan,
  window: HistoryWindow,
  signal: AbortSignal,
): Promise<{ readonly window: HistoryWindow; readonly gaps?: true }> {
  const { pipeline } = history;
  if (!(await letsGo(log, pipeline))) return { window };
  const sources = plan.sources.map(({ name }) => name);
  const lost = await lostRecords({ log, pipeline, sources, ...window, signal });
  const begin = await recordedFrom(log, history, lost.begin);
  if (begin > window.to) {
    throw new HeadwaterError("RecordGone", "nothing of the window can be run: its records were let go of", {
      where: lost.first ?? `ordinals ${window.from} to ${window.to}`,
      hint: 'See "How long history is kept" in the README.',
    });
  }
  // In the middle of records that are missing there is no state to begin with.
  if (isBroken(lost)) return { window: { ...window, from: begin }, gaps: true };
  const from = await firstBeginning({ log, clock, history, plan, ...window, from: begin, signal });
  return { window: { ...window, from } };
}

/** The part of a window for which the results of effects are kept. Throws `RecordGone` where that is nothing. */
async function servedWindow(
  { clock }: Surroundings,
  log: EventLog,
  history: DeploymentHistory,
  plan: Plan,
  { window, gaps, reused }: { readonly window: HistoryWindow; readonly gaps?: true } & Reuse,
  signal: AbortSignal,
): Promise<{ readonly window: HistoryWindow; readonly effectsGone?: string }> {
  const lost = await lostEffects({ log, history, plan, reused, ...window, signal });
  if (lost === undefined) return { window };
  const nothing = (cause?: HeadwaterError) =>
    new HeadwaterError(
      "RecordGone",
      "nothing of the window can be run: results of its effects were let go of",
      {
        where: lost.first,
        hint: "A replay calls nothing unless it is told to: --new-effects call lets it call them again.",
        cause,
      },
    );
  if (lost.begin > window.to) throw nothing();
  if (gaps) return { window: { ...window, from: lost.begin }, effectsGone: lost.first };
  try {
    const from = await firstBeginning({ log, clock, history, plan, ...window, from: lost.begin, signal });
    return { window: { ...window, from }, effectsGone: lost.first };
  } catch (error) {
    throw isGone(error) ? nothing(error) : error;
  }
}

/** Whether something of a pipeline's records or states was let go of. */
async function letsGo(log: EventLog, pipeline: string): Promise<boolean> {
  const prefixes = ["source", "payload", "transit", "steps", "state", "effects"].map(
    (kind) => `${kind}_${pipeline}.`,
  );
  for await (const { firstRevision } of log.streams({ prefixes })) if (firstRevision > 0) return true;
  return false;
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
