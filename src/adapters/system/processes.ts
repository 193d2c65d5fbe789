import { readFileSync } from "node:fs";
import { hostname } from "node:os";
import type { Processes } from "../../ports/processes.ts";

/** Fields of /proc/<pid>/stat, counted from the one after the command's name: its state, its threads, and the start time. */
const STATE_FIELD = 0;
const THREADS_FIELD = 17;
const START_TIME_FIELD = 19;

/** What tells this process from all others of this host, before and after it; it stays the same. */
let own: string | undefined;

/** Processes of this host. Where /proc is missing, only that a pid is free can be told. */
export function createProcesses(): Processes {
  const host = hostname();
  const instanceOf = (fields: readonly string[]) =>
    `${readText("/proc/sys/kernel/random/boot_id").trim()}:${fields[START_TIME_FIELD] ?? ""}`;
  own ??= instanceOf(statOf(process.pid));
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
      const fields = statOf(other.pid);
      return instanceOf(fields) === other.instance && !hasEnded(fields);
    },
  };
}

function statOf(pid: number): readonly string[] {
  const stat = readText(`/proc/${pid}/stat`);
  // The command's name may hold blanks; it ends at the last parenthesis.
  return stat.slice(stat.lastIndexOf(")") + 2).split(" ");
}

/** A process that has ended keeps its pid until its parent has asked how; while it is ending others of its threads may live. */
function hasEnded(fields: readonly string[]): boolean {
  return fields[STATE_FIELD] === "Z" && Number(fields[THREADS_FIELD]) <= 1;
}

function readText(path: string): string {
  try {
    return readFileSync(path, "utf8");
  } catch {
    return "";
  }
}
