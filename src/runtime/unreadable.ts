import { isHeadwaterError } from "../core/errors.ts";

/**
 * Whether an event could not be read because of what the log holds, and not because the log cannot be reached: an audit
 * tells what is wrong with the event when that has its turn.
 */
export function isUnreadable(error: unknown): boolean {
  const codes = ["StreamNotFound", "StreamTombstoned", "LogDamaged", "LogTooNew"] as const;
  return codes.some((code) => isHeadwaterError(error, code));
}
