import { decodeDeltas } from "../core/columns.ts";
import { decodeEvent } from "../core/event-codec.ts";
import { StepShape } from "../engine/step-shape.ts";
import type { EventLog } from "../ports/event-log.ts";
import { seekThrough } from "./seek.ts";

/** What one of a segment's stages was given, and what it gave, in rows. */
export interface StageCounts {
  readonly steps: number;
  readonly results: number;
}

/**
 * Counts for each of the first `stages` stages of a partition's stream the steps and results that are recorded of inputs
 * with ordinals from `from` up to and with `to`.
 */
export async function countStages(
  log: EventLog,
  stream: string,
  from: number,
  to: number,
  stages: number,
): Promise<readonly StageCounts[]> {
  const counts = Array.from({ length: stages }, () => ({ steps: 0, results: 0 }));
  if ((await log.streamInfo(stream)) === undefined) return counts;
  for await (const recorded of log.read(stream, { from: (await seekThrough(log, stream, from - 2)) ?? 0 })) {
    const { type, data } = decodeEvent(recorded);
    if (type !== "StepsRecorded" || data.ordinals === undefined) continue;
    const ordinals = decodeDeltas(data.ordinals, data.count);
    if ((ordinals[0] ?? 0) > to) break;
    const shape = new StepShape(data);
    const within = (input: number) => {
      const ordinal = ordinals[input] ?? 0;
      return from <= ordinal && ordinal <= to;
    };
    const whole = within(0) && within(ordinals.length - 1);
    const rowsOf = (stage: number) => {
      const { count } = shape.stage(stage);
      if (whole) return count;
      const origin = shape.origin(stage);
      let rows = 0;
      for (let row = 0; row < count; row++) if (within(origin?.[row] ?? row)) rows++;
      return rows;
    };
    for (const [stage, { input }] of (data.stages ?? []).slice(0, stages).entries()) {
      const of = counts[stage];
      if (of === undefined) continue;
      of.steps += rowsOf(input);
      of.results += rowsOf(stage);
    }
  }
  return counts;
}
