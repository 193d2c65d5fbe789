import { HeadwaterError } from "../core/errors.ts";
import { LIMITS } from "../core/limits.ts";
import { type Duration, durationMs } from "./duration.ts";

/**
 * How records of one key are put into windows, by their event time. Times are milliseconds since 1970; a window
 * holds the times from its `start` up to, and without, its `end`.
 */
export type Windows =
  /** Windows of `sizeMs` that begin every `slideMs` from `offsetMs` on; tumbling ones where the two are the same. */
  | { readonly kind: "time"; readonly sizeMs: number; readonly slideMs: number; readonly offsetMs: number }
  /** A window for each run of records that are less than `gapMs` apart; it ends `gapMs` after its last record. */
  | { readonly kind: "session"; readonly gapMs: number }
  /** One window without end, which fires at every `records` records, and then begins anew unless it is `kept`. */
  | { readonly kind: "global"; readonly records: number; readonly kept: boolean };

/** How a message names windows, which stand in no stage yet: by what was written. */
function call(name: string, ...given: readonly unknown[]): string {
  const shown = given.map((one) => (typeof one === "string" ? JSON.stringify(one) : String(one)));
  return `${name}(${shown.join(", ")})`;
}

/** Settings of windows of a fixed size. */
export interface TimeWindowOptions {
  /** Windows begin this much after multiples of their size (or slide) since 1970; 0 if absent. */
  readonly offset?: Duration;
}

/** Windows of `size`, one after the other: `tumbling("10m")`. Throws `BadPipeline`. */
export function tumbling(size: Duration, options: TimeWindowOptions = {}): Windows {
  return timeWindows(call("tumbling", size), size, size, options);
}

/** Windows of `size`, a new one every `slide`, so that a record is in several: `sliding("1h", "10m")`. Throws `BadPipeline`. */
export function sliding(size: Duration, slide: Duration, options: TimeWindowOptions = {}): Windows {
  return timeWindows(call("sliding", size, slide), size, slide, options);
}

function timeWindows(where: string, size: Duration, slide: Duration, options: TimeWindowOptions): Windows {
  const sizeMs = durationMs(size, "a window's size", where, 1);
  const slideMs = durationMs(slide, "a window's slide", where, 1);
  if (slideMs > sizeMs) {
    throw new HeadwaterError("BadPipeline", "windows slide by more than their size", {
      where,
      hint: "Records between two windows would be in none. Slide by the size at most.",
    });
  }
  if (Math.ceil(sizeMs / slideMs) > LIMITS.panesPerRecord) {
    throw new HeadwaterError("BadPipeline", `a record would be in ${Math.ceil(sizeMs / slideMs)} windows`, {
      where,
      hint: `It may be in ${LIMITS.panesPerRecord}: slide by more.`,
    });
  }
  const offsetMs = durationMs(options.offset ?? 0, "a window's offset", where);
  return { kind: "time", sizeMs, slideMs, offsetMs: offsetMs % slideMs };
}

/**
 * Windows that last as long as records keep coming: one ends when for `gap` there was none. `session("30m")`.
 * A record that comes late may join two sessions. Throws `BadPipeline`.
 */
export function session(gap: Duration): Windows {
  return { kind: "session", gapMs: durationMs(gap, "a session's gap", call("session", gap), 1) };
}

/** When a window without end fires. */
export interface GlobalWindowOptions {
  /** At every so many records. */
  readonly every: number;
  /** What comes after a firing: `clear` begins anew with the next record (if absent), `keep` goes on adding. */
  readonly afterwards?: "clear" | "keep";
}

/** One window for all records of a key, whatever their time: `globalWindow({ every: 100 })`. Throws `BadPipeline`. */
export function globalWindow({ every, afterwards = "clear" }: GlobalWindowOptions): Windows {
  const where = "globalWindow";
  if (!Number.isSafeInteger(every) || every < 1) {
    throw new HeadwaterError(
      "BadPipeline",
      `a global window fires at every so many records, not ${String(every)}`,
      { where, hint: "Give a whole number from 1 on: globalWindow({ every: 100 })." },
    );
  }
  if (afterwards !== "clear" && afterwards !== "keep") {
    throw new HeadwaterError("BadPipeline", `after a firing a global window does not ${String(afterwards)}`, {
      where,
      hint: 'Give afterwards: "clear" or "keep".',
    });
  }
  return { kind: "global", records: every, kept: afterwards === "keep" };
}

/** Why a window gives a result. */
export type FiringKind =
  /**
   * The watermark has passed its end (of a global window: enough records have come). It comes after early ones even
   * if nothing was added since; of the results of a window the latest counts, whatever its kind.
   */
  | "on-time"
  /** It is open still, and gives what it has so far. */
  | "early"
  /** A record came after its end, but within the allowed lateness: the result replaces the one before. */
  | "late"
  /** The inputs have ended while it was open. */
  | "end";

/** What is said of a window beside its total. */
export interface WindowInfo<K> {
  readonly key: K;
  /** Milliseconds since 1970; −∞ of a global window. */
  readonly start: number;
  /** Exclusive; ∞ of a global window. */
  readonly end: number;
  readonly firing: FiringKind;
}

/** When a window gives what it has before its end. */
export type EarlyFiring =
  /** Whenever the watermark passes a multiple of `every` (since 1970) and something was added. */
  | { readonly every: Duration; readonly records?: never }
  /** At every so many records that are added. */
  | { readonly records: number; readonly every?: never };

/** Where a window that begins at or before `time` and holds it, the last of them, begins. */
export function lastStart(time: number, slideMs: number, offsetMs: number): number {
  return Math.floor((time - offsetMs) / slideMs) * slideMs + offsetMs;
}
