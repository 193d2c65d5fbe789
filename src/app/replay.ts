import { resolve } from "node:path";
import { HeadwaterError, isHeadwaterError } from "../core/errors.ts";
import type { EventLog } from "../ports/event-log.ts";
import { createSurroundings, openLog } from "../runtime/compose.ts";
import { definitionOf } from "../runtime/deployment.ts";
import { WindowSeek } from "./history-window.ts";
import { historyOf, isModulePath } from "./pipeline-name.ts";
import { readChecked } from "./read-log.ts";
import { checkRate } from "./replay-options.ts";
import { choosesRecords, chosenIn, resolved, type SelectedHistory, selectionOf } from "./replay-selection.ts";
import type { ReplayReport, ReplayRequest } from "./replay-types.ts";
import { checkPoint } from "./state.ts";
import { beginKept, verifyKept } from "./verification-kept.ts";
import { type ToVerify, verifyAll } from "./verification-report.ts";

export { lowerPriority } from "../runtime/compose.ts";
export { askReplay, listReplays, resumeReplay, showReplay } from "./forks.ts";
export { parsePoint } from "./history-point.ts";
export { whatIf } from "./what-if.ts";

/**
 * Runs a part of a pipeline's history again, by the code that ran then, and compares every step with what was
 * recorded: `headwater replay`. No sink is reached, and nothing is written but, where an id is given, how far it is.
 * Throws `UnknownPipeline`, `BadUsage` for a window in which nothing is and an id that is in use,
 * `IncompatibleDeployment` where the code was not kept, `Stopped`.
 */
export async function replay(request: ReplayRequest): Promise<ReplayReport> {
  checkPoint(request.from, "from");
  checkPoint(request.to, "to");
  checkRate(request.rate);
  const surroundings = createSurroundings();
  const { bundler, ids, clock } = surroundings;
  const { id } = request;
  const name = isModulePath(request.pipeline)
    ? definitionOf(bundler.load(await bundler.bundle(resolve(request.pipeline))), request.pipeline).name
    : request.pipeline;
  const begun = clock.monotonic();
  const opened = await openFor(request);
  const compare = async (log: EventLog): Promise<ReplayReport> => {
    const history = await historyOf(surroundings, log, name);
    const asked = selectionOf(history, request);
    const seek = await WindowSeek.begin(log, history, request);
    const { signal = new AbortController().signal } = request;
    const verify = async (
      within: SelectedHistory,
      { only, selection }: Pick<ToVerify, "only" | "selection">,
    ): Promise<ReplayReport> => {
      const report = await verifyAll({ ...within, only, selection }, ids.uuid(), request);
      return { ...report, seconds: (clock.monotonic() - begun) / 1_000 };
    };
    const begin = { surroundings, log, history, signal };
    // What is compared at once does not wait for the end to be found.
    const atOnce = id === undefined && request.rate === undefined && !(asked && choosesRecords(asked));
    const soon = atOnce ? await seek.soon() : undefined;
    const early = soon && (await verify({ ...begin, window: soon }, { only: asked, selection: undefined }));
    const window = await seek.whole(signal);
    // Some of the window's records came later than was looked for at first: all that is in it is gone through again.
    if (early !== undefined && early.from === window.from && early.to === window.to) return early;
    const within = { ...begin, window };
    // What chooses nothing is told before anything is written.
    const selection = await chosenIn(within, asked);
    const only = resolved(asked, selection);
    if (id === undefined) {
      return await verify(within, { only, selection });
    }
    const of = await beginKept({ ...within, only }, id);
    return await verifyKept({ ...within, only, selection }, { id, name: of }, request);
  };
  try {
    return await readChecked(opened, compare);
  } catch (error) {
    throw id === undefined ? withoutId(error) : error;
  } finally {
    await opened.close();
  }
}

/** Of what is not kept, nothing can be gone on with. */
function withoutId(error: unknown): unknown {
  if (!isHeadwaterError(error, "Stopped") || error.hint !== undefined) return error;
  const { message, where } = error;
  const hint = "It has to begin anew. With --id NAME, how far it is is kept, and it can be gone on with.";
  return new HeadwaterError("Stopped", message, {
    ...(where !== undefined && { where }),
    hint,
    cause: error,
  });
}

/** Who writes down how far it is makes room for those who write more. */
function openFor({ log, id }: ReplayRequest): Promise<EventLog> {
  return openLog(log, id === undefined ? { readOnly: true } : { create: false, courteous: true });
}
