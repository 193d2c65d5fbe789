import { HeadwaterError } from "../core/errors.ts";
import type { DeployedFork } from "../core/events.ts";
import { LIMITS } from "../core/limits.ts";
import { sourceStream } from "../core/streams.ts";
import type { Plan } from "../pipeline/plan.ts";
import type { Bundle } from "../ports/bundler.ts";
import type { EventLog } from "../ports/event-log.ts";
import type { Surroundings } from "../runtime/compose.ts";
import { structureOf } from "../runtime/deployed-plan.ts";
import type { DeploymentHistory } from "../runtime/deployment-history.ts";
import { probeFromEnvironment } from "../runtime/fail-points.ts";
import { untilAsked, whyEnded } from "../runtime/fork-asks.ts";
import { doubtsOf, isBroken, recordedFrom, stagesWithoutState } from "../runtime/fork-gaps.ts";
import { runFork } from "../runtime/fork-run.ts";
import { Homes } from "../runtime/homes.ts";
import { type LostRecords, lostRecords } from "../runtime/lost-records.ts";
import { type NewlyRefused, newlyRefused } from "../runtime/newly-refused.ts";
import { openWindows } from "../runtime/open-windows.ts";
import { paceOf } from "../runtime/pace.ts";
import { ProgressBoard } from "../runtime/progress-board.ts";
import { type PutBackIn, putBackIn } from "../runtime/put-back.ts";
import { reportRefused } from "../runtime/refused-again.ts";
import { refusedInFork } from "../runtime/refused-in-fork.ts";
import { stepsStreamOf } from "../runtime/routes.ts";
import { recordsWithin } from "../runtime/seek-time.ts";
import type { Selection } from "../runtime/selection.ts";
import type { SinkTarget } from "../runtime/sink-target.ts";
import { countStages, type StageCounts } from "../runtime/step-counts.ts";
import { runtimeVersions } from "../runtime/versions.ts";
import { mustTakeDifferences } from "./diff-file.ts";
import { diffFork } from "./fork-diff.ts";
import { type ForkBinding, openForkTargets } from "./fork-outputs.ts";
import type { HistoryWindow } from "./history-window.ts";
import { historyOf } from "./pipeline-name.ts";
import { chosenIn, chosenInFork, selectedRecords, tells } from "./replay-selection.ts";
import type { ForkRequest, GoneEffects, WhatIfReport } from "./what-if-types.ts";

/** A fork that is to be run, or gone on with. */
export interface ForkToRun {
  readonly history: DeploymentHistory;
  /** With its `fork`. */
  readonly plan: Plan;
  readonly bundle: Bundle;
  readonly fork: DeployedFork;
  readonly window: HistoryWindow;
  readonly id: string;
  /** Nobody else is to have begun it. */
  readonly isNew?: boolean;
  /** All its records are through: what is asked of it, or was, changes nothing. */
  readonly isThrough?: boolean;
  /** What the fork's selection chooses in the pipeline's history; looked for when it is needed, if `undefined`. */
  readonly selection: Selection | undefined;
}

/**
 * Runs a fork to its end, or from where it is, and compares it with what was recorded. Sinks that are not among `outputs`
 * hand out nothing. Throws as `runFork`.
 */
export async function runAndCompare(
  surroundings: Surroundings,
  log: EventLog,
  run: ForkToRun,
  outputs: ReadonlyMap<string, ForkBinding>,
  request: ForkRequest,
): Promise<WhatIfReport> {
  const { clock } = surroundings;
  const { history, plan, window } = run;
  const begun = clock.monotonic();
  const name = plan.fork?.name ?? "";
  const targets = await openForkTargets(surroundings, log, plan, outputs);
  const diff = request.diff ?? run.fork.diff;
  if (diff !== undefined) await mustTakeDifferences(surroundings, diff, { log, spec: request.log, targets });
  const records = await recordsIn(log, history, window);
  const board = new ProgressBoard();
  const stopProgress = reportProgress(surroundings, log, run, board, records, request);
  const { signal = new AbortController().signal } = request;
  const until = run.isThrough ? { signal, end: () => {} } : untilAsked(log, clock, name, signal);
  try {
    await runTo(surroundings, log, run, request, targets, board, until.signal);
    stopProgress();
    until.end();
    // Once it is through it is done: what is asked of it from then on changes nothing.
    const report = await compareFork(surroundings, log, run, diff, signal);
    return { ...report, seconds: (clock.monotonic() - begun) / 1_000 };
  } catch (error) {
    throw await whyEnded(log, name, error, until.signal);
  } finally {
    stopProgress();
    until.end();
  }
}

