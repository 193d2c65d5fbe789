import { HeadwaterError } from "../core/errors.ts";
import { comparePositions, formatPosition, type Position, parsePosition } from "../core/position.ts";
import type { EventLog, RecordedEvent } from "../ports/event-log.ts";
import { createSurroundings } from "../runtime/compose.ts";
import { parseTime } from "./history-point.ts";

/** What `headwater log export` writes first. */
export const EXPORT_FORMAT = "headwater-export";
export const EXPORT_VERSION = 1;

/** One end of a range: a position, or a store time in milliseconds since 1970. */
type RangeEnd = { readonly position: Position } | { readonly time: number };

/** Which events of a log; both ends belong to it. */
export interface ExportRange {
  readonly from?: RangeEnd;
  readonly to?: RangeEnd;
}

/**
 * A range as it is written on the command line: positions (`C:1234/P:1234`), ISO 8601 times, or times before
 * `now` (`-2h`; by the machine's clock if absent). Throws `BadUsage`.
 */
export function parseRange(from: string | undefined, to: string | undefined, now?: number): ExportRange {
  const end = (option: string, text: string) =>
    parseEnd(option, text, now ?? createSurroundings().clock.now());
  return {
    ...(from === undefined ? {} : { from: end("--from", from) }),
    ...(to === undefined ? {} : { to: end("--to", to) }),
  };
}

function parseEnd(option: string, text: string, now: number): RangeEnd {
  if (text.startsWith("C:")) return { position: parsePosition(text) };
  const time = parseTime(text, now);
  if (time !== undefined) return { time };
  throw new HeadwaterError("BadUsage", `not a place in a log: ${JSON.stringify(text)}`, {
    where: option,
    hint: "Give a position (C:1234/P:1234), a time (2026-01-31T12:00:00Z) or a relative time (-2h).",
  });
}

/** The log as JSON lines without line ends: a header, then one line an event, in the order of commit. */
export async function* exportLog(
  log: EventLog,
  range: ExportRange = {},
  signal?: AbortSignal,
): AsyncIterable<string> {
  yield JSON.stringify({ format: EXPORT_FORMAT, version: EXPORT_VERSION, log: log.id });
  const { from, to } = range;
  const start = from !== undefined && "position" in from ? { from: from.position } : {};
  for await (const event of log.readAll({ ...start, ...(signal === undefined ? {} : { signal }) })) {
    if (to !== undefined && "position" in to && comparePositions(event.position, to.position) > 0) return;
    // Store times may step back: each event is looked at.
    if (from !== undefined && "time" in from && event.created < from.time) continue;
    if (to !== undefined && "time" in to && event.created > to.time) continue;
    yield exportLine(event);
  }
}

function exportLine(event: RecordedEvent): string {
  return JSON.stringify({
    stream: event.stream,
    revision: event.revision,
    position: formatPosition(event.position),
    id: event.id,
    type: event.type,
    created: new Date(event.created).toISOString(),
    data: base64(event.data),
    metadata: base64(event.metadata),
  });
}

function base64(bytes: Uint8Array): string {
  return Buffer.from(bytes.buffer, bytes.byteOffset, bytes.length).toString("base64");
}
