import { HeadwaterError } from "../core/errors.ts";

/** A length of time: milliseconds, or a number and its unit, such as `"30s"`, `"10m"`, `"1.5h"`, `"1d"`. */
export type Duration = number | `${number}${"ms" | "s" | "m" | "h" | "d"}`;

const UNIT_MS: Readonly<Record<string, number>> = { ms: 1, s: 1_000, m: 60_000, h: 3_600_000, d: 86_400_000 };
/** The longest that makes sense: 1,000 years. With it sums of times stay exact. */
const MOST_MS = 1_000 * 366 * 86_400_000;

/**
 * A duration in whole milliseconds, from `least` on. Throws `BadPipeline`, naming `what` it is and `where`.
 */
export function durationMs(duration: Duration, what: string, where: string, least = 0): number {
  const ms = typeof duration === "number" ? duration : parse(duration);
  if (Number.isSafeInteger(ms) && ms >= least && ms <= MOST_MS) return ms;
  throw new HeadwaterError("BadPipeline", `${what} is not a duration: ${shown(duration)}`, {
    where,
    hint: `Give whole milliseconds from ${least} on, or a text such as "500ms", "30s", "10m", "1h", "1d".`,
  });
}

function parse(text: unknown): number {
  const match = typeof text === "string" ? /^(\d+(?:\.\d+)?)(ms|s|m|h|d)$/.exec(text) : null;
  return match === null ? Number.NaN : Number(match[1]) * (UNIT_MS[match[2] as string] as number);
}

function shown(value: unknown): string {
  return typeof value === "string" ? JSON.stringify(value) : String(value);
}
