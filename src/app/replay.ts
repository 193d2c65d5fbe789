import { resolve } from "node:path";
import type { DeployedSelection } from "../core/events.ts";
import { stepsStream } from "../core/streams.ts";
import type { Clock } from "../ports/clock.ts";
import type { EventLog } from "../ports/event-log.ts";
import type { ChosenRecords } from "../runtime/chosen-records.ts";
import { createSurroundings, openLog, type Surroundings } from "../runtime/compose.ts";
import { definitionOf } from "../runtime/deployment.ts";
import { DeploymentHistory } from "../runtime/deployment-history.ts";
import { detailsOf } from "../runtime/divergence-details.ts";
import { checkPartition } from "../runtime/history-check.ts";
import type { GoneInputs } from "../runtime/reexecution.ts";
import { type RefusedAgain, RefusedWatch, reportRefused } from "../runtime/refused-again.ts";
import { ordinalOfInput } from "../runtime/seek.ts";
import type { Selection } from "../runtime/selection.ts";
import { type HistoryWindow, nothingIn, windowOf } from "./history-window.ts";
import { isModulePath, unknownPipeline } from "./pipeline-name.ts";
import {
  chosenIn,
  resolved,
  type SelectedHistory,
  selectedRecords,
  selectionOf,
} from "./replay-selection.ts";
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
    const asked = selectionOf(history, request);
    const window = await windowOf(log, history, request.from, request.to);
    const { signal = new AbortController().signal } = request;
    const within = { surroundings, log, history, window, signal };
    const selection = await chosenIn(within, asked);
    const only = resolved(asked, selection);
    const records = await selectedRecords(within, only, selection);
    const { steps, diverged, first, gone, refused } = await verify(within, only, selection, request);
    if (records === 0 && steps === 0 && gone.inputs === 0) throw nothingIn(name, window);
    return {
      id: ids.uuid(),
      mode: "verify",
      pipeline: name,
      ...window,
      only,
      records,
      keysUnknown: selection?.unknown || undefined,
      steps,
      matched: steps - diverged,
      diverged,
      firstDivergence: first && (await explained(surroundings, log, name, first, request)),
      quarantined: refused && reportRefused(refused),
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
  readonly refused: readonly RefusedAgain[] | undefined;
}

async function verify(
  { surroundings: { clock }, log, history, window, signal }: SelectedHistory,
  only: DeployedSelection | undefined,
  selection: Selection | undefined,
  { onProgress }: ReplayRequest,
): Promise<Verified> {
  const chosen = selection?.chosen;
  const watch = only?.quarantined ? new RefusedWatch(selection?.refused ?? []) : undefined;
  const units = unitsIn(history);
  const begun = clock.monotonic();
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
    const part = await partOf(log, stepsStream(history.pipeline, segment, partition), window, chosen);
    if (part === undefined) continue;
    let begin: number | undefined;
    for await (const piece of checkPartition({
      ...{ log, clock, history, segment, partition, ...part },
      ...{ source: only?.source, chosen, signal, onGone },
      ...(chosen !== undefined && { wants: (...inputs) => chosen.touches(...inputs) }),
      ...(watch !== undefined && { onPiece: (...seen) => watch.see(...seen) }),
    })) {
      steps += piece.steps;
      diverged += piece.diverged;
      // Segments come in the order of the pipeline: of two at one record the one further up is told.
      if (piece.first !== undefined && (first === undefined || piece.first.ordinal < first.ordinal)) {
        first = piece.first;
      }
      if (onProgress === undefined) continue;
      // Records lie about evenly between the first one and the end of a window.
      begin ??= piece.ordinal;
      const within = (piece.ordinal - begin) / Math.max(1, part.to - begin);
      const share = (done + Math.min(1, Math.max(0, within))) / units.length;
      onProgress({ steps, units: done, of: units.length, share, ...rateOf(steps, share, clock, begun) });
    }
  }
  return { steps, diverged, first, gone: { inputs, first: firstGone }, refused: watch?.end() };
}

function rateOf(steps: number, share: number, clock: Clock, begun: number) {
  const seconds = (clock.monotonic() - begun) / 1_000;
  return {
    stepsPerSecond: seconds > 0 ? steps / seconds : 0,
    secondsLeft: share > 0 ? (seconds * (1 - share)) / share : undefined,
  };
}

/** The part of a window that a partition has something chosen in; `undefined`: it has nothing. */
async function partOf(
  log: EventLog,
  stream: string,
  { from, to }: HistoryWindow,
  chosen: ChosenRecords | undefined,
): Promise<HistoryWindow | undefined> {
  if (chosen === undefined) return { from, to };
  const range = chosen.rangeOf(stream);
  if (range === undefined) return undefined;
  const lowest = await ordinalOfInput(log, stream, range.lowest);
  const highest = await ordinalOfInput(log, stream, range.highest);
  return { from: Math.max(from, lowest), to: highest < 0 ? to : Math.min(to, highest) };
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
