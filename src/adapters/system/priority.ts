import { readdirSync } from "node:fs";
import { constants, getPriority, setPriority } from "node:os";

/** How much lower: with this a thread gets a third of what another gets that wants as much. */
const A_LITTLE = 5;

/**
 * Lets other processes of this host that have its priority go first when processors are short, for good. Who only reads
 * goes last of all. Who also writes to a log goes a little behind: while it has the log's lock others wait for it, and it
 * must not wait for a processor then.
 */
export function lowerPriority(of: "reading" | "writing"): void {
  const { PRIORITY_LOW } = constants.priority;
  const lower = of === "reading" ? PRIORITY_LOW : A_LITTLE;
  for (const thread of threads()) {
    try {
      setPriority(thread, Math.min(getPriority(thread) + lower, PRIORITY_LOW));
    } catch {
      // It has ended, or this is not allowed here: then it is as it was.
    }
  }
}

/** Of this process. Where threads have priorities of their own, those that are begun later have that of who begins them. */
function threads(): number[] {
  try {
    return readdirSync("/proc/self/task").map(Number);
  } catch {
    return [process.pid];
  }
}
