import { LIMITS } from "../core/limits.ts";
import type { Plan } from "../pipeline/plan.ts";
import type { Clock } from "../ports/clock.ts";
import type { Watchdog } from "../ports/watchdog.ts";
import { partitionOfUnit, stepsStreamOf, unitsOf } from "./routes.ts";
import type { WatchedRun } from "./stall-watch.ts";
import { sharedMarks, WorkMarks } from "./work-marks.ts";

export interface InlineWatch {
  /** Where partitions say what they are at. */
  readonly marks: WorkMarks;
  stop(): void;
}

/** Has this thread watched by a watchdog, which tells on standard error if a function of the pipeline keeps it. */
export function watchInline(watchdog: Watchdog, clock: Clock, plan: Plan, pid: number): InlineWatch {
  const { partitions } = unitsOf(plan);
  const shared = sharedMarks(partitions.length);
  const marks = new WorkMarks(shared, partitions);
  const units = partitions.map((unit) => {
    const { segment, partition } = partitionOfUnit(plan, unit);
    const stages = segment.stages.map(({ definition }) => definition.name);
    return { unit, stream: stepsStreamOf(plan, segment, partition), stages };
  });
  const seed: WatchedRun = { units, pid, lookMs: LIMITS.stallLookMs, toldMs: LIMITS.stallToldMs };
  let cancel = () => {};
  const beat = () => {
    marks.beat();
    cancel = clock.setTimeout(beat, LIMITS.threadBeatMs);
  };
  beat();
  const end = watchdog.start({ seed, shared });
  return {
    marks,
    stop: () => {
      cancel();
      end();
    },
  };
}
