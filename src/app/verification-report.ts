import { HeadwaterError } from "../core/errors.ts";
import type { DeployedSelection } from "../core/events.ts";
import { detailsOf } from "../runtime/divergence-details.ts";
import { lostRecords } from "../runtime/lost-records.ts";
import type { GoneInputs } from "../runtime/reexecution.ts";
import { reportRefused } from "../runtime/refused-again.ts";
import type { Selection } from "../runtime/selection.ts";
import type { VerificationState } from "../runtime/verification.ts";
import { recordsIn } from "./fork-replay.ts";
import { nothingIn } from "./history-window.ts";
import { type SelectedHistory, selectedRecords } from "./replay-selection.ts";
import type { Divergence, ExplainedDivergence, ReplayReport, ReplayRequest } from "./replay-types.ts";
import { beginning, type Verification, verifyFrom } from "./verification.ts";

/** What is verified. */
export interface ToVerify extends SelectedHistory {
  readonly only: DeployedSelection | undefined;
  readonly selection: Selection | undefined;
  readonly inputs?: Verification["inputs"];
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
  if (steps === 0) await mustHaveSomething(of, selected, gone.first);
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

/** Throws `RecordGone` where nothing was compared because nothing is kept, and `BadUsage` where nothing ever was. */
async function mustHaveSomething(
  { log, history: { pipeline, current }, window, signal }: ToVerify,
  selected: number,
  gone: GoneInputs | undefined,
): Promise<void> {
  const sources = current.sources.map(({ name }) => name);
  const lost =
    gone === undefined ? await lostRecords({ log, pipeline, sources, ...window, signal }) : undefined;
  const where = gone?.address ?? lost?.first;
  if (where !== undefined) {
    const reason = gone === undefined ? "records were let go of" : gone.reason;
    throw new HeadwaterError("RecordGone", `nothing that is asked for can be run again: ${reason}`, {
      where,
      hint: 'See "How long history is kept" in the README.',
    });
  }
  if (selected === 0) throw nothingIn(pipeline, window);
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
