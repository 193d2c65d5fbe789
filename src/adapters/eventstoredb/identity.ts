import { HeadwaterError } from "../../core/errors.ts";
import type { Position } from "../../core/position.ts";
import type { NewEvent } from "../../ports/event-log.ts";
import type { Ids } from "../../ports/ids.ts";
import type { Appends } from "./appends.ts";
import { LOG_STREAM } from "./events.ts";
import type { Reads } from "./reads.ts";

const TYPE = "LogCreated";
const UUID = /^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$/;

/** The log's id, and where it begins. */
export interface LogIdentity {
  readonly id: string;
  readonly position: Position;
}

/**
 * Who the log is, which its first event says. With `create`, one that has none gets one: of several processes
 * that open it at once, the first one's counts. Throws `LogMissing` for a log that does not exist, and
 * `LogForeign` or `LogTooNew` for an event that is not the one expected there.
 */
export async function identify(
  reads: Reads,
  appends: Appends,
  ids: Ids,
  create: boolean,
  where: string,
): Promise<LogIdentity> {
  const found = await readIdentity(reads, where);
  if (found !== undefined) return found;
  if (!create) {
    throw new HeadwaterError("LogMissing", "there is no log here yet", {
      where,
      hint: "Check the address and the prefix; without ?prefix=NAME it is the log that has the server to itself. A run makes a log.",
    });
  }
  const id = ids.uuid();
  try {
    const events = [logCreated(id, ids)];
    const { position } = await appends.append({ stream: LOG_STREAM, expected: "no-stream", events });
    return { id, position };
  } catch (error) {
    if (!(error instanceof HeadwaterError && error.code === "WrongExpectedRevision")) throw error;
  }
  const others = await readIdentity(reads, where);
  if (others !== undefined) return others;
  throw new HeadwaterError("LogForeign", `${LOG_STREAM} was deleted, or truncated`, { where });
}

async function readIdentity(reads: Reads, where: string): Promise<LogIdentity | undefined> {
  const [event] = await reads.some(LOG_STREAM, 0, 1);
  if (event === undefined) return undefined;
  const { version, id } = parse(event.data);
  if (event.type !== TYPE || typeof version !== "number" || typeof id !== "string") throw foreign(where);
  if (version !== 1) {
    throw new HeadwaterError("LogTooNew", `the log has version ${version}; this program reads version 1`, {
      where,
      hint: "Use the newer version of Headwater that made it.",
    });
  }
  if (!UUID.test(id)) throw foreign(where);
  return { id, position: event.position };
}

function foreign(where: string): HeadwaterError {
  return new HeadwaterError("LogForeign", `${LOG_STREAM} does not hold what Headwater writes there`, {
    where,
    hint: "Use another prefix: esdb://…?prefix=NAME.",
  });
}

function logCreated(id: string, ids: Ids): NewEvent {
  const data = Buffer.from(JSON.stringify({ version: 1, id }));
  return { id: ids.uuid(), type: TYPE, data, metadata: new Uint8Array(0) };
}

function parse(data: Uint8Array): { readonly version?: unknown; readonly id?: unknown } {
  try {
    const value: unknown = JSON.parse(Buffer.from(data).toString());
    return typeof value === "object" && value !== null ? value : {};
  } catch {
    return {};
  }
}
