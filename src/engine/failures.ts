import { encodeCanonical } from "../core/canonical.ts";
import { HeadwaterError } from "../core/errors.ts";
import type { QuarantinedFiring } from "../core/events.ts";
import { LIMITS } from "../core/limits.ts";
import type { Key } from "../pipeline/definition.ts";

/** A record at which a stage failed. */
export interface StageFailure {
  /** Row among the stage's inputs. */
  readonly row: number;
  readonly error: unknown;
  /** How often the stage's function was called, where its policy tries again. */
  readonly attempts?: number;
  /** Where it is no record but the firing of a window or join: what that is about. */
  readonly firing?: QuarantinedFiring;
}

/** What a firing is about, before it is known whether anybody has to know. */
export interface FiringSubject {
  readonly key: Key;
  readonly time: number | undefined;
  readonly members: Uint8Array;
  /** Of a window. */
  readonly start?: number;
  readonly end?: number;
  readonly total?: unknown;
  /** Of a join: canonical bytes. */
  readonly left?: Uint8Array;
}

/** What is kept of it where its stage fails; too large parts are left out. */
export function keptOfFiring({
  key,
  time,
  members,
  start,
  end,
  total,
  left,
}: FiringSubject): QuarantinedFiring {
  const finite = (name: string, value: number | undefined) =>
    value !== undefined && Number.isFinite(value) ? { [name]: value } : {};
  const short = (name: string, bytes: Uint8Array | undefined) =>
    bytes !== undefined && bytes.length <= LIMITS.firingBytes ? { [name]: bytes } : {};
  return {
    key: encodeCanonical(key),
    ...finite("time", time),
    ...finite("start", start),
    ...finite("end", end),
    ...short("members", members),
    ...short("total", total === undefined ? undefined : encodeCanonical(total)),
    ...short("left", left?.slice()),
  };
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
