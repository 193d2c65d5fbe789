import { HeadwaterError, isHeadwaterError } from "../core/errors.ts";
import type { DeployedFork, PipelineDeployed, ReplayAsk } from "../core/events.ts";
import { forkOf, pipelineStream } from "../core/streams.ts";
import type { EventLog } from "../ports/event-log.ts";
import { createSurroundings, openLog, type Surroundings } from "../runtime/compose.ts";
import { loadDeployedCode } from "../runtime/deployment.ts";
import { DeploymentHistory } from "../runtime/deployment-history.ts";
import { askedOf, askOf } from "../runtime/fork-asks.ts";
import { processAtWork } from "../runtime/supervision.ts";
import { forkThrough, heldUntil } from "../runtime/unfinished-replays.ts";
import { readVerification } from "../runtime/verification.ts";
import { askedOutputs, type ForkBinding, outputsAgain } from "./fork-outputs.ts";
import { compareFork, recordsIn, runAndCompare } from "./fork-replay.ts";
import type { ForkQuery, ForkSummary, ReplayDetails, ReplaySummary, ResumeRequest } from "./forks-types.ts";
import { unknownPipeline } from "./pipeline-name.ts";
import { readChecked, readLog } from "./read-log.ts";
import { checkFork } from "./replay-options.ts";
import { statusOf } from "./replay-status.ts";
import type { ReplayReport } from "./replay-types.ts";
import { resumeVerification, showVerification, verificationSummary } from "./verifications.ts";
import type { WhatIfReport } from "./what-if-types.ts";

/** The replays that are in the log, in the order of their names: `headwater replay list`. */
export async function listReplays({ log: spec }: Pick<ForkQuery, "log">): Promise<readonly ReplaySummary[]> {
  const surroundings = createSurroundings();
  return readLog(spec, async (log) => {
    const found: ReplaySummary[] = [];
    for (const name of await replayNames(log)) {
      found.push(
        (await verificationSummary(surroundings, log, name)) ??
          (await summaryOf(surroundings, log, await forkIn(surroundings, log, name))),
      );
    }
    return found;
  });
}

/** How a replay is, and what came of it: `headwater replay show`. Throws `BadUsage` for an id that is not there. */
export async function showReplay({ log: spec, id }: ForkQuery): Promise<ReplayDetails> {
  const surroundings = createSurroundings();
  return readLog(spec, async (log) => {
    const name = await nameOf(log, id);
    const verification = await showVerification(surroundings, log, name);
    if (verification !== undefined) return verification;
    const fork = await forkIn(surroundings, log, name);
    const summary = await summaryOf(surroundings, log, fork);
    if (summary.status !== "done") return { ...summary, report: undefined };
    const signal = new AbortController().signal;
    return {
      ...summary,
      report: await compareFork(surroundings, log, await toRun(surroundings, log, fork), undefined, signal),
    };
  });
}

/**
 * Goes on with a replay, from where it is in the log: `headwater replay resume`. One with a fork is compared at the end,
 * and once more if it is done. Throws as `whatIf` or `replay`; `BadUsage` for one that another process is at, or that was
 * stopped for good.
 */
export async function resumeReplay(request: ResumeRequest): Promise<WhatIfReport | ReplayReport> {
  checkFork(request);
  const surroundings = createSurroundings();
  const asked = await askedOutputs(request);
  const opened = await openLog(request.log, { create: false, courteous: true });
  try {
    return await readChecked(opened, (log) => resumeIn(surroundings, log, request, asked));
  } finally {
    await opened.close();
  }
}

async function resumeIn(
  surroundings: Surroundings,
  log: EventLog,
  request: ResumeRequest,
  asked: ReadonlyMap<string, ForkBinding>,
): Promise<WhatIfReport | ReplayReport> {
  const name = await nameOf(log, request.id);
  await mustBeFree(surroundings, log, name);
  const { onVerifyProgress, ...more } = request;
  if ((await readVerification(log, name)) !== undefined) {
    const { onProgress: _, ...rest } = more;
    return await resumeVerification(surroundings, log, name, { ...rest, onProgress: onVerifyProgress });
  }
  const fork = await forkIn(surroundings, log, name);
  const outputs = await outputsAgain(log, name, fork.fork, asked);
  const isThrough = (await forkThrough(log, name, fork.deployed)) >= fork.fork.to;
  const run = { ...(await toRun(surroundings, log, fork)), isThrough };
  if (!isThrough) await askOf(log, surroundings.clock, surroundings.processes, name, "resume");
  try {
    return await runAndCompare(surroundings, log, run, outputs, more);
  } catch (error) {
    if (!isHeadwaterError(error, "RecordGone") || (await isDone(surroundings, log, name))) throw error;
    throw cannotGoOn(error, name);
  }
}

/** Throws `BadUsage` where a replay cannot be gone on with. One that is through is done, whatever was asked of it then. */
async function mustBeFree(surroundings: Surroundings, log: EventLog, name: string): Promise<void> {
  const { clock, processes } = surroundings;
  const other = await processAtWork({ log, clock, processes, pipeline: name });
  if (other !== undefined) {
    throw refused(
      name,
      `process ${other.pid} on ${other.host} is at it`,
      `Pause it there first: headwater replay pause ${name}.`,
    );
  }
  if ((await askedOf(log, name)) === "stop" && !(await isDone(surroundings, log, name))) {
    throw refused(name, "it was stopped for good", "Begin another one, with another id.");
  }
}

