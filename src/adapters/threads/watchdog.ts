import { writeSync } from "node:fs";
import { SHARE_ENV, Worker, workerData } from "node:worker_threads";
import type { Watchdog, WatchdogRequest } from "../../ports/watchdog.ts";

/** MiB of the heap of a program that does next to nothing. */
const HEAP_MB = 16;
const STANDARD_ERROR = 2;
/** Of the memory by which it is told to end. */
const WORD_BYTES = 4;

interface WatchdogData extends WatchdogRequest {
  readonly over: SharedArrayBuffer;
}

/** A worker thread of Node that runs the module at `entry`, which finds what it is given with {@link insideWatchdog}. */
export function createWatchdog(entry: URL): Watchdog {
  return {
    start: (request) => {
      const over = new SharedArrayBuffer(WORD_BYTES);
      const workerData: WatchdogData = { ...request, over };
      const worker = new Worker(entry, {
        name: "watchdog",
        workerData,
        env: SHARE_ENV,
        execArgv: [],
        resourceLimits: { maxOldGenerationSizeMb: HEAP_MB },
      });
      worker.unref();
      // Without it everything goes on as well.
      worker.on("error", () => {});
      return () => {
        const word = new Int32Array(over);
        Atomics.store(word, 0, 1);
        Atomics.notify(word, 0);
      };
    },
  };
}

/** For code that runs in a thread made by {@link createWatchdog}. */
export interface InsideWatchdog extends WatchdogRequest {
  /** Waits so long; whether it is to go on. */
  pause(ms: number): boolean;
  /** Writes to standard error, whatever the thread that is watched does. */
  say(line: string): void;
}

export function insideWatchdog(): InsideWatchdog {
  const { seed, shared, over } = workerData as WatchdogData;
  const word = new Int32Array(over);
  return {
    seed,
    shared,
    pause: (ms) => Atomics.wait(word, 0, 0, ms) === "timed-out",
    say: (line) => {
      writeSync(STANDARD_ERROR, `${line}\n`);
    },
  };
}
