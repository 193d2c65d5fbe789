import type { DeployedSelection } from "../core/events.ts";
import { stepsStream } from "../core/streams.ts";
import type { Clock } from "../ports/clock.ts";
import type { EventLog } from "../ports/event-log.ts";
import type { ChosenRecords } from "../runtime/chosen-records.ts";
import {
  type DeploymentHistory,
  type RecordedPartition,
  recordedPartitions,
} from "../runtime/deployment-history.ts";
import { checkPartition } from "../runtime/history-check.ts";
import { durationAt, type Rate, WindowPace } from "../runtime/pace.ts";
import type { GoneInputs } from "../runtime/reexecution.ts";
import { type RefusedAgain, RefusedWatch } from "../runtime/refused-again.ts";
import { isGone, ordinalOfInput } from "../runtime/seek.ts";
import type { Selection } from "../runtime/selection.ts";
import type { VerificationPlace, VerificationState } from "../runtime/verification.ts";
import { type WindowInputs, windowInputs } from "../runtime/window-inputs.ts";
import { firstRecordIn, type HistoryWindow } from "./history-window.ts";
import type { ReplayProgress } from "./replay-types.ts";

/** What is verified, and how. */
export interface Verification {
  readonly surroundings: { readonly clock: Clock };
  readonly log: EventLog;
  readonly history: Pick<DeploymentHistory, "pipeline" | "all" | "withIdentity" | "planOf" | "after">;
  readonly window: HistoryWindow;
  readonly signal: AbortSignal;
  readonly only: DeployedSelection | undefined;
  readonly selection: Selection | undefined;
  /** Records of the window's sources. */
  readonly records: number;
  /** Which inputs partitions had in the window when that was known, by their streams; now, if absent. */
  readonly inputs?: ReadonlyMap<string, WindowInputs> | undefined;
  /** As fast as it goes, if absent. */
  readonly rate: Rate | undefined;
  onProgress?(progress: ReplayProgress): void;
  /** Told after each piece how far it is: what is gone on with from there. */
  onState?(state: VerificationState): void;
}

/** What came of verifying a window. */
export interface Verified extends VerificationState {
  readonly refused: readonly RefusedAgain[] | undefined;
}

/** Nothing is compared yet. */
export function beginning(history: Verification["history"]): VerificationState {
  const [unit] = recordedPartitions(history.all);
  return {
    at: unit && { ...unit, next: 0 },
    ...{ steps: 0, diverged: 0, first: undefined, share: 0, seconds: 0 },
    gone: { inputs: 0, first: undefined },
  };
}

/**
 * Runs a window again from where a state says, partition by partition, and compares it. Throws as `checkPartition`;
 * what was told to `onState` last is then where to go on.
 */
