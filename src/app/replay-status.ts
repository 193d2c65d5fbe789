import type { EventLog } from "../ports/event-log.ts";
import type { Surroundings } from "../runtime/compose.ts";
import { askedOf } from "../runtime/fork-asks.ts";
import { processAtWork } from "../runtime/supervision.ts";
import type { ForkStatus } from "./forks-types.ts";

/** How a replay that is in the log is: see {@link ForkStatus}. */
export async function statusOf(
  log: EventLog,
  { clock, processes }: Pick<Surroundings, "clock" | "processes">,
  name: string,
  isDone: boolean,
): Promise<ForkStatus> {
  if (isDone) return "done";
  const asked = await askedOf(log, name);
  if ((await processAtWork({ log, clock, processes, pipeline: name })) !== undefined) return "running";
  if (asked === "stop") return "stopped";
  return asked === "pause" ? "paused" : "interrupted";
}
