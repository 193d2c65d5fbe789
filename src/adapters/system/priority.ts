import { readdirSync } from "node:fs";
import { constants, setPriority } from "node:os";

/**
 * Lets other processes of this host go first when processors are short, for good. Who only reads goes last of all; who
 * also writes to a log others write to goes a little behind: while it has the log's lock, they wait for it.
 */
export function lowerPriority(of: "reading" | "writing"): void {
  const priority =
    of === "reading" ? constants.priority.PRIORITY_LOW : constants.priority.PRIORITY_BELOW_NORMAL;
  for (const thread of threads()) {
    try {
      setPriority(thread, priority);
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