/** Whether a replay is through, so that nothing can be asked of it any more. */
async function isDone(surroundings: Surroundings, log: EventLog, name: string): Promise<boolean> {
  const verification = await readVerification(log, name);
  if (verification !== undefined) return verification.report !== undefined;
  const fork = await forkIn(surroundings, log, name);
  return (await forkThrough(log, name, fork.deployed)) >= fork.fork.to;
}

/**
 * Asks whoever is at a replay to stand still, or to end it for good: `headwater replay pause`, `stop`. Answers how it is
 * when it was asked; nothing is asked of one that is done, or was stopped before. Throws `BadUsage` for an id that is
 * not there.
 */
export async function askReplay({
  log: spec,
  id,
  ask,
}: ForkQuery & { readonly ask: ReplayAsk }): Promise<ReplaySummary> {
  const surroundings = createSurroundings();
  const opened = await openLog(spec, { create: false });
  const asked = async (log: EventLog): Promise<ReplaySummary> => {
    const name = await nameOf(log, id);
    const fork =
      (await readVerification(log, name)) === undefined ? await forkIn(surroundings, log, name) : undefined;
    if (!(await isDone(surroundings, log, name))) {
      await askOf(log, surroundings.clock, surroundings.processes, name, ask);
    }
    if (fork !== undefined) return await summaryOf(surroundings, log, fork);
    const summary = await verificationSummary(surroundings, log, name);
    if (summary === undefined) throw unknownPipeline(name);
    return summary;
  };
  try {
    return await readChecked(opened, asked);
  } finally {
    await opened.close();
  }
}

/** A fork as the log has it. */
interface Fork {
  /** `PIPELINE~ID`. */
  readonly name: string;
  readonly id: string;
  readonly forked: DeploymentHistory;
  readonly deployed: PipelineDeployed;
  readonly fork: DeployedFork;
  /** Of the pipeline whose history it is. */
  readonly history: DeploymentHistory;
}

async function replayNames(log: EventLog): Promise<string[]> {
  const names: string[] = [];
  const prefix = pipelineStream("");
  for await (const { stream } of log.streams({ prefixes: [prefix] })) {
    const name = stream.slice(prefix.length);
    if (forkOf(name) !== undefined) names.push(name);
  }
  return names;
}

async function nameOf(log: EventLog, id: string): Promise<string> {
  const names = await replayNames(log);
  const [found, another] = names.filter((name) => name === id || forkOf(name)?.id === id);
  if (found !== undefined && another === undefined) return found;
  throw new HeadwaterError(
    "BadUsage",
    found === undefined ? "there is no replay of this id" : "several pipelines have a replay of this id",
    {
      where: id,
      hint:
        found === undefined
          ? "headwater replay list shows those that there are."
          : `Name it ${found} or ${another}.`,
    },
  );
}

async function forkIn({ bundler }: Surroundings, log: EventLog, name: string): Promise<Fork> {
  const forked = await DeploymentHistory.read(log, bundler, name);
  const { pipeline = name, id = "" } = forkOf(name) ?? {};
  const history = await DeploymentHistory.read(log, bundler, pipeline);
  const deployed = forked?.current;
  if (forked === undefined || history === undefined || deployed?.fork === undefined)
    throw unknownPipeline(name);
  return { name, id, forked, deployed, fork: deployed.fork, history };
}

async function summaryOf({ clock, processes }: Surroundings, log: EventLog, of: Fork): Promise<ForkSummary> {
  const { name, id, deployed, fork, history } = of;
  const window = { from: deployed.from, to: fork.to };
  const through = Math.min(await forkThrough(log, name, deployed), fork.to);
  const status = await statusOf(log, { clock, processes }, name, through >= fork.to);
  return {
    id,
    mode: "what-if",
    pipeline: history.pipeline,
    status,
    heldUntil: status === "done" || status === "stopped" ? undefined : await heldUntil(log, name),
    begun: deployed.wall,
    ...window,
    records: through < window.from ? 0 : await recordsIn(log, history, { ...window, to: through }),
    of: await recordsIn(log, history, window),
    module: deployed.module,
    parameters: deployed.parameters,
    newEffects: fork.newEffects,
    only: fork.only,
  };
}

async function toRun(
  { bundler }: Surroundings,
  log: EventLog,
  { id, forked, deployed, fork, history }: Fork,
) {
  const { bundle } = await loadDeployedCode(log, bundler, deployed);
  const window = { from: deployed.from, to: fork.to };
  const plan = await forked.planOf(deployed);
  return { history, plan, bundle, fork, window, id, selection: undefined };
}

/** Of a replay that runs other code nothing can be left out in its middle: what came of the rest would be another. */
function cannotGoOn(error: HeadwaterError, name: string): HeadwaterError {
  return new HeadwaterError("RecordGone", `the replay cannot go on: ${error.message}`, {
    ...(error.where !== undefined && { where: error.where }),
    hint: `History is not kept for a replay that nobody has gone on with for too long. Begin another one: it runs what is kept, and names the rest. headwater replay stop ${name} ends this one.`,
    cause: error,
  });
}

function refused(name: string, message: string, hint: string): HeadwaterError {
  return new HeadwaterError("BadUsage", message, { where: `replay ${name}`, hint });
}
