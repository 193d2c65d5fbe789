import { decodeParents } from "../core/columns.ts";
import type { StepsRecorded } from "../core/events.ts";
import { SEGMENT_INPUT } from "../pipeline/plan.ts";

/** For each row of a stage of a step event the input (counted in the event) that it descends from. */
export function inputsOfRows(event: StepsRecorded, stage: number): readonly number[] {
  const columns = stage === SEGMENT_INPUT ? undefined : event.stages?.[stage];
  if (columns === undefined) return Array.from({ length: event.count }, (_, row) => row);
  const ahead = inputsOfRows(event, columns.input);
  if (columns.results === undefined) return ahead;
  return decodeParents(columns.results, ahead.length).map((row) => ahead[row] as number);
}
