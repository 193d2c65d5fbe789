import { describeThrown, HeadwaterError, isHeadwaterError } from "../core/errors.ts";
import type { EventLog } from "../ports/event-log.ts";
import { checkedLog } from "../runtime/checked-log.ts";
import { openLog } from "../runtime/compose.ts";

/**
 * Opens a log for reading, hands it to `use`, and closes it. Each event is held to its digest when it is read; what
 * cannot be made sense of nevertheless rejects with `LogDamaged` and the address of what was read last.
 */
export async function readLog<T>(spec: string, use: (log: EventLog) => Promise<T>): Promise<T> {
  const opened = await openLog(spec, { readOnly: true });
  try {
    return await readChecked(opened, use);
  } finally {
    await opened.close();
  }
}

/** {@link readLog}, of a log that is open and stays so. */
export async function readChecked<T>(opened: EventLog, use: (log: EventLog) => Promise<T>): Promise<T> {
  const log = checkedLog(opened);
  try {
    return await use(log);
  } catch (error) {
    throw placed(error, log.lastRead);
  }
}

/** The error with a place, where it has none and is about what was read. */
function placed(error: unknown, lastRead: string | undefined): unknown {
  if (lastRead === undefined) return error;
  const where = `${lastRead}, or an event before it`;
  if (isHeadwaterError(error, "LogDamaged") && error.where === undefined) {
    const { message, hint = AUDIT_IT } = error;
    return new HeadwaterError("LogDamaged", message, { where, hint, cause: error });
  }
  // What was written by Headwater can be read by it.
  if (!(error instanceof TypeError || error instanceof RangeError)) return error;
  const message = `what the log holds cannot be made sense of: ${describeThrown(error)}`;
  return new HeadwaterError("LogDamaged", message, { where, hint: AUDIT_IT, cause: error });
}

const AUDIT_IT =
  '"headwater audit" says what is damaged. If it finds nothing, this is a defect: run again with --verbose, and report what it prints.';