function runTo(
  surroundings: Surroundings,
  log: EventLog,
  { plan, bundle, fork, window, history, isNew = false }: ForkToRun,
  { rate }: ForkRequest,
  targets: ReadonlyMap<string, SinkTarget>,
  board: ProgressBoard,
  signal: AbortSignal,
): Promise<unknown> {
  const probe = probeFromEnvironment();
  return runFork(
    { ...surroundings, log, runtime: runtimeVersions(), ...(probe !== undefined && { probe }) },
    {
      plan,
      bundle,
      fork,
      from: window.from,
      history,
      targets,
      board,
      signal,
      isNew,
      withoutState: fork.gaps === true,
      ...(rate !== undefined && { pace: paceOf(rate, surroundings.clock) }),
      batchRecords: plan.definition.batchRecords,
      tickMs: plan.definition.tickMs,
      provenance: "full",
      onRestarted: () => {},
      onQuarantined: () => {},
    },
  );
}

/** What of a fork's window is not kept any more, from an ordinal on. */
function lostIn(
  log: EventLog,
  { history: { pipeline }, plan, window }: ForkToRun,
  from: number,
  signal: AbortSignal,
): Promise<LostRecords> {
  const sources = plan.sources.map(({ name }) => name);
  return lostRecords({ log, pipeline, sources, ...window, from, begun: window.from, signal });
}

/** What a fork that is through has come to; `file` gets all differences. Reads the log alone. */
export async function compareFork(
  surroundings: Surroundings,
  log: EventLog,
  run: ForkToRun,
  file: string | undefined,
  signal: AbortSignal,
): Promise<Omit<WhatIfReport, "seconds">> {
  const { history, plan, window, id, fork } = run;
  const { only } = fork;
  const name = plan.fork?.name ?? "";
  await mustBeRecorded(log, run);
  const forked = await historyOf(surroundings, log, name);
  const counts = await countSteps(log, plan, window);
  const taken = new Map(
    [...counts].filter(([, { reused }]) => reused).map(([stage, { results }]) => [stage, results]),
  );
  const within = { surroundings, log, history, window, signal };
  const selection = run.selection ?? (await chosenIn(within, only));
  const chosen =
    only === undefined || selection === undefined
      ? undefined
      : { before: selection.chosen, after: await chosenInFork(within, forked, only, selection) };
  const lost = await lostIn(log, run, window.from, signal);
  const gone = fork.since === undefined ? lost : await lostIn(log, run, fork.since, signal);
  const homes = new Homes(log, history);
  const putBack = await putBackIn(log, history, homes, window);
  const definitions = [
    plan.definition,
    ...history.all.map((deployed) => structureOf(deployed, history.pipeline).definition),
  ];
  const began = { log, clock: surroundings.clock, history, plan, signal, ...window };
  const doubts = isBroken(lost)
    ? doubtsOf(lost, definitions, window.from, await stagesWithoutState(began))
    : undefined;
  const told = only && {
    before: tells(only.source, chosen?.before),
    after: tells(only.source, chosen?.after),
  };
  const diff = await diffFork(surroundings, {
    ...{ log, history, forked, plan, window, file, taken, signal },
    ...{ doubts, putBack, homes },
    ...(told !== undefined && { told }),
  });
  const inFork = await newlyRefused({
    ...{ log, history, forked, homes, ...window, signal },
    ...(told?.after !== undefined && { told: told.after }),
  });
  const refused =
    only?.quarantined && selection !== undefined
      ? await refusedInFork(log, name, forked.current, selection.refused, doubts, signal)
      : undefined;
  const open = await openWindows(log, history.pipeline, plan, window.to);
  const [reexecuted, reused] = [stepsOf(counts, false), stepsOf(counts, true)];
  // Retention does not wait for comparisons.
  await mustBeRecorded(log, run);
  return {
    id,
    mode: "what-if",
    pipeline: history.pipeline,
    ...window,
    version: history.at(window.to).version,
    only,
    records: await selectedRecords(within, only, selection),
    keysUnknown: selection?.unknown || undefined,
    steps: reexecuted + reused,
    matched: diff.stages.reduce((sum, { same }) => sum + same, 0),
    diverged: diff.stages.reduce((sum, { changed, added, gone }) => sum + changed + added + gone, 0),
    reexecuted,
    reused,
    diff,
    putBack: putBack.ranges.length === 0 ? undefined : reportPutBack(putBack, inFork.putBack),
    gone:
      gone.first === undefined ? undefined : { records: gone.records, first: gone.first, asked: fork.since },
    effectsGone: await effectsGoneIn(log, run),
    quarantined: refused && reportRefused(refused),
    newlyRefused: inFork.newly.length === 0 ? undefined : inFork.newly,
    stillOpen: open.length === 0 ? undefined : open,
  };
}

