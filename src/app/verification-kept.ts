import { HeadwaterError, isHeadwaterError } from "../core/errors.ts";
import type { DeployedSelection, VerificationInputs } from "../core/events.ts";
import { LIMITS } from "../core/limits.ts";
import { checkName } from "../core/names.ts";
import { forkName, forkOf } from "../core/streams.ts";
import type { Value } from "../core/value.ts";
import type { EventLog } from "../ports/event-log.ts";
import type { Surroundings } from "../runtime/compose.ts";
import { recordedPartitions } from "../runtime/deployment-history.ts";
import { untilAsked, whyEnded } from "../runtime/fork-asks.ts";
import { idInUse } from "../runtime/replay-id.ts";
import {
  beginVerification,
  readVerification,
  saveVerification,
  type VerificationState,
  withoutLarge,
} from "../runtime/verification.ts";
import { operateVerification } from "../runtime/verification-run.ts";
import { windowInputs } from "../runtime/window-inputs.ts";
import type { HistoryWindow } from "./history-window.ts";
import type { SelectedHistory } from "./replay-selection.ts";
import type { ReplayReport, ReplayRequest } from "./replay-types.ts";
import { beginning } from "./verification.ts";
import { type ToVerify, verifyAll } from "./verification-report.ts";

/**
 * Begins a verification whose progress is kept in the log; answers its name, `PIPELINE~ID`. Throws `BadUsage` for an id
 * that is in use.
 */
export async function beginKept(
  of: SelectedHistory & { readonly only: DeployedSelection | undefined },
  id: string,
): Promise<string> {
  const { surroundings, log, history, window, only } = of;
  const { pipeline } = history;
  checkName("replay", id);
  if (forkOf(pipeline) !== undefined) {
    throw new HeadwaterError("BadUsage", "of a replay nothing is kept that is named by an id", {
      where: pipeline,
      hint: "Leave --id out.",
    });
  }
  const name = forkName(pipeline, id);
  const inputs = await inputsOf(log, history, window);
  const isNew = await beginVerification(log, surroundings.clock, name, {
    ...{ pipeline, begin: window.from, end: window.to },
    ...(only !== undefined && { only }),
    ...(inputs !== undefined && { inputs }),
  });
  if (!isNew) throw idInUse(id, pipeline);
  return name;
}

/** Which inputs of each partition are in a window, while that can be told; of too many partitions it is not written down. */
async function inputsOf(
  log: EventLog,
  history: SelectedHistory["history"],
  window: HistoryWindow,
): Promise<VerificationInputs[] | undefined> {
  const units = recordedPartitions(history.all);
  if (units.length > LIMITS.verificationUnits) return undefined;
  const inputs: VerificationInputs[] = [];
  for (const unit of units) {
    const { first, end } = await windowInputs(log, history, unit, window);
    inputs.push({ ...unit, ...(first !== undefined && { first }), ...(end !== undefined && { end }) });
  }
  return inputs;
}

/**
 * Goes on with a verification from where it is in the log, to its end. How far it is is written down from time to time,
 * and when it halts: asked by another process, or because `signal` aborts; then throws `Stopped`.
 */
export async function verifyKept(
  of: ToVerify & { readonly surroundings: Surroundings },
  { id, name }: { readonly id: string; readonly name: string },
  request: Pick<ReplayRequest, "onProgress" | "rate">,
): Promise<ReplayReport> {
  const { surroundings, log, history, signal: interrupted } = of;
  const { clock } = surroundings;
  const until = untilAsked(log, clock, name, interrupted);
  let state = beginning(history);
  let report: ReplayReport | undefined;
  try {
    await operateVerification({
      ...surroundings,
      ...{ log, name, signal: until.signal },
      restore: async () => {
        const known = await readVerification(log, name);
        if (known?.state !== undefined) state = known.state;
      },
      work: async (signal, confirm) => {
        const save = (now: VerificationState, done?: Value) =>
          saveVerification(log, clock, name, now, done, confirm);
        const keeper = new Keeper((now) => save(now));
        const onState = (now: VerificationState) => {
          state = now;
          // What became of refused records is told at the end: it is looked for from the beginning.
          if (of.only?.quarantined !== true) keeper.keep(now, clock.monotonic());
        };
        try {
          report = await verifyAll({ ...of, signal }, id, request, state, onState);
          await keeper.end();
          await save({ ...state, at: undefined, share: 1 }, keptReport(report));
          return "done";
        } catch (error) {
          await keeper.end();
          if (!isHeadwaterError(error, "Stopped") || !signal.aborted) throw error;
          if (of.only?.quarantined !== true) await save(state);
          return "halted";
        }
      },
    });
  } catch (error) {
    throw await whyEnded(log, name, error, until.signal);
  } finally {
    until.end();
  }
  if (report === undefined) throw new HeadwaterError("Internal", "a verification ended without a report");
  return report;
}

/** Writes down how far something is, one at a time and not too often. */
class Keeper {
  readonly #save: (state: VerificationState) => Promise<void>;
  #saving: Promise<void> | undefined;
  #failure: unknown;
  #savedAt: number | undefined;

  constructor(save: (state: VerificationState) => Promise<void>) {
    this.#save = save;
  }

  /** Throws what an earlier one failed by. */
  keep(state: VerificationState, now: number): void {
    if (this.#failure !== undefined) throw this.#failure;
    this.#savedAt ??= now;
    if (this.#saving !== undefined || now - this.#savedAt < LIMITS.verificationKeptMs) return;
    this.#savedAt = now;
    this.#saving = this.#save(state)
      .catch((error: unknown) => {
        this.#failure = error;
      })
      .finally(() => {
        this.#saving = undefined;
      });
  }

  /** Waits for the one that is under way. */
  async end(): Promise<void> {
    await this.#saving;
  }
}

/** A report as it is kept, without values that are too large for that. */
function keptReport(report: ReplayReport): Value {
  const { firstDivergence: first, ...rest } = report;
  return {
    ...rest,
    ...(first !== undefined && { firstDivergence: withoutLarge(first) }),
  } as unknown as Value;
}
