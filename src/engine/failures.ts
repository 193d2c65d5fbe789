import { HeadwaterError } from "../core/errors.ts";

/** A record at which a stage failed. */
export interface StageFailure {
  /** Row among the stage's inputs. */
  readonly row: number;
  readonly error: unknown;
  /** How often the stage's function was called, where its policy tries again. */
  readonly attempts?: number;
}

/** The error of a window or join at a record without event time. */
export function noEventTime(): HeadwaterError {
  return badAnswer(
    "the record has no event time",
    "Give every source that the stage descends from an eventTime.",
  );
}

/** The error of a stage that answered something it may not. */
export function badAnswer(message: string, hint: string): HeadwaterError {
  return new HeadwaterError("StageFailed", message, { hint });
}
