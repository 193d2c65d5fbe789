import { decodeDeltas, decodeRuns, encodeDeltas, encodeRuns } from "./columns.ts";

/**
 * How far event time has come where a watermark was read: no record before `time` (milliseconds since 1970) is
 * expected any more. After Akidau et al., "The Dataflow Model" (2015).
 */
export type Watermark =
  /** Records come; −∞ while nothing is known of their times. */
  | { readonly status: "active"; readonly time: number }
  /** No record has come for a while: others do not wait for this one. */
  | { readonly status: "idle"; readonly time: number }
  /** The input has ended: nothing more is expected, but there may be another input later. */
  | { readonly status: "ended"; readonly time: number };

/** From `ordinal` on (before the record that has it, and after firings that have it) `watermark` holds. */
export interface WatermarkStep {
  readonly ordinal: number;
  readonly watermark: Watermark;
}

/** Where nothing is known of times: it holds nobody up from knowing that an input has ended, and fires nothing. */
export const NO_TIME = Number.NEGATIVE_INFINITY;

/** Steps as a StepsRecorded or RecordsAccepted event has them: see "Watermarks" in docs/format.md. */
export interface WatermarkColumns {
  /** Deltas of the ordinals of the steps. */
  readonly ordinals: Uint8Array;
  /** Deltas of their times, the time before a step that has none standing for it (0 at the first). */
  readonly times: Uint8Array;
  /** Runs: 0 active, 1 idle, 2 ended, and 4 more where there is no time yet. Absent: all are 0. */
  readonly status?: Uint8Array;
}

const STATUSES = ["active", "idle", "ended"] as const;
const TIMELESS = 4;

export function encodeWatermarks(steps: readonly WatermarkStep[]): WatermarkColumns {
  let before = 0;
  const times = steps.map(({ watermark }) => {
    if (watermark.time !== NO_TIME) before = watermark.time;
    return before;
  });
  const status = steps.map(
    ({ watermark }) => STATUSES.indexOf(watermark.status) + (watermark.time === NO_TIME ? TIMELESS : 0),
  );
  return {
    ordinals: encodeDeltas(steps.map(({ ordinal }) => ordinal)),
    times: encodeDeltas(times),
    ...(status.some((code) => code !== 0) && { status: encodeRuns(status) }),
  };
}

export function decodeWatermarks(columns: WatermarkColumns): WatermarkStep[] {
  const ordinals = decodeDeltas(columns.ordinals);
  const times = decodeDeltas(columns.times, ordinals.length);
  const status = columns.status === undefined ? undefined : decodeRuns(columns.status, ordinals.length);
  return ordinals.map((ordinal, row) => {
    const code = status?.[row] ?? 0;
    const time = code >= TIMELESS ? NO_TIME : (times[row] as number);
    return { ordinal, watermark: { status: STATUSES[code % TIMELESS] ?? "active", time } };
  });
}

/** The last step of columns that hold at least one. */
export function lastWatermark(columns: WatermarkColumns | undefined): WatermarkStep | undefined {
  return columns === undefined ? undefined : decodeWatermarks(columns).at(-1);
}

/**
 * The watermark of several inputs together: the least of those that are active, and never below `before`. Idle and
 * ended inputs hold nobody up; when all have ended, so have they together. `undefined` while nothing is known of one
 * of them.
 */
export function mergeWatermarks(
  inputs: readonly (Watermark | undefined)[],
  before: Watermark | undefined,
): Watermark | undefined {
  let least = Number.POSITIVE_INFINITY;
  let active = false;
  let idle = false;
  for (const input of inputs) {
    if (input === undefined) return undefined;
    if (input.status === "active") {
      active = true;
      least = Math.min(least, input.time);
    } else if (input.status === "idle") {
      idle = true;
    }
  }
  const floor = before?.time ?? NO_TIME;
  if (active) return { status: "active", time: Math.max(floor, least) };
  return { status: idle ? "idle" : "ended", time: floor };
}

export function sameWatermark(a: Watermark | undefined, b: Watermark | undefined): boolean {
  return a?.status === b?.status && a?.time === b?.time;
}
