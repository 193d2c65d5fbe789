import { resolve } from "node:path";
import { HeadwaterError } from "../core/errors.ts";
import type { EventLog } from "../ports/event-log.ts";
import { createSurroundings, openLog, type Surroundings } from "../runtime/compose.ts";
import { definitionOf } from "../runtime/deployment.ts";
import { DeploymentHistory } from "../runtime/deployment-history.ts";
import { detailsOf } from "../runtime/divergence-details.ts";
import { checkPartition } from "../runtime/history-check.ts";
import type { GoneInputs } from "../runtime/reexecution.ts";
import { recordsIn } from "./fork-replay.ts";
import { type HistoryWindow, nothingIn, windowOf } from "./history-window.ts";
import { isModulePath, unknownPipeline } from "./pipeline-name.ts";
import type { Divergence, ExplainedDivergence, ReplayReport, ReplayRequest } from "./replay-types.ts";

export { lowerPriority } from "../runtime/compose.ts";
export { askFork, listForks, resumeFork, showFork } from "./forks.ts";
export { parsePoint } from "./history-point.ts";
export { whatIf } from "./what-if.ts";

/**
 * Runs a part of a pipeline's history again, by the code that ran then, and compares every step with what was
 * recorded: `headwater replay`. Nothing is written, no sink is reached. Throws `UnknownPipeline`, `BadUsage` for a
 * window in which nothing is, `IncompatibleDeployment` where the code was not kept, `Stopped`.
 */
export async function replay(request: ReplayRequest): Promise<ReplayReport> {
  const surroundings = createSurroundings();
  const { bundler, ids, clock } = surroundings;
  const name = isModulePath(request.pipeline)
    ? definitionOf(bundler.load(await bundler.bundle(resolve(request.pipeline))), request.pipeline).name
    : request.pipeline;
  const log = await openLog(request.log, { readOnly: true });
  const begun = clock.monotonic();
  try {
    const history = await DeploymentHistory.read(log, bundler, name);
    if (history === undefined) throw unknownPipeline(name);
    if (request.source !== undefined) mustHaveSource(history, request.source);
    const window = await windowOf(log, history, request.from, request.to);
    const records = await recordsIn(log, history, window, request.source);
    const { steps, diverged, first, gone } = await verify(surroundings, log, history, window, request);
    if (records === 0 && steps === 0 && gone.inputs === 0) throw nothingIn(name, window);
    return {
      id: ids.uuid(),
      mode: "verify",
      pipeline: name,
      ...window,
      records,
      steps,
      matched: steps - diverged,
      diverged,
      firstDivergence: first && (await explained(surroundings, log, name, first, request)),
      unverifiable: gone.inputs,
      firstGone: gone.first,
      reexecuted: steps,
      reused: 0,
      seconds: (clock.monotonic() - begun) / 1_000,
    };
  } finally {
    await log.close();
  }
}

async function explained(
  { clock, bundler }: Surroundings,
  log: EventLog,
  pipeline: string,
  divergence: Divergence,
  { signal = new AbortController().signal }: ReplayRequest,
): Promise<ExplainedDivergence> {
  return {
    ...divergence,
    ...(await detailsOf({ log, clock, bundler, pipeline, divergence, signal })),
  };
}

interface Verified {
  readonly steps: number;
  readonly diverged: number;
  readonly first: Divergence | undefined;
  readonly gone: { readonly inputs: number; readonly first: GoneInputs | undefined };
}

async function verify(
  { clock }: Surroundings,
  log: EventLog,
  history: DeploymentHistory,
  window: HistoryWindow,
  { signal = new AbortController().signal, source, onProgress }: ReplayRequest,
): Promise<Verified> {
  const units = unitsIn(history);
  let steps = 0;
  let diverged = 0;
  let first: Divergence | undefined;
  let firstGone: GoneInputs | undefined;
  let inputs = 0;
  const onGone = (gone: GoneInputs) => {
    firstGone ??= gone;
    inputs += gone.inputs;
  };
  for (const [done, { segment, partition }] of units.entries()) {
    for await (const piece of checkPartition({
      log,
      clock,
      history,
      segment,
      partition,
      ...window,
      source,
      signal,
      onGone,
    })) {
      steps += piece.steps;
      diverged += piece.diverged;
      // Segments come in the order of the pipeline: of two at one record the one further up is told.
      if (piece.first !== undefined && (first === undefined || piece.first.ordinal < first.ordinal)) {
        first = piece.first;
      }
      onProgress?.({ steps, units: done, of: units.length });
    }
  }
  return { steps, diverged, first, gone: { inputs, first: firstGone } };
}

/** Every partition that any version of the pipeline had, segments in the order of the pipeline. */
function unitsIn(history: DeploymentHistory) {
  const units = new Map<string, { readonly segment: string; readonly partition: number }>();
  for (const { stages, partitions } of history.all) {
    for (const { segment } of stages) {
      for (let partition = 0; partition < partitions; partition++) {
        units.set(`${segment}.${partition}`, { segment, partition });
      }
    }
  }
  return [...units.values()];
}

function mustHaveSource({ all, pipeline }: DeploymentHistory, source: string): void {
  const names = new Set(all.flatMap(({ sources }) => sources.map(({ name }) => name)));
  if (names.has(source)) return;
  throw new HeadwaterError("UnknownSource", `the pipeline has no source ${JSON.stringify(source)}`, {
    where: `pipeline ${pipeline}`,
    hint: `It has: ${[...names].join(", ")}.`,
  });
}
