import { recordsOf, SEGMENT_INPUT, type Segment, type SegmentCaptures } from "./plan.ts";

/** A segment as it is for inputs that come in at one of its stages: see "Retries" in docs/format.md. */
export interface SegmentEntry {
  /** The stage at which they come in; `undefined` if the segment has it not. */
  readonly stage: number | undefined;
  /** That stage reads the segment's inputs. */
  readonly segment: Segment;
  /** Of each stage whether anything comes to it. */
  readonly reached: readonly boolean[];
}

/** What `segment` is for inputs that come in at the stage `name`. */
export function entryAt(segment: Segment, name: string): SegmentEntry {
  const found = segment.stages.findIndex(({ definition }) => definition.name === name);
  if (found < 0) return { stage: undefined, segment, reached: segment.stages.map(() => false) };
  // Where its first stage is a window or join, others read with it what comes too late.
  if (found === 0) return { stage: 0, segment, reached: segment.stages.map(() => true) };
  const stages = segment.stages.map((stage, at) =>
    at === found ? { ...stage, input: SEGMENT_INPUT } : stage,
  );
  const reached: boolean[] = [];
  for (const [at, { input }] of stages.entries()) reached.push(at === found || (reached[input] ?? false));
  const outlets = segment.outlets.map((outlet) => ({
    ...outlet,
    stored: recordsOf({ stages }, outlet.stage),
  }));
  return {
    stage: found,
    segment: { ...segment, stages, outlets, captures: capturesAt(segment, found) },
    reached,
  };
}

/** What comes in at a stage was made by one before it. */
function capturesAt(segment: Segment, stage: number): SegmentCaptures | undefined {
  const { captures } = segment;
  const maker = recordsOf(segment, segment.stages[stage]?.input ?? SEGMENT_INPUT);
  const inputs = captures?.stages[maker] ?? captures?.inputs;
  return captures && inputs && { ...captures, inputs };
}
