import { HeadwaterError } from "../core/errors.ts";
import { parseIsoTime } from "../core/iso-time.ts";
import { ORDINAL_MOST } from "../core/ordinal.ts";
import { createSurroundings } from "../runtime/compose.ts";

/** A point in the history of a pipeline, which is in the order of ordinals. Times are in milliseconds since 1970. */
export type HistoryPoint =
  /** After the records with this ordinal. */
  | { readonly ordinal: number }
  /** Where event time had come to: before the first record that is later. */
  | { readonly eventTime: number }
  /** After what was accepted by then. */
  | { readonly logTime: number };

const UNITS: Readonly<Record<string, number>> = {
  ms: 1,
  s: 1_000,
  m: 60_000,
  h: 3_600_000,
  d: 86_400_000,
  w: 604_800_000,
};

/**
 * An ISO 8601 time, or a time before `now` (`-2h`), in milliseconds since 1970; `undefined` for anything else. Whole
 * milliseconds, rounded down.
 */
export function parseTime(text: string, now: number): number | undefined {
  const relative = /^-(\d+(?:\.\d+)?)(ms|s|m|h|d|w)$/.exec(text);
  const unit = UNITS[relative?.[2] ?? ""];
  if (relative === null || unit === undefined) return parseIsoTime(text);
  return Math.floor(now - Number(relative[1]) * unit);
}

/**
 * A point as it is written on the command line: an ordinal in digits, or a time, which is an event time unless
 * `logTime`. `option` names it in errors; relative times are before `now`, by the machine's clock if absent. Throws
 * `BadUsage`.
 */
export function parsePoint(
  option: string,
  text: string,
  { logTime = false, now }: { readonly logTime?: boolean; readonly now?: number } = {},
): HistoryPoint {
  if (/^\d+$/.test(text)) {
    const ordinal = Number(text);
    if (ordinal <= ORDINAL_MOST) return { ordinal };
  } else {
    const time = parseTime(text, now ?? createSurroundings().clock.now());
    if (time !== undefined) return logTime ? { logTime: time } : { eventTime: time };
  }
  throw new HeadwaterError("BadUsage", `neither an ordinal nor a time: ${JSON.stringify(text)}`, {
    where: option,
    hint: `Give an ordinal (0 to ${ORDINAL_MOST}), a time (2026-01-31T12:00:00Z) or a relative time (-2h).`,
  });
}
