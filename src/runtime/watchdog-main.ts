/** The program of the thread that sees whether the one at work goes on. It is loaded for each run: it must be small. */
import { insideWatchdog } from "../adapters/threads/watchdog.ts";
import { StallWatch, type WatchedRun } from "./stall-watch.ts";

const { seed, shared, pause, say } = insideWatchdog();
const run = seed as WatchedRun;
const watch = new StallWatch(run, shared);
while (pause(run.lookMs)) {
  const line = watch.look();
  if (line !== undefined) say(line);
}
