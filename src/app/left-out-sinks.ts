import type { Plan } from "../pipeline/plan.ts";
import type { EventLog } from "../ports/event-log.ts";
import { mayLoseRecords } from "../runtime/retention.ts";
import { lastTarget, targetOfName } from "../runtime/sink-history.ts";
import type { SinkTarget } from "../runtime/sink-target.ts";
import { rotationOf, rotationText } from "./rotation.ts";
import type { RunNotice } from "./run-types.ts";

/**
 * Tells of each sink that has no target though what it delivered last went to a file or a receiver: what comes while it is
 * left out goes there late, or never.
 */
export async function tellLeftOut(
  log: EventLog,
  plan: Plan,
  targets: ReadonlyMap<string, SinkTarget>,
  notify: ((notice: RunNotice) => void) | undefined,
): Promise<void> {
  if (notify === undefined) return;
  let mayBeLost: boolean | undefined;
  for (const { name: sink } of plan.sinks) {
    if (targets.has(sink)) continue;
    const before = targetOfName((await lastTarget(log, plan.definition.name, sink)) ?? "");
    if (before === undefined) continue;
    const { to, output, division } = before;
    mayBeLost ??= await mayLoseRecords(log, plan);
    const rotate = division === undefined ? {} : { rotate: rotationText(rotationOf(division)) };
    notify({ kind: "sink-left-out", sink, to, output, ...rotate, mayBeLost });
  }
}
