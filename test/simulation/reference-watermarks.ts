import type { WatermarkPolicy } from "../../src/pipeline/definition.ts";

/** How far event time has come: −∞ while no time is known. */
export interface Mark {
  readonly status: "active" | "idle" | "ended";
  readonly time: number;
}

/** From `ordinal` on `mark` holds. */
export interface Step {
  readonly ordinal: number;
  readonly mark: Mark;
}

/** What a door sees: a record with its event time, or that none comes, for now or for good. */
export interface DoorEvent {
  readonly ordinal: number;
  /** `resumed`: after its end, because something was put back. */
  readonly kind: "record" | "idle" | "ended" | "resumed";
  readonly time?: number | undefined;
}

const NO_TIME = Number.NEGATIVE_INFINITY;

/** How many in a row have to be far ahead to be believed. */
const ROW_OF_AHEAD = 8;

/** The steps of a source's watermark, and the N's of the records whose times are not believed. */
export function doorSteps(
  { outOfOrdernessMs, aheadMs }: WatermarkPolicy,
  events: readonly DoorEvent[],
): { readonly steps: readonly Step[]; readonly ahead: readonly number[] } {
  const riseMs = Math.max(1_000, Math.floor(outOfOrdernessMs / 64));
  const steps: Step[] = [];
  const notBelieved: number[] = [];
  const believed = highestBelieved(events, aheadMs, notBelieved);
  for (const [index, { ordinal, kind }] of events.entries()) {
    const now = steps.at(-1)?.mark;
    if (kind === "resumed") {
      steps.push({ ordinal, mark: { status: "active", time: now?.time ?? NO_TIME } });
      continue;
    }
    if (kind !== "record") {
      const known = now?.status === "ended" || now?.status === kind;
      if (kind === "ended" || !known)
        steps.push({ ordinal, mark: { status: kind, time: now?.time ?? NO_TIME } });
      continue;
    }
    const target = (believed[index] ?? NO_TIME) - outOfOrdernessMs;
    const mark = { status: "active", time: Math.max(target, now?.time ?? NO_TIME) } as const;
    if (now === undefined) {
      if (target > NO_TIME) steps.push({ ordinal, mark });
    } else if (now.status !== "active" || (target > NO_TIME && target >= now.time + riseMs)) {
      steps.push({ ordinal, mark });
    }
  }
  return { steps, ahead: notBelieved };
}

/** After each event the highest time that is believed; `undefined` before the second record. */
function highestBelieved(
  events: readonly DoorEvent[],
  aheadMs: number,
  notBelieved: number[],
): (number | undefined)[] {
  let highest: number | undefined;
  let first: number | undefined;
  /** Times in a row that are far ahead. */
  let row: number[] = [];
  let next = 0;
  return events.map(({ kind, time }) => {
    if (kind !== "record" || time === undefined) return highest;
    const n = next++;
    if (highest === undefined) {
      if (first === undefined) {
        first = time;
      } else if (Math.abs(time - first) <= aheadMs) {
        highest = Math.max(time, first);
      } else {
        highest = Math.min(time, first);
        if (time > first) {
          row = [time];
          notBelieved.push(n);
        }
      }
      return highest;
    }
    if (time <= highest + aheadMs) {
      highest = Math.max(highest, time);
      row = [];
      return highest;
    }
    row.push(time);
    if (row.length < ROW_OF_AHEAD) {
      notBelieved.push(n);
      return highest;
    }
    highest = Math.min(...row);
    row = [];
    return highest;
  });
}

/** The watermark of several inputs together: the least of the active ones, and it never falls. */
export function mergedSteps(inputs: readonly (readonly Step[])[]): readonly Step[] {
  const merged: Step[] = [];
  const ordinals = [...new Set(inputs.flatMap((steps) => steps.map(({ ordinal }) => ordinal)))];
  for (const ordinal of ordinals.sort((a, b) => a - b)) {
    const marks = inputs.map((steps) => steps.findLast((step) => step.ordinal <= ordinal)?.mark);
    if (marks.includes(undefined)) continue;
    const of = (status: Mark["status"]) => marks.flatMap((mark) => (mark?.status === status ? [mark] : []));
    const before = merged.at(-1)?.mark;
    const floor = before?.time ?? NO_TIME;
    const active = of("active");
    const status = active.length > 0 ? "active" : of("idle").length > 0 ? "idle" : "ended";
    const time = active.length > 0 ? Math.max(floor, Math.min(...active.map((mark) => mark.time))) : floor;
    if (before?.status !== status || before.time !== time) merged.push({ ordinal, mark: { status, time } });
  }
  return merged;
}
