import { mkdir, readdir } from "node:fs/promises";
import { decodeCanonical, type Value } from "../core/canonical.ts";
import { HeadwaterError } from "../core/errors.ts";
import { comparePositions, formatPosition, type Position } from "../core/position.ts";
import type { EventLog, RecordedEvent, StreamFilter } from "../ports/event-log.ts";
import { openLog } from "../runtime/compose.ts";

export { type ExportRange, exportLog, parseRange } from "./log-export.ts";
export { importLog } from "./log-import.ts";
export { type RetentionChange, type RetentionReport, retainLog } from "./log-retain.ts";

/** A stream as `headwater log streams` lists it. */
export interface StreamSummary {
  readonly stream: string;
  /** Events that can be read. */
  readonly events: number;
  readonly firstRevision: number;
  readonly lastRevision: number;
  /** Data and metadata of the readable events; `null` if the store cannot tell. */
  readonly bytes: number | null;
  /** Store time of the first and last readable event, ISO 8601; `null` if there is none or it is not known. */
  readonly first: string | null;
  readonly last: string | null;
  readonly deleted: boolean;
  readonly tombstoned: boolean;
}

/** An event, decoded. `data` and `metadata` are the bytes themselves where they hold nothing that is known. */
export interface ShownEvent {
  readonly stream: string;
  readonly revision: number;
  readonly position: string;
  readonly id: string;
  readonly type: string;
  /** Store time, ISO 8601. */
  readonly created: string;
  readonly data: Value;
  readonly metadata: Value;
}

/**
 * Opens the log `spec`, hands it to `use`, and closes it. `look` only reads, `change` writes; neither makes a log
 * that is not there.
 */
export async function withLog<T>(
  spec: string,
  access: "look" | "change",
  use: (log: EventLog) => Promise<T>,
): Promise<T> {
  const log = await openLog(spec, access === "look" ? { readOnly: true } : { create: false });
  try {
    return await use(log);
  } finally {
    await log.close();
  }
}

/** All streams, in the order of their names. */
export async function* listStreams(log: EventLog): AsyncIterable<StreamSummary> {
  for await (const info of log.streams()) {
    yield {
      stream: info.stream,
      events: Math.max(0, info.lastRevision - info.firstRevision + 1),
      firstRevision: info.firstRevision,
      lastRevision: info.lastRevision,
      bytes: info.bytes ?? null,
      first: isoTime(info.firstCreated),
      last: isoTime(info.lastCreated),
      deleted: info.deleted,
      tombstoned: info.tombstoned,
    };
  }
}

/** The events of a stream, or the one at `revision`. Throws `StreamNotFound`. */
export async function* showStream(
  log: EventLog,
  stream: string,
  options: { readonly revision?: number; readonly limit?: number; readonly signal?: AbortSignal } = {},
): AsyncIterable<ShownEvent> {
  const { revision, limit, signal } = options;
  const most = revision === undefined ? limit : 1;
  let shown = 0;
  for await (const event of log.read(stream, {
    ...(revision === undefined ? {} : { from: revision }),
    ...(most === undefined ? {} : { limit: most }),
    ...(signal === undefined ? {} : { signal }),
  })) {
    if (revision !== undefined && event.revision !== revision) break;
    shown++;
    yield showEvent(event);
  }
  if (shown > 0 || revision === undefined) return;
  const info = await log.streamInfo(stream);
  if (info !== undefined && revision < info.firstRevision) {
    throw new HeadwaterError("RecordGone", "the event is not kept any more", {
      where: `${stream}@${revision}`,
      hint: `The stream has its events from revision ${info.firstRevision} on: see "How long history is kept" in the README.`,
    });
  }
  throw new HeadwaterError("BadUsage", `the stream has no event ${revision}`, {
    where: stream,
    hint:
      info === undefined
        ? "It is empty."
        : `It has ${info.firstRevision} to ${info.lastRevision}. An address counts records, not events: the event with record N is the last whose "first" is N at most.`,
  });
}

/** The last `count` events of a stream or of the log, in order, and with `follow` those still to come. */
export async function* tailLog(
  log: EventLog,
  options: {
    readonly stream?: string;
    readonly count: number;
    readonly follow: boolean;
    readonly signal: AbortSignal;
  },
): AsyncIterable<ShownEvent> {
  const { stream, count, follow, signal } = options;
  const filter: StreamFilter = stream === undefined ? { everything: true } : { stream };
  if (stream !== undefined && !follow && (await log.streamInfo(stream)) === undefined) {
    throw new HeadwaterError("StreamNotFound", "there is no such stream", {
      where: stream,
      hint: '"headwater log streams" lists them; --follow waits for one to come.',
    });
  }
  // What comes while the last ones are looked for is found by the subscription.
  let after: Position = (await log.size()).position;
  const last: RecordedEvent[] = [];
  for await (const event of log.readAll({ direction: "backwards", filter, limit: count, signal }))
    last.push(event);
  if (last[0] !== undefined && comparePositions(last[0].position, after) > 0) after = last[0].position;
  for (const event of last.reverse()) yield showEvent(event);
  if (!follow) return;
  for await (const message of log.subscribeAll(filter, after, { signal })) {
    if (message.kind !== "events") continue;
    for (const event of message.events) yield showEvent(event);
  }
}

/** A consistent copy of the log in the folder `target`, which must be empty or missing. */
export async function backupLog(log: EventLog, target: string): Promise<void> {
  if (log.backup === undefined) {
    throw new HeadwaterError("BadUsage", "this kind of log cannot be copied", {
      where: "log backup",
      hint: 'Use "headwater log export" to get its events as JSON lines.',
    });
  }
  try {
    // Not recursive: Node never comes back from that for a path below /proc.
    await mkdir(target).catch((error: NodeJS.ErrnoException) => {
      if (error.code !== "EEXIST") throw error;
    });
    if ((await readdir(target)).length > 0) {
      throw new HeadwaterError("BadUsage", "the folder for the copy is not empty", {
        where: target,
        hint: "Name a folder that is empty or does not exist yet.",
      });
    }
  } catch (error) {
    if (error instanceof HeadwaterError) throw error;
    throw new HeadwaterError("OutputFailed", "cannot make the folder for the copy", {
      where: target,
      hint: "Check the path and its permissions.",
      cause: error,
    });
  }
  await log.backup(target);
}

/** Makes the space of what truncation and deletion let go usable again. */
export function scavengeLog(log: EventLog): ReturnType<EventLog["scavenge"]> {
  return log.scavenge();
}

function showEvent(event: RecordedEvent): ShownEvent {
  return {
    stream: event.stream,
    revision: event.revision,
    position: formatPosition(event.position),
    id: event.id,
    type: event.type,
    created: new Date(event.created).toISOString(),
    data: decodeBytes(event.data),
    metadata: decodeBytes(event.metadata),
  };
}

/** Canonical MessagePack, as all of our events are; JSON, as other writers' are; or the bytes. */
function decodeBytes(bytes: Uint8Array): Value {
  if (bytes.length === 0) return null;
  try {
    return decodeCanonical(bytes);
  } catch {
    try {
      return JSON.parse(new TextDecoder("utf-8", { fatal: true }).decode(bytes)) as Value;
    } catch {
      return bytes;
    }
  }
}

function isoTime(time: number | undefined): string | null {
  return time === undefined ? null : new Date(time).toISOString();
}
