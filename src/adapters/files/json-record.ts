import { isUtf8 } from "node:buffer";
import { findJsonFault } from "../../core/json-check.ts";
import type { InputRecord } from "../../ports/files.ts";

/**
 * Fits every integer literal of 16 and more digits, every exponent of three and more, and every literal long
 * enough to overflow without one. It may fit harmless texts, too: those are then read carefully.
 */
const SUSPICIOUS = /(?:^|[-\s[:,])\d{16}|\d[eE]\+?\d{3}/;

/** Whether `text` (one record, or many with anything between them) may hold a number that JSON.parse would change. */
export function hasSuspiciousNumber(text: string): boolean {
  return SUSPICIOUS.test(text);
}

/** Where a record is in its input; see `InputRecord`. */
export type Place = Pick<InputRecord, "line" | "frame" | "end">;

/** The record in the JSON text `text`. `careful`: {@link hasSuspiciousNumber} fits it. */
export function jsonRecord(place: Place, text: string, careful: boolean): InputRecord {
  const { line, frame, end } = place;
  try {
    const value: unknown = JSON.parse(text);
    if (!careful) return { line, frame, end, value };
    const fault = findJsonFault(text);
    if (fault === undefined) return { line, frame, end, value };
    return problem(place, fault.message, fault.kind === "number" ? fault.field : undefined);
  } catch (error) {
    const fault = findJsonFault(text);
    if (fault?.kind === "broken") {
      return problem(place, `broken JSON at column ${fault.column}: ${fault.message}`);
    }
    const message = error instanceof Error ? error.message.slice(0, 80) : "unreadable";
    return problem(place, `broken JSON: ${message}`);
  }
}

/** The record in a frame of JSON, which may not even be UTF-8. */
export function jsonRecordOfBytes(place: Place): InputRecord {
  const { frame } = place;
  if (!isUtf8(frame)) return problem(place, INVALID_UTF8);
  const text = Buffer.from(frame.buffer, frame.byteOffset, frame.length).toString("utf8");
  return jsonRecord(place, text, hasSuspiciousNumber(text));
}

export const INVALID_UTF8 = "not valid UTF-8; save the file as UTF-8";

/** A record that cannot be one, and why. */
export function problem({ line, frame, end }: Place, message: string, field?: string): InputRecord {
  return { line, frame, end, problem: field === undefined ? { message } : { message, field } };
}
