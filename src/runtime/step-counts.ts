import { decodeDeltas } from "../core/columns.ts";
import { decodeEvent } from "../core/event-codec.ts";
import { StepShape } from "../engine/step-shape.ts";
import type { EventLog } from "../ports/event-log.ts";
import { seekThrough } from "./seek.ts";

/**
 * How many steps a partition's stream has recorded for inputs with ordinals from `from` up to and with `to`: rows that
 * the first so many of its stages were given.
 */
export async function stepsIn(
  log: EventLog,
  stream: string,
  from: number,
  to: number,
  stages: number,
): Promise<number> {
  if ((await log.streamInfo(stream)) === undefined) return 0;
  let steps = 0;
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
    for (const { input } of (data.stages ?? []).slice(0, stages)) {
      const { count } = shape.stage(input);
      const origin = shape.origin(input);
      if (whole) steps += count;
      else for (let row = 0; row < count; row++) if (within(origin?.[row] ?? row)) steps++;
    }
  }
  return steps;
}
