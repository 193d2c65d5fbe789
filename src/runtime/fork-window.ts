import { HeadwaterError } from "../core/errors.ts";
import type { EventLog } from "../ports/event-log.ts";
import type { DeploymentHistory } from "./deployment-history.ts";
import { type ForkBeginning, firstBeginning, isBroken, recordedFrom } from "./fork-gaps.ts";
import { lostEffects } from "./lost-effects.ts";
import { lostRecords } from "./lost-records.ts";
import { isGone } from "./seek.ts";

/** What a fork is to run over, and with which plan. */
type OfHistory = Omit<ForkBeginning, "history" | "from" | "to"> & {
  readonly history: ForkBeginning["history"] & Pick<DeploymentHistory, "all">;
};

/** Ordinals `from` up to and with `to`. */
interface Window {
  readonly from: number;
  readonly to: number;
}

/** A window that a fork can run; `gaps`: records are missing in its middle, and there is no state to begin with. */
export interface KeptWindow {
  readonly window: Window;
  readonly gaps?: true;
}

/**
 * The part of a window that can be run: where it begins, records are kept, and the state of then can be brought back.
 * Throws `RecordGone` where that is nowhere.
 */
export async function keptWindow(of: OfHistory, window: Window): Promise<KeptWindow> {
  const { log, history, plan, signal } = of;
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
  const from = await firstBeginning({ ...of, ...window, from: begin });
  return { window: { ...window, from } };
}

/**
 * The part of a kept window for which the results of effects are kept, too, with the address of the first input without
 * them, if it begins later because of that. `reused`: segments that are not run. Throws `RecordGone` where that is nothing.
 */
export async function servedWindow(
  of: OfHistory,
  { window, gaps }: KeptWindow,
  reused: readonly string[],
): Promise<{ readonly window: Window; readonly effectsGone?: string }> {
  const lost = await lostEffects({ ...of, reused, ...window });
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
    const from = await firstBeginning({ ...of, ...window, from: lost.begin });
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
