import { type MessagePort, parentPort, workerData } from "node:worker_threads";
import type { Append, Appended, EventLog } from "../../ports/event-log.ts";
import { PortLog } from "./port-log.ts";

/** What a thread is begun with, beside the program. */
export interface ThreadData {
  readonly seed: unknown;
  readonly shared: SharedArrayBuffer;
  readonly logId: string;
  readonly logPort: MessagePort;
}

/** What a thread has of the one that began it. */
export interface Inside {
  readonly seed: unknown;
  readonly shared: SharedArrayBuffer;
  readonly log: EventLog;
  say(message: unknown): void;
  /** Called with all that is said to the thread; what was said before is not lost. */
  listen(hear: (message: unknown) => void): void;
  /** Called when an append of the thread's has been made, before its caller hears of it. */
  onAppended(hear: (appends: readonly Append[], answers: readonly Appended[]) => void): void;
}

/** Says that the thread is to end by itself; whatever else is said comes from the program. */
export const END = "end";

/** For code that runs in a thread made by {@link createThreads}. */
export function inside(): Inside {
  const port = parentPort;
  if (port === null) throw new Error("this is not a thread that was begun by another");
  const { seed, shared, logId, logPort } = workerData as ThreadData;
  let appended: (appends: readonly Append[], answers: readonly Appended[]) => void = () => {};
  return {
    seed,
    shared,
    log: new PortLog(logId, logPort, (appends, answers) => appended(appends, answers)),
    say: (message) => port.postMessage(message),
    listen: (hear) => {
      port.on("message", (message: unknown) => {
        // Of a thread that is all that `exit` ends.
        if (message === END) process.exit();
        hear(message);
      });
    },
    onAppended: (hear) => {
      appended = hear;
    },
  };
}
