import { HeadwaterError } from "../core/errors.ts";
import type { DeployedFork, PipelineDeployed, ReplayAsk } from "../core/events.ts";
import { forkOf, pipelineStream } from "../core/streams.ts";
import type { EventLog } from "../ports/event-log.ts";
import { lastThrough } from "../runtime/completed.ts";
import { createSurroundings, openLog, type Surroundings } from "../runtime/compose.ts";
import { structureOf } from "../runtime/deployed-plan.ts";
import { loadDeployedCode } from "../runtime/deployment.ts";
import { DeploymentHistory } from "../runtime/deployment-history.ts";
import { askedOf, askOf } from "../runtime/fork-asks.ts";
import { stepsStreamOf } from "../runtime/routes.ts";
import { processAtWork } from "../runtime/supervision.ts";
import { compareFork, recordsIn, runAndCompare } from "./fork-replay.ts";
import type { ForkDetails, ForkQuery, ForkStatus, ForkSummary } from "./forks-types.ts";
import { unknownPipeline } from "./pipeline-name.ts";
import type { ForkRequest, WhatIfReport } from "./what-if-types.ts";

/** The replays that have a fork in the log, in the order of their names: `headwater replay list`. */
export async function listForks({ log: spec }: Pick<ForkQuery, "log">): Promise<readonly ForkSummary[]> {
  const surroundings = createSurroundings();
  const log = await openLog(spec, { readOnly: true });
  try {
    const found: ForkSummary[] = [];
    for (const name of await forkNames(log))
      found.push(await summaryOf(surroundings, log, await forkIn(surroundings, log, name)));
    return found;
  } finally {
    await log.close();
  }
}

/** How a replay is, and what came of it: `headwater replay show`. Throws `BadUsage` for an id that is not there. */
export async function showFork({ log: spec, id }: ForkQuery): Promise<ForkDetails> {
  const surroundings = createSurroundings();
  const log = await openLog(spec, { readOnly: true });
  try {
    const fork = await forkIn(surroundings, log, await nameOf(log, id));
    const summary = await summaryOf(surroundings, log, fork);
    if (summary.status !== "done") return { ...summary, report: undefined };
    const signal = new AbortController().signal;
    return {
      ...summary,
      report: await compareFork(surroundings, log, await toRun(surroundings, log, fork), undefined, signal),
    };
  } finally {
    await log.close();
  }
}

/**
 * Goes on with a replay, from where it is in the log, and compares: `headwater replay resume`. One that is done is
 * compared once more. Throws as `whatIf`; `BadUsage` for one that another process is at, or that was stopped for good.
 */
export async function resumeFork(request: ForkQuery & ForkRequest): Promise<WhatIfReport> {
  const surroundings = createSurroundings();
  const log = await openLog(request.log, { create: false, courteous: true });
  try {
    const fork = await forkIn(surroundings, log, await nameOf(log, request.id));
    const { clock, processes } = surroundings;
    const other = await processAtWork({ log, clock, processes, pipeline: fork.name });
    if (other !== undefined) {
      throw refused(
        fork,
        `process ${other.pid} on ${other.host} is at it`,
        "Pause it there first: headwater replay pause.",
      );
    }
    if ((await askedOf(log, fork.name)) === "stop") {
      throw refused(fork, "it was stopped for good", "Begin another one, with another id.");
    }
    await askOf(log, clock, processes, fork.name, "resume");
    return await runAndCompare(surroundings, log, await toRun(surroundings, log, fork), request);
  } finally {
    await log.close();
  }
}

/**
 * Asks whoever is at a replay to stand still, or to end it for good: `headwater replay pause`, `stop`. Answers how it is
 * when it was asked. Throws `BadUsage` for an id that is not there.
 */
export async function askFork({
  log: spec,
  id,
  ask,
}: ForkQuery & { readonly ask: ReplayAsk }): Promise<ForkSummary> {
  const surroundings = createSurroundings();
  const log = await openLog(spec, { create: false });
  try {
    const fork = await forkIn(surroundings, log, await nameOf(log, id));
    await askOf(log, surroundings.clock, surroundings.processes, fork.name, ask);
    return await summaryOf(surroundings, log, fork);
  } finally {
    await log.close();
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

async function forkNames(log: EventLog): Promise<string[]> {
  const names: string[] = [];
  const prefix = pipelineStream("");
  for await (const { stream } of log.streams({ prefixes: [prefix] })) {
    const name = stream.slice(prefix.length);
    if (forkOf(name) !== undefined) names.push(name);
  }
  return names;
}

async function nameOf(log: EventLog, id: string): Promise<string> {
  const names = await forkNames(log);
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
  const through = Math.min(await throughOf(log, of), fork.to);
  const asked = await askedOf(log, name);
  const running = async () => (await processAtWork({ log, clock, processes, pipeline: name })) !== undefined;
  const status: ForkStatus =
    through >= fork.to
      ? "done"
      : (await running())
        ? "running"
        : asked === "stop"
          ? "stopped"
          : asked === "pause"
            ? "paused"
            : "interrupted";
  return {
    id,
    mode: "what-if",
    pipeline: history.pipeline,
    status,
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

/** How far all of a fork's partitions are. */
async function throughOf(log: EventLog, { name, deployed }: Fork): Promise<number> {
  const plan = structureOf(deployed, name);
  let through = Number.MAX_SAFE_INTEGER;
  for (const segment of plan.segments) {
    for (let partition = 0; partition < deployed.partitions; partition++) {
      through = Math.min(through, await lastThrough(log, stepsStreamOf(plan, segment, partition)));
    }
  }
  return through;
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

function refused({ name }: Fork, message: string, hint: string): HeadwaterError {
  return new HeadwaterError("BadUsage", message, { where: `replay ${name}`, hint });
}
