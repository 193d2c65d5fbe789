import { HeadwaterError, isHeadwaterError } from "../core/errors.ts";
import { LIMITS } from "../core/limits.ts";
import { pipelineStream } from "../core/streams.ts";
import type { EventLog } from "../ports/event-log.ts";
import { type Draft, StreamTail } from "./stream-tail.ts";

/**
 * Appends an event to a pipeline's own stream, behind whatever other processes append there: `draft` may depend on what
 * it comes after. `confirm` is asked each time before, and throws where it is not to be appended any more. Throws
 * `Overloaded` when others do not let up.
 */
export async function appendToPipeline(
  log: EventLog,
  pipeline: string,
  draft: Draft | ((tail: StreamTail) => Draft),
  confirm: () => Promise<void> = async () => {},
): Promise<void> {
  for (let attempt = 1; ; attempt++) {
    const tail = await StreamTail.open(log, pipelineStream(pipeline));
    await confirm();
    try {
      await tail.append([typeof draft === "function" ? draft(tail) : draft]);
      return;
    } catch (cause) {
      if (!isHeadwaterError(cause, "WrongExpectedRevision")) throw cause;
      if (attempt < LIMITS.pipelineAttempts) continue;
      throw new HeadwaterError("Overloaded", "other processes keep appending to the pipeline's own stream", {
        where: tail.stream,
        hint: "Try again in a while.",
        cause,
      });
    }
  }
}
