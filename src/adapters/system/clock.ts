import { performance } from "node:perf_hooks";
import type { Clock } from "../../ports/clock.ts";

/** The longest that Node's timers wait: what is longer they would not wait at all. */
const TIMER_MS_MOST = 2 ** 31 - 1;

/** The time of this machine. */
export function createSystemClock(): Clock {
  return {
    now: () => Date.now(),
    monotonic: () => performance.now(),
    setTimeout: (callback, ms) => {
      let timer: NodeJS.Timeout;
      const wait = (left: number) => {
        const next = left > TIMER_MS_MOST ? () => wait(left - TIMER_MS_MOST) : callback;
        timer = setTimeout(next, Math.min(left, TIMER_MS_MOST));
      };
      wait(ms);
      return () => clearTimeout(timer);
    },
  };
}
