import { HeadwaterError } from "../core/errors.ts";
import { LIMITS } from "../core/limits.ts";
import { withoutCredentials } from "../core/log-spec.ts";
import { START } from "../core/position.ts";
import type { Append, EventLog, NewEvent } from "../ports/event-log.ts";
import { createSurroundings, openLog } from "../runtime/compose.ts";
import { EXPORT_FORMAT, EXPORT_VERSION } from "./log-export.ts";

/** What an import did. */
export interface ImportReport {
  /** The log's id: that of the log which was exported, because digest chains begin with it. */
  readonly log: string;
  readonly events: number;
  readonly streams: number;
}

/** An event of an export, checked. */
interface ImportedEvent extends NewEvent {
  readonly stream: string;
  readonly revision: number;
}

const UUID = /^[\da-f]{8}-[\da-f]{4}-[\da-f]{4}-[\da-f]{4}-[\da-f]{12}$/;
const BASE64 = /^(?:[\w+/]{4})*(?:[\w+/]{2}==|[\w+/]{3}=)?$/;
const TYPE_CHARS = 128;
/** Events are appended in groups of about this size; each group is one durable write. */
const GROUP_BYTES = LIMITS.appendBytes;
const GROUP_EVENTS = 1_024;

/**
 * Makes the log `spec` out of the JSON lines that {@link exportLog} wrote to `file` (which may be zipped). The file
 * is checked as a whole first, so that a bad one leaves nothing behind. Throws `BadInput` naming the line, and
 * `BadUsage` for a log that is not new.
 */
export async function importLog(spec: string, file: string, signal?: AbortSignal): Promise<ImportReport> {
  if (file === "-") {
    throw new HeadwaterError("BadUsage", "an import is read twice, which standard input cannot be", {
      where: "log import",
      hint: "Put the export into a file first, such as export.jsonl.",
    });
  }
  let id = "";
  let events = 0;
  const streams = new Set<string>();
  for await (const item of readExport(file, signal)) {
    if (typeof item === "string") id = item;
    else {
      events++;
      streams.add(item.stream);
    }
  }
  signal?.throwIfAborted();
  const log = await openLog(spec, { id });
  try {
    await checkNew(log, id, spec);
    await appendAll(log, readExport(file, signal));
    return { log: log.id, events, streams: streams.size };
  } finally {
    await log.close();
  }
}

async function checkNew(log: EventLog, id: string, spec: string): Promise<void> {
  const { position } = await log.size();
  const what = position.commit !== START.commit ? "it holds events" : "it was made for other events";
  if (position.commit === START.commit && log.id === id) return;
  throw new HeadwaterError("BadUsage", `cannot import into this log: ${what}`, {
    where: withoutCredentials(spec),
    hint: "Name a folder that does not exist yet, such as --log lmdb:.headwater-imported, or on an EventStoreDB a prefix that is not used yet.",
  });
}

async function appendAll(log: EventLog, items: AsyncIterable<string | ImportedEvent>): Promise<void> {
  let group: Append[] = [];
  let events: NewEvent[] = [];
  let bytes = 0;
  let count = 0;
  const flush = async () => {
    if (group.length > 0) await log.appendInOrder(group);
    group = [];
    bytes = 0;
    count = 0;
  };
  for await (const item of items) {
    if (typeof item === "string") continue;
    const size = item.type.length * 2 + item.data.length + item.metadata.length;
    if (bytes + size > GROUP_BYTES || count >= GROUP_EVENTS) await flush();
    const { stream, revision, ...event } = item;
    if (group.at(-1)?.stream === stream) events.push(event);
    else {
      events = [event];
      group.push({ stream, expected: revision === 0 ? "no-stream" : revision - 1, events });
    }
    bytes += size;
    count++;
  }
  await flush();
}

/** The id of the exported log, then its events. Throws `BadInput` at the first line that is not right. */
async function* readExport(file: string, signal?: AbortSignal): AsyncIterable<string | ImportedEvent> {
  const input = await createSurroundings().files.openInput(file, "jsonl");
  const next = new Map<string, number>();
  let header = true;
  let end = 0;
  for await (const batch of input.read(signal === undefined ? {} : { signal })) {
    for (const { line, value, problem } of batch) {
      const bad = (message: string, hint?: string) => badLine(message, `${file}:${line}`, hint);
      if (problem !== undefined) throw bad(problem.message);
      if (typeof value !== "object" || value === null || Array.isArray(value))
        throw bad("not an exported event");
      const fields = value as Readonly<Record<string, unknown>>;
      if (header) yield headerOf(fields, bad);
      else yield eventOf(fields, next, bad);
      header = false;
    }
    // Says how far the file was digested: the reader keeps the bytes until then.
    end = batch.at(-1)?.end ?? end;
    input.digestUpTo(end);
  }
  if (header && !signal?.aborted) throw badLine("the file is empty", file);
}

type Bad = (message: string, hint?: string) => HeadwaterError;

function headerOf(fields: Readonly<Record<string, unknown>>, bad: Bad): string {
  const { format, version, log } = fields as { format?: unknown; version?: unknown; log?: unknown };
  if (format !== EXPORT_FORMAT) throw bad("the file does not begin with the header of an export");
  if (version !== EXPORT_VERSION) {
    throw bad(
      `an export of version ${String(version)}, which this program does not know`,
      "Use a newer Headwater.",
    );
  }
  if (typeof log !== "string" || !UUID.test(log)) throw bad("the header does not have the log's id");
  return log;
}

function eventOf(
  fields: Readonly<Record<string, unknown>>,
  next: Map<string, number>,
  bad: Bad,
): ImportedEvent {
  const { stream, revision, id, type, data, metadata } = fields as Readonly<
    Partial<Record<string, unknown>>
  > & {
    readonly stream?: unknown;
    readonly revision?: unknown;
    readonly id?: unknown;
    readonly type?: unknown;
    readonly data?: unknown;
    readonly metadata?: unknown;
  };
  if (typeof stream !== "string" || stream === "") throw bad('"stream" is not a name');
  if (typeof id !== "string" || !UUID.test(id)) throw bad('"id" is not a UUID');
  if (typeof type !== "string" || type === "" || type.length > TYPE_CHARS) throw bad('"type" is not a type');
  const expected = next.get(stream) ?? 0;
  if (revision !== expected) {
    const found = typeof revision === "number" ? String(revision) : "none";
    throw bad(
      `stream ${stream} goes on at revision ${found}, not at ${expected}`,
      "Only a whole log can be imported: one exported without --from and --to, and of which nothing was scavenged.",
    );
  }
  next.set(stream, expected + 1);
  return {
    stream,
    revision,
    id,
    type,
    data: bytesOf(data, "data", bad),
    metadata: bytesOf(metadata, "metadata", bad),
  };
}

function bytesOf(text: unknown, name: string, bad: Bad): Uint8Array {
  if (typeof text !== "string" || !BASE64.test(text)) throw bad(`"${name}" is not base64`);
  return new Uint8Array(Buffer.from(text, "base64"));
}

function badLine(message: string, where: string, hint = 'Export the log again with "headwater log export".') {
  return new HeadwaterError("BadInput", message, { where, hint });
}