export async function verifyFrom(from: VerificationState, verification: Verification): Promise<Verified> {
  const { surroundings, log, history, window, signal, only, selection } = verification;
  const { onProgress, onState } = verification;
  const { clock } = surroundings;
  const chosen = selection?.chosen;
  const watch = only?.quarantined ? new RefusedWatch(selection?.refused ?? []) : undefined;
  const units = recordedPartitions(history.all);
  const origin = (await firstRecordIn(log, history, window)) ?? window.from;
  const pace = paceOf(verification, origin, from.share);
  const begun = clock.monotonic();
  let { steps, diverged, first, gone } = from;
  const onGone = (more: GoneInputs) => {
    gone = { inputs: gone.inputs + more.inputs, first: gone.first ?? more };
  };
  const stateAt = (at: VerificationPlace | undefined, share: number): VerificationState => {
    const seconds = from.seconds + (clock.monotonic() - begun) / 1_000;
    return { at, steps, diverged, first, gone, share, seconds };
  };
  const skipped = unitIndex(units, from.at);
  for (const [done, unit] of units.entries()) {
    if (done < skipped) continue;
    const begin = done === skipped ? (from.at?.next ?? 0) : 0;
    const { segment, partition } = unit;
    const stream = stepsStream(history.pipeline, segment, partition);
    const part = await partOf(log, stream, window, chosen, begin);
    const known = verification.inputs?.get(stream) ?? (await windowInputs(log, history, unit, window));
    const lowest = Math.max(known.first ?? 0, begin, chosen?.rangeOf(stream)?.lowest ?? 0);
    const inputs = { ...known, ...(lowest > 0 && { first: lowest }) };
    const wants = (stream: string, n: number, end: number) =>
      end > begin && chosen?.touches(stream, Math.max(n, begin), end) !== false;
    const pieces =
      part &&
      checkPartition({
        ...{ log, clock, history, segment, partition, ...part, begin },
        ...{ source: only?.source, chosen, signal, inputs, onGone },
        ...((chosen !== undefined || begin > 0) && { wants }),
        ...(watch !== undefined && { onPiece: (...seen) => watch.see(...seen) }),
      });
    let isAstray = false;
    for await (const piece of pieces ?? []) {
      steps += piece.steps;
      diverged += piece.diverged;
      // Segments come in the order of the pipeline: of two at one record the one further up is told.
      if (piece.first !== undefined && (first === undefined || piece.first.ordinal < first.ordinal)) {
        first = piece.first;
      }
      // Records lie about evenly between the first one and the end of a window.
      const within = (piece.ordinal - origin) / Math.max(1, window.to - origin);
      const share = (done + Math.min(1, Math.max(0, within))) / units.length;
      // It was brought back by inputs that were compared before.
      if (piece.next <= begin) continue;
      // State that is not as it was cannot be brought back: it is gone on from where it still was.
      isAstray ||= piece.stateful && piece.diverged > 0;
      if (!isAstray) onState?.(stateAt({ ...unit, next: piece.next }, share));
      onProgress?.({
        ...{ steps, units: done, of: units.length, share },
        ...rateOf(steps - from.steps, share, share - from.share, clock, begun),
      });
      await pace?.reach(share, signal);
    }
    const next = units[done + 1];
    const share = (done + 1) / units.length;
    onState?.(stateAt(next && { ...next, next: 0 }, share));
    await pace?.reach(share, signal);
  }
  return { ...stateAt(undefined, 1), refused: watch?.end() };
}

function unitIndex(units: readonly RecordedPartition[], at: VerificationPlace | undefined): number {
  if (at === undefined) return units.length;
  return units.findIndex(({ segment, partition }) => segment === at.segment && partition === at.partition);
}

function paceOf(
  { surroundings, window, records, rate }: Verification,
  first: number,
  share: number,
): WindowPace | undefined {
  if (rate === undefined) return undefined;
  return new WindowPace(durationAt(rate, records, first, window.to), surroundings.clock, share);
}

/** At the rate since this process took it up. */
function rateOf(steps: number, share: number, done: number, clock: Clock, begun: number) {
  const seconds = (clock.monotonic() - begun) / 1_000;
  return {
    stepsPerSecond: seconds > 0 ? steps / seconds : 0,
    secondsLeft: done > 0 ? (seconds * (1 - share)) / done : undefined,
  };
}

/** The part of a window that a partition has something chosen in, from an N on; `undefined`: it has nothing. */
async function partOf(
  log: EventLog,
  stream: string,
  window: HistoryWindow,
  chosen: ChosenRecords | undefined,
  begin: number,
): Promise<HistoryWindow | undefined> {
  const { to } = window;
  const from = begin > 0 ? Math.max(window.from, await ordinalBefore(log, stream, begin)) : window.from;
  if (chosen === undefined) return { from, to };
  const range = chosen.rangeOf(stream);
  if (range === undefined) return undefined;
  const lowest = await ordinalOfInput(log, stream, range.lowest);
  const highest = await ordinalOfInput(log, stream, range.highest);
  return { from: Math.max(from, lowest), to: highest < 0 ? to : Math.min(to, highest) };
}

/** Of the input before N = `n`, or a lower one where that is not there any more: what is below `n` is left out anyway. */
async function ordinalBefore(log: EventLog, stream: string, n: number): Promise<number> {
  try {
    return await ordinalOfInput(log, stream, n - 1);
  } catch (error) {
    if (!isGone(error)) throw error;
    return 0;
  }
}
