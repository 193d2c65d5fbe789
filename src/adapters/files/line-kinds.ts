import { isUtf8 } from "node:buffer";
import type { InputRecord } from "../../ports/files.ts";
import { FramingError } from "./framer.ts";
import {
  hasSuspiciousNumber,
  INVALID_UTF8,
  jsonRecord,
  jsonRecordOfBytes,
  type Place,
  problem,
} from "./json-record.ts";

/** What the lines of an input are. */
export interface LineKind {
  /** Lines of nothing but blanks are no records. */
  readonly skipsBlank: boolean;
  /** The record in a line's bytes, whatever they are. */
  ofBytes(place: Place): InputRecord;
  /** Reads lines out of `block`, which is ASCII: what is asked of the text of a line is asked of the block first. */
  reader(block: string): (place: Place, text: string) => InputRecord;
  /** Throws a {@link FramingError} where the first bytes of a content show that it is of another kind. */
  mustBegin?(chunk: Uint8Array): void;
}

/** One JSON text a line. */
export const JSON_LINES: LineKind = {
  skipsBlank: true,
  ofBytes: jsonRecordOfBytes,
  reader: (block) => {
    const careful = hasSuspiciousNumber(block);
    return (place, text) => jsonRecord(place, text, careful && hasSuspiciousNumber(text));
  },
};

/** Text, UTF-8: each line is a record `{line}`, a blank one, too. */
export const TEXT_LINES: LineKind = {
  skipsBlank: false,
  ofBytes: (place) => {
    const { frame } = place;
    if (!isUtf8(frame)) return problem(place, INVALID_UTF8);
    return textRecord(place, Buffer.from(frame.buffer, frame.byteOffset, frame.length).toString("utf8"));
  },
  reader: () => textRecord,
};

/** Text by all appearance: nothing says so but that it is not said to be anything else. */
export const SUPPOSED_TEXT_LINES: LineKind = {
  ...TEXT_LINES,
  mustBegin: (chunk) => {
    if (!chunk.includes(0)) return;
    throw new FramingError("it holds zero bytes, as no text does", {
      earlier: [],
      atStart: true,
      hint: "What does not end in .jsonl, .ndjson, .json or .csv is read as lines of text, in UTF-8.",
    });
  },
};

function textRecord({ line, frame, end }: Place, text: string): InputRecord {
  return { line, frame, end, value: { line: text } };
}