function reportPutBack(
  { records, first, earlier }: PutBackIn,
  refused: readonly NewlyRefused[],
): NonNullable<WhatIfReport["putBack"]> {
  return { records, ...(first !== undefined && { first }), earlier, refused };
}

/** What a fork is compared with, and began behind, may be let go of once it is through: then nothing can be said of it. */
async function mustBeRecorded(log: EventLog, { history, window: { from } }: ForkToRun): Promise<void> {
  if ((await recordedFrom(log, history, from)) <= from) return;
  throw new HeadwaterError("RecordGone", "what the replay is to be compared with was let go of since", {
    where: `${history.pipeline}, ordinal ${from}`,
    hint: "Run it again, under another id: it begins behind what is gone.",
  });
}

async function effectsGoneIn(
  log: EventLog,
  { history, window: { from }, fork: { effectsGone: first, since: asked } }: ForkToRun,
): Promise<GoneEffects | undefined> {
  if (first === undefined || asked === undefined) return undefined;
  return { first, asked, records: await recordsIn(log, history, { from: asked, to: from - 1 }) };
}

/** How many records the sources have accepted in a window. */
export async function recordsIn(
  log: EventLog,
  history: DeploymentHistory,
  window: HistoryWindow,
): Promise<number> {
  const sources = new Set(history.all.flatMap(({ sources: some }) => some.map(({ name }) => name)));
  let records = 0;
  for (const source of sources) {
    const { first, end } = await recordsWithin(log, sourceStream(history.pipeline, source), window);
    records += end - first;
  }
  return records;
}

/** What each stage of a fork's plan was given and gave in the window, where it was run and where it was taken. */
async function countSteps(
  log: EventLog,
  plan: Plan,
  { from, to }: HistoryWindow,
): Promise<ReadonlyMap<string, StageCounts & { readonly reused: boolean }>> {
  const counts = new Map<string, StageCounts & { readonly reused: boolean }>();
  for (const segment of plan.segments) {
    const reused = plan.fork?.reused.has(segment.name) === true;
    for (let partition = 0; partition < plan.definition.partitions; partition++) {
      const stream = stepsStreamOf(plan, segment, partition);
      const found = await countStages(log, stream, from, to, segment.stages.length);
      for (const [at, { definition }] of segment.stages.entries()) {
        const { steps = 0, results = 0 } = counts.get(definition.name) ?? {};
        const more = found[at] ?? { steps: 0, results: 0 };
        counts.set(definition.name, { steps: steps + more.steps, results: results + more.results, reused });
      }
    }
  }
  return counts;
}

function stepsOf(
  counts: ReadonlyMap<string, StageCounts & { readonly reused: boolean }>,
  reused: boolean,
): number {
  let steps = 0;
  for (const one of counts.values()) if (one.reused === reused) steps += one.steps;
  return steps;
}

/** Tells how far a fork is while it runs; answers how to stop that. */
function reportProgress(
  { clock }: Surroundings,
  log: EventLog,
  { history, window }: ForkToRun,
  board: ProgressBoard,
  of: number,
  { onProgress }: ForkRequest,
): () => void {
  if (onProgress === undefined) return () => {};
  let cancel = () => {};
  let stopped = false;
  let begun: { readonly at: number; readonly records: number } | undefined;
  const tell = async () => {
    const to = Math.max(window.from - 1, Math.min(board.through, window.to));
    const records = await recordsIn(log, history, { ...window, to });
    if (stopped) return;
    const now = clock.monotonic();
    begun ??= { at: now, records };
    const seconds = (now - begun.at) / 1_000;
    const recordsPerSecond = seconds > 0 ? (records - begun.records) / seconds : 0;
    const secondsLeft = recordsPerSecond > 0 ? (of - records) / recordsPerSecond : undefined;
    onProgress({ records, of, recordsPerSecond, secondsLeft });
    cancel = clock.setTimeout(again, LIMITS.replayProgressMs);
  };
  // A log that does not answer now is asked again.
  const again = () => {
    tell().catch(() => {
      if (!stopped) cancel = clock.setTimeout(again, LIMITS.replayProgressMs);
    });
  };
  again();
  return () => {
    stopped = true;
    cancel();
  };
}
