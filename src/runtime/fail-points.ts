import type { Probe } from "./host-context.ts";

/**
 * For tests: `HEADWATER_FAIL_AT=steps:between:3` kills the process with SIGKILL when it comes to the point
 * `steps:between` for the third time. Without the variable nothing is done at any point.
 */
export function probeFromEnvironment(): Probe | undefined {
  const match = /^(.+):(\d+)$/.exec(process.env["HEADWATER_FAIL_AT"] ?? "");
  if (match === null) return undefined;
  const [, point, times] = match;
  let left = Number(times);
  return (passed) => {
    if (passed !== point) return;
    left--;
    if (left <= 0) process.kill(process.pid, "SIGKILL");
  };
}
