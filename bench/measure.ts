import { spawnSync } from "node:child_process";
import { readFileSync } from "node:fs";

const SAMPLE_MS = 20;

/** Names the log that a contestant is to run on; empty, or not set, for LMDB in a folder of its own. */
export const LOG_VARIABLE = "HEADWATER_BENCH_LOG";

/** Peak of anonymous memory (RssAnon) of this process, in MiB, sampled until it is asked for. */
export function watchMemory(): () => number {
  let peak = 0;
  const sample = () => {
    const match = /RssAnon:\s+(\d+) kB/.exec(readFileSync("/proc/self/status", "utf8"));
    peak = Math.max(peak, Number(match?.[1] ?? 0) / 1024);
  };
  const timer = setInterval(sample, SAMPLE_MS);
  timer.unref();
  return () => {
    sample();
    clearInterval(timer);
    return peak;
  };
}

/**
 * Runs `file` in a process of its own and answers the JSON that it prints last. What may hold a password goes into
 * `environment`, where no list of processes shows it.
 */
export function inProcess<T>(
  file: string,
  args: readonly string[],
  environment: Readonly<Record<string, string>> = {},
): T {
  const done = spawnSync(process.execPath, [file, ...args], {
    encoding: "utf8",
    env: { ...process.env, ...environment },
    stdio: ["ignore", "pipe", "inherit"],
  });
  const last = done.stdout.trim().split("\n").at(-1) ?? "";
  if (done.status !== 0) throw new Error(`${file} ${args.join(" ")} ended with ${done.status}`);
  return JSON.parse(last) as T;
}

export function median(values: readonly number[]): number {
  const sorted = [...values].sort((a, b) => a - b);
  const middle = Math.floor(sorted.length / 2);
  const high = sorted[middle] ?? Number.NaN;
  return sorted.length % 2 === 1 ? high : (high + (sorted[middle - 1] ?? Number.NaN)) / 2;
}
