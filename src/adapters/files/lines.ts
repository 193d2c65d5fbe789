import { isAscii } from "node:buffer";
import type { InputRecord } from "../../ports/files.ts";
import { type Framer, withoutMark } from "./framer.ts";
import { problem } from "./json-record.ts";
import type { LineKind } from "./line-kinds.ts";
import { FRAME_BYTES, type Frame, frameOf, Pieces, TOO_LONG } from "./pieces.ts";

const LF = 0x0a;
const CR = 0x0d;

/** Where a {@link LineFramer} begins. */
export interface LineStart {
  readonly offset: number;
  readonly lines: number;
  /** The line before has no end yet. */
  readonly open?: boolean;
}

/** One record a line; a line ends with LF, or CR and LF. Blank lines are counted, and skipped where the kind says so. */
export class LineFramer implements Framer {
  private readonly held = new Pieces();
  private readonly kind: LineKind;
  private readonly from: number;
  private offset: number;
  private line: number;
  /** The line before `from` was taken as it is, and had no end: what ends it is not a line of its own. */
  private open: boolean;

  /** `start`: the bytes that are given begin at this offset of the content, after so many lines. */
  constructor(kind: LineKind, from: number, start: LineStart) {
    this.kind = kind;
    this.from = from;
    this.offset = start.offset;
    this.line = start.lines;
    this.open = start.open ?? false;
  }

  /** Lines that have ended so far. */
  get lines(): number {
    return this.line;
  }

  push(chunk: Uint8Array): readonly InputRecord[] {
    const records: InputRecord[] = [];
    const base = this.offset;
    if (base === 0) this.kind.mustBegin?.(chunk);
    let start = this.skip(chunk);
    // A line that began in an earlier chunk, and the first of all, which may have a byte order mark, go alone.
    if (start < chunk.length && (this.held.length > 0 || this.line === 0 || this.open)) {
      const end = chunk.indexOf(LF, start);
      this.held.add(end < 0 ? chunk.subarray(start) : chunk.subarray(start, end));
      if (end >= 0) this.one(this.held.take(), base + end + 1, records);
      start = end < 0 ? chunk.length : end + 1;
    }
    const last = chunk.lastIndexOf(LF);
    if (last >= start) {
      this.many(chunk.subarray(start, last + 1), base + start, records);
      start = last + 1;
    }
    this.held.add(chunk.subarray(start));
    this.offset = base + chunk.length;
    return records;
  }

  end(): readonly InputRecord[] {
    const records: InputRecord[] = [];
    if (this.held.length > 0) this.one(this.held.take(), this.offset, records);
    return records;
  }

  /** Counts the lines before `from`; answers where in the chunk `from` is. */
  private skip(chunk: Uint8Array): number {
    const skipped = Math.min(chunk.length, Math.max(0, this.from - this.offset));
    for (let at = 0; at < skipped; at++) if (chunk[at] === LF) this.line++;
    if (skipped > 0) this.open = chunk[skipped - 1] !== LF;
    return skipped;
  }

  private one(held: Frame, end: number, records: InputRecord[]): void {
    this.line++;
    const { line, open } = this;
    this.open = false;
    if (held.tooLong) {
      records.push(problem({ line, frame: held.bytes, end }, TOO_LONG));
      return;
    }
    const whole = line === 1 ? withoutMark(held.bytes) : held.bytes;
    const frame = whole.at(-1) === CR ? whole.subarray(0, -1) : whole;
    if (open && frame.length === 0) return;
    if (!this.kind.skipsBlank || !isBlank(frame)) records.push(this.kind.ofBytes({ line, frame, end }));
  }

  /** Whole lines. Decoding them together is what makes it fast: calls into Node cost more than small lines do. */
  private many(lines: Uint8Array, base: number, records: InputRecord[]): void {
    if (!isAscii(lines)) {
      for (let start = 0; start < lines.length; ) {
        const end = lines.indexOf(LF, start);
        this.one(frameOf(lines.subarray(start, end)), base + end + 1, records);
        start = end + 1;
      }
      return;
    }
    const text = Buffer.from(lines.buffer, lines.byteOffset, lines.length).toString("latin1");
    const { skipsBlank } = this.kind;
    const read = this.kind.reader(text);
    for (let start = 0; start < text.length; ) {
      const next = text.indexOf("\n", start);
      this.line++;
      const { line } = this;
      const end = base + next + 1;
      const last = next > start && text.charCodeAt(next - 1) === CR ? next - 1 : next;
      if (next - start > FRAME_BYTES) {
        records.push(problem({ line, frame: frameOf(lines.subarray(start, next)).bytes, end }, TOO_LONG));
      } else if (!skipsBlank || text.charCodeAt(start) > 0x20 || !isBlank(lines.subarray(start, last))) {
        records.push(read({ line, frame: lines.subarray(start, last), end }, text.slice(start, last)));
      }
      start = next + 1;
    }
  }
}

function isBlank(line: Uint8Array): boolean {
  return line.every((byte) => byte === 0x20 || byte === 0x09 || byte === CR);
}
