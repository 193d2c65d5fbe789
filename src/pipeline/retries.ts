import { HeadwaterError } from "../core/errors.ts";
import { LIMITS } from "../core/limits.ts";
import { type Duration, durationMs } from "./duration.ts";

/** How often something is tried again, and how long is waited before. */
export interface RetrySettings {
  /** Tries after the first one: 1 to 100. */
  readonly times: number;
  /** The wait before the second try; `"100ms"` if absent. About as long: each is shortened by up to a half. */
  readonly backoff?: Duration;
  /** By how much each wait is longer than the one before: 1 to 100, 2 if absent. */
  readonly factor?: number;
  /** The longest wait, at most an hour; `"10s"` if absent. */
  readonly most?: Duration;
}

/** {@link RetrySettings}, checked, and with what they leave out. */
export interface RetryPlan {
  readonly times: number;
  readonly backoffMs: number;
  readonly factor: number;
  readonly mostMs: number;
}

const SETTINGS: readonly string[] = ["times", "backoff", "factor", "most"] satisfies (keyof RetrySettings)[];

/** Throws `BadPipeline`, with `where`, for settings that mean nothing. */
export function retryPlan(settings: RetrySettings, where: string): RetryPlan {
  if (typeof settings !== "object" || settings === null) {
    throw bad("retry is no object", where, 'Give retry: { times: 3 }, or { times: 3, backoff: "1s" }.');
  }
  const unknown = Object.keys(settings).find((name) => !SETTINGS.includes(name));
  if (unknown !== undefined) {
    throw bad(`retry has no ${JSON.stringify(unknown)}`, where, `It has ${SETTINGS.join(", ")}.`);
  }
  const { times, factor = LIMITS.retryFactor } = settings;
  if (!(Number.isSafeInteger(times) && times >= 1 && times <= LIMITS.retriesMost)) {
    throw bad(
      `retry.times has to be a whole number from 1 to ${LIMITS.retriesMost}, not ${String(times)}`,
      where,
      "It counts the tries after the first one.",
    );
  }
  if (!(typeof factor === "number" && factor >= 1 && factor <= LIMITS.retryFactorMost)) {
    throw bad(
      `retry.factor has to be a number from 1 to ${LIMITS.retryFactorMost}, not ${String(factor)}`,
      where,
      "With 1, all waits are as long as the first.",
    );
  }
  const mostMs = waitMs(settings.most ?? LIMITS.retryBackoffMsMost, "retry.most", where);
  const backoffMs = waitMs(
    settings.backoff ?? Math.min(LIMITS.retryBackoffMs, mostMs),
    "retry.backoff",
    where,
  );
  return { times, backoffMs, factor, mostMs };
}

/** A time that somebody waits, from 1 ms to an hour. Throws `BadPipeline`. */
export function waitMs(duration: Duration, what: string, where: string): number {
  const ms = durationMs(duration, what, where, 1);
  if (ms <= LIMITS.waitMsMost) return ms;
  throw bad(`${what} is longer than an hour`, where, 'Give a shorter one, such as "30s".');
}

function bad(message: string, where: string, hint: string): HeadwaterError {
  return new HeadwaterError("BadPipeline", message, { where, hint });
}
