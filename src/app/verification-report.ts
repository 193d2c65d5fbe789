import type { DeployedSelection } from "../core/events.ts";
import { detailsOf } from "../runtime/divergence-details.ts";
import { reportRefused } from "../runtime/refused-again.ts";
import type { Selection } from "../runtime/selection.ts";
import type { VerificationState } from "../runtime/verification.ts";
import { recordsIn } from "./fork-replay.ts";
import { nothingIn } from "./history-window.ts";
import { type SelectedHistory, selectedRecords } from "./replay-selection.ts";
import type { Divergence, ExplainedDivergence, ReplayReport, ReplayRequest } from "./replay-types.ts";
import { beginning, verifyFrom } from "./verification.ts";

/** What is verified. */
export interface ToVerify extends SelectedHistory {
  readonly only: DeployedSelection | undefined;
  readonly selection: Selection | undefined;
}

/**
 * Verifies a window, from its beginning or from where a state says, and makes the report. `onState` is told how far it is.
 * Throws as `replay`.
 */
export async function verifyAll(
  of: ToVerify,
  id: string,
  { onProgress, rate }: Pick<ReplayRequest, "onProgress" | "rate">,
  from: VerificationState = beginning(of.history),
  onState: (state: VerificationState) => void = () => {},
): Promise<ReplayReport> {
  const { log, history, window, only, selection } = of;
  const selected = await selectedRecords(of, only, selection);
  const records = rate === undefined ? selected : await recordsIn(log, history, window);
  const verified = await verifyFrom(from, {
    ...of,
    ...{ records, rate, onState },
    ...(onProgress !== undefined && { onProgress: (progress) => onProgress(progress) }),
  });
  const { steps, diverged, first, gone, refused, seconds } = verified;
  if (selected === 0 && steps === 0 && gone.inputs === 0) throw nothingIn(history.pipeline, window);
  return {
    id,
    mode: "verify",
    pipeline: history.pipeline,
    ...window,
    only,
    records: selected,
    keysUnknown: selection?.unknown || undefined,
    steps,
    matched: steps - diverged,
    diverged,
    firstDivergence: first && (await explained(of, first)),
    quarantined: refused && reportRefused(refused),
    unverifiable: gone.inputs,
    firstGone: gone.first,
    reexecuted: steps,
    reused: 0,
    seconds,
  };
}

async function explained(
  { surroundings: { clock, bundler }, log, history: { pipeline }, signal }: ToVerify,
  divergence: Divergence,
): Promise<ExplainedDivergence> {
  return {
    ...divergence,
    ...(await detailsOf({ log, clock, bundler, pipeline, divergence, signal })),
  };
}
