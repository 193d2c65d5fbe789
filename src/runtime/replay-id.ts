import { HeadwaterError } from "../core/errors.ts";
import { LIMITS } from "../core/limits.ts";

/** The error of a replay that is to begin with another one's id. */
export function idInUse(id: string, pipeline: string): HeadwaterError {
  return new HeadwaterError("BadUsage", "a replay of this id is there already", {
    where: `${id}, pipeline ${pipeline}`,
    hint: `Give another --id; headwater replay resume ${id} goes on with it, or shows what came of it.`,
  });
}

/** The error of a replay that was stopped, or asked to pause, and can be gone on with: `name` is `PIPELINE~ID`. */
export function stoppedEarly(
  name: string,
  message = "stopped before the replay was through",
): HeadwaterError {
  const days = LIMITS.replayHoldsMs / (24 * 3_600_000);
  return new HeadwaterError("Stopped", message, {
    where: name,
    hint: `headwater replay resume ${name} goes on with it, and headwater replay stop ${name} ends it; until then, but ${days} days at most, retention lets go of none of its pipeline's history.`,
  });
}
