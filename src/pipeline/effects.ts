import { HeadwaterError, isHeadwaterError } from "../core/errors.ts";
import { LIMITS } from "../core/limits.ts";
import type { Duration } from "./duration.ts";
import { type RetryPlan, type RetrySettings, retryPlan, waitMs } from "./retries.ts";

/** What an effect's function is told. */
export interface EffectCall {
  /**
   * A UUID by which the other side can tell a call that it has had from a new one. The same for this effect of this
   * record for ever: when it is tried again, after a crash, in another process.
   */
  readonly key: string;
  /** Aborted when the time is up, and when the partition is let go of. An answer after that changes nothing. */
  readonly signal: AbortSignal;
  /** Counts the calls for this record in this process, from 1. */
  readonly attempt: number;
}

/** How an effect is called. */
export interface EffectOptions {
  /** How long each call may take, at most an hour; `"30s"` if absent. */
  readonly timeout?: Duration;
  /** How a call that failed or timed out is made again; it is not if absent. */
  readonly retry?: RetrySettings;
  /**
   * Calls of this effect of this stage that are under way at a time, in all partitions of a process together: 1 to
   * 1,024, 16 if absent.
   */
  readonly concurrency?: number;
}

/** {@link EffectOptions}, checked, and with what they leave out. */
export interface EffectPlan {
  readonly timeoutMs: number;
  readonly retry: RetryPlan | undefined;
  readonly concurrency: number;
}

const OPTIONS: readonly string[] = ["timeout", "retry", "concurrency"] satisfies (keyof EffectOptions)[];
const PLAIN: EffectPlan = {
  timeoutMs: LIMITS.effectTimeoutMs,
  retry: undefined,
  concurrency: LIMITS.effectConcurrency,
};

/** What is wrong in the code comes again for each record: whoever reads of one has to know. */
const OF_CODE = "; this is in the stage's code, and not in the record";

/** Throws `BadEffect`, with `where`, for options that mean nothing. */
export function effectPlan(options: EffectOptions | undefined, where: string): EffectPlan {
  if (options === undefined) return PLAIN;
  if (typeof options !== "object" || options === null) {
    throw badEffect(
      `the effect's options are no object${OF_CODE}`,
      where,
      'Give { timeout: "5s" }, or leave them out.',
    );
  }
  const unknown = Object.keys(options).find((name) => !OPTIONS.includes(name));
  if (unknown !== undefined) {
    throw badEffect(
      `an effect has no option ${JSON.stringify(unknown)}${OF_CODE}`,
      where,
      `It has ${OPTIONS.join(", ")}.`,
    );
  }
  const { timeout, retry, concurrency = LIMITS.effectConcurrency } = options;
  if (
    !(Number.isSafeInteger(concurrency) && concurrency >= 1 && concurrency <= LIMITS.effectConcurrencyMost)
  ) {
    throw badEffect(
      `concurrency has to be a whole number from 1 to ${LIMITS.effectConcurrencyMost}, not ${String(concurrency)}${OF_CODE}`,
      where,
      "It counts calls that are under way at a time.",
    );
  }
  try {
    return {
      timeoutMs: timeout === undefined ? LIMITS.effectTimeoutMs : waitMs(timeout, "timeout", where),
      retry: retry === undefined ? undefined : retryPlan(retry, where),
      concurrency,
    };
  } catch (error) {
    if (!isHeadwaterError(error)) throw error;
    throw badEffect(`${error.message}${OF_CODE}`, where, error.hint ?? "");
  }
}

/** An effect that is used in a way in which it cannot work. */
export function badEffect(message: string, where: string, hint: string): HeadwaterError {
  return new HeadwaterError("BadEffect", message, { where, hint });
}
