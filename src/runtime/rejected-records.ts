import { decodeCanonical, encodeCanonical } from "../core/canonical.ts";
import { HeadwaterError } from "../core/errors.ts";
import { decodeEventAs } from "../core/event-codec.ts";
import type { RejectedRecord } from "../core/events.ts";
import { findJsonFault } from "../core/json-check.ts";
import { LIMITS } from "../core/limits.ts";
import { besideStream } from "../core/streams.ts";
import type { EventLog } from "../ports/event-log.ts";
import type { IntakeRecord } from "./intake-record.ts";
import type { AskedItem } from "./retry-reader.ts";
import { EventCursor } from "./seek.ts";

/** The canonical bytes of what was read of a record that is rejected, where they can be kept. */
export function readableValue({ value }: IntakeRecord): Uint8Array | undefined {
  if (value === undefined) return undefined;
  try {
    const bytes = encodeCanonical(value);
    return bytes.length <= LIMITS.rejectedFrameBytes ? bytes : undefined;
  } catch {
    // What cannot be a record may be why it is rejected.
    return undefined;
  }
}

/** Rejected records of a source as they come to its door again. Throws `LogDamaged` where one is not there. */
export async function* loadRejected(
  log: EventLog,
  source: string,
  items: readonly AskedItem[],
): AsyncIterable<IntakeRecord> {
  const stream = besideStream(source, "quarantine");
  const events = new EventCursor(log, stream);
  for (const { item, revision, index } of items) {
    const event = decodeEventAs(await events.at(revision), "RecordsRejected");
    const rejected = event.records[index];
    if (rejected === undefined) {
      throw new HeadwaterError("LogDamaged", "a rejected record that was asked for is not where it was", {
        where: `${stream}@${revision}, ${index}`,
      });
    }
    const { input, line, frame } = rejected;
    yield { ...contentOf(rejected), line, frame, retried: { item, input } };
  }
}

/** Why a rejected record cannot come to its door again; `undefined`: it can. */
export function notReadable({ cut, value, frame }: RejectedRecord): string | undefined {
  if (value !== undefined) return undefined;
  if (cut) return `only its first ${frame.length} bytes are kept`;
  return frame.length === 0 ? "nothing of it is kept that could be read again" : undefined;
}

/** What was read of it, or its JSON text read again. What could not be read then cannot be read now. */
function contentOf(rejected: RejectedRecord): Pick<IntakeRecord, "value" | "problem"> {
  const { value, frame, message, where } = rejected;
  if (value !== undefined) return { value: decodeCanonical(value) };
  const text = Buffer.from(frame).toString("utf8");
  try {
    const read: unknown = JSON.parse(text);
    if (findJsonFault(text) === undefined) return { value: read };
  } catch {
    // What was wrong with it then is wrong with it now.
  }
  return { problem: { message, field: where } };
}
