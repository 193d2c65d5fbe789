import { HeadwaterError } from "../core/errors.ts";
import { forkOf } from "../core/streams.ts";
import type { Value } from "../core/value.ts";
import type { EventLog } from "../ports/event-log.ts";
import type { Surroundings } from "../runtime/compose.ts";
import { askOf } from "../runtime/fork-asks.ts";
import { heldUntil } from "../runtime/unfinished-replays.ts";
import {
  divergenceOf,
  inputsIn,
  type RecordedVerification,
  readVerification,
} from "../runtime/verification.ts";
import { recordsIn } from "./fork-replay.ts";
import type { ReplayDetails, VerificationSummary } from "./forks-types.ts";
import { historyOf, unknownPipeline } from "./pipeline-name.ts";
import { chosenIn } from "./replay-selection.ts";
import { statusOf } from "./replay-status.ts";
import type { ReplayReport } from "./replay-types.ts";
import { verifyKept } from "./verification-kept.ts";
import type { ForkRequest } from "./what-if-types.ts";

type ResumedVerification = Omit<ForkRequest, "onProgress"> & {
  readonly onProgress: Parameters<typeof verifyKept>[2]["onProgress"] | undefined;
};

/** A verification that is in the log, as it is; `undefined`: there is none of this name. */
export async function verificationSummary(
  surroundings: Surroundings,
  log: EventLog,
  name: string,
): Promise<VerificationSummary | undefined> {
  const found = await readVerification(log, name);
  return found && summaryOf(surroundings, log, name, found);
}

/** The same, with what came of it if it is done. */
export async function showVerification(
  surroundings: Surroundings,
  log: EventLog,
  name: string,
): Promise<Extract<ReplayDetails, { readonly mode: "verify" }> | undefined> {
  const found = await readVerification(log, name);
  if (found === undefined) return undefined;
  return { ...(await summaryOf(surroundings, log, name, found)), report: reportIn(found) };
}

/**
 * Goes on with a verification from where it is. One that is done answers what came of it. Throws as `replay`, and
 * `BadUsage` for what only a replay with a fork can do.
 */
export async function resumeVerification(
  surroundings: Surroundings,
  log: EventLog,
  name: string,
  request: ResumedVerification,
): Promise<ReplayReport> {
  const {
    outputs,
    rotations,
    sinks,
    diff,
    rate,
    onProgress,
    signal = new AbortController().signal,
  } = request;
  for (const [option, given] of [
    ["--output", outputs !== undefined && outputs.size > 0],
    ["--rotate", rotations !== undefined && rotations.size > 0],
    ["--diff", diff !== undefined],
    ["sinks", sinks !== undefined && Object.keys(sinks).length > 0],
  ] as const) {
    if (!given) continue;
    throw new HeadwaterError("BadUsage", "the replay compares with what was recorded, and has no outputs", {
      where: option,
      hint: "Leave it out.",
    });
  }
  const found = await readVerification(log, name);
  const { pipeline, id } = forkOf(name) ?? {};
  if (found === undefined || pipeline === undefined || id === undefined) throw unknownPipeline(name);
  const done = reportIn(found);
  if (done !== undefined) return done;
  const history = await historyOf(surroundings, log, pipeline);
  const window = { from: found.begun.begin, to: found.begun.end };
  const { only } = found.begun;
  const inputs = inputsIn(pipeline, found.begun.inputs);
  const within = { surroundings, log, history, window, signal };
  const selection = await chosenIn(within, only);
  const { clock, processes } = surroundings;
  await askOf(log, clock, processes, name, "resume");
  return verifyKept(
    { ...within, only, selection, inputs },
    { id, name },
    { ...(rate !== undefined && { rate }), ...(onProgress !== undefined && { onProgress }) },
  );
}

async function summaryOf(
  surroundings: Surroundings,
  log: EventLog,
  name: string,
  { begun, state }: RecordedVerification,
): Promise<VerificationSummary> {
  const { pipeline, begin: from, end: to, only, wall } = begun;
  const isDone = state !== undefined && state.at === undefined;
  const status = await statusOf(log, surroundings, name, isDone);
  const of = await recordsIn(log, await historyOf(surroundings, log, pipeline), { from, to });
  return {
    id: forkOf(name)?.id ?? "",
    mode: "verify",
    pipeline,
    status,
    heldUntil: status === "done" || status === "stopped" ? undefined : await heldUntil(log, name),
    begun: wall,
    ...{ from, to },
    records: Math.floor((state?.share ?? 0) * of),
    ...{ of, only },
    steps: state?.steps ?? 0,
    diverged: state?.diverged ?? 0,
  };
}

/** What is absent there is `undefined` in a report. */
function reportIn({ report }: RecordedVerification): ReplayReport | undefined {
  if (report === undefined) return undefined;
  const absent = {
    ...{ only: undefined, keysUnknown: undefined, quarantined: undefined, firstGone: undefined },
  };
  const { firstDivergence: first, ...rest } = report as unknown as ReplayReport;
  const firstDivergence = first && { ...first, ...divergenceOf(first as unknown as Value) };
  return { ...absent, ...rest, firstDivergence };
}
