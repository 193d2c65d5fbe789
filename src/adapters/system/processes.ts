import { readFileSync } from "node:fs";
import { hostname } from "node:os";
import type { Processes } from "../../ports/processes.ts";

/** Field of /proc/<pid>/stat, counted from the one after the command's name, that holds the start time. */
const START_TIME_FIELD = 19;

/** What tells this process from all others of this host, before and after it; it stays the same. */
let own: string | undefined;

/** Processes of this host. Where /proc is missing, only that a pid is free can be told. */
export function createProcesses(): Processes {
  const host = hostname();
  const instanceOf = (pid: number) =>
    `${readText("/proc/sys/kernel/random/boot_id").trim()}:${startTime(pid)}`;
  own ??= instanceOf(process.pid);
  return {
    host,
    pid: process.pid,
    instance: own,
    isAlive: (other) => {
      if (other.host !== host) return undefined;
      try {
        process.kill(other.pid, 0);
      } catch (error) {
        if ((error as NodeJS.ErrnoException).code === "ESRCH") return false;
      }
      return instanceOf(other.pid) === other.instance;
    },
  };
}

function startTime(pid: number): string {
  const stat = readText(`/proc/${pid}/stat`);
  // The command's name may hold blanks; it ends at the last parenthesis.
  return stat.slice(stat.lastIndexOf(")") + 2).split(" ")[START_TIME_FIELD] ?? "";
}

function readText(path: string): string {
  try {
    return readFileSync(path, "utf8");
  } catch {
    return "";
  }
}
