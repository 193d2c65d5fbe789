import type { InputRecord } from "../../ports/files.ts";
import { type Framer, FramingError, withoutMark } from "./framer.ts";
import { isSpace, Mismatch, Nesting, trailingSpace, trim } from "./json-nesting.ts";
import { jsonRecordOfBytes, problem } from "./json-record.ts";
import type { JsonLayout } from "./json-survey.ts";
import { Pieces, TOO_LONG } from "./pieces.ts";

const CLOSE_ARRAY = 0x5d;
const CLOSE_OBJECT = 0x7d;
const COLON = 0x3a;

/** Cuts a `.json` file, whose layout is known, into its records. */
export function jsonFramer(layout: JsonLayout, from: number): Framer {
  if (layout.kind === "single") return new SingleFramer(from);
  return new ElementFramer(layout.at, layout.inObject, from);
}

/** The elements of one array of a JSON text, each with its own bytes. */
class ElementFramer implements Framer {
  private readonly held = new Pieces();
  private readonly nesting = new Nesting();
  private skip: number;
  private readonly from: number;
  private readonly inObject: boolean;
  private part: "elements" | "rest" | "after" = "elements";
  private count = 0;
  private offset = 0;

  /** The array opens at byte `at`. */
  constructor(at: number, inObject: boolean, from: number) {
    this.from = from;
    this.skip = at + 1;
    this.inObject = inObject;
  }

  push(chunk: Uint8Array): readonly InputRecord[] {
    const records: InputRecord[] = [];
    let at = Math.min(this.skip, chunk.length);
    this.skip -= at;
    while (at < chunk.length) at = this.step(chunk, at, records);
    this.offset += chunk.length;
    return records;
  }

  end(): readonly InputRecord[] {
    if (this.part === "after") return [];
    const place = this.part === "rest" ? "after the last element" : `in element ${this.count + 1}`;
    throw this.broken(`the JSON breaks off ${place}`, []);
  }

  /** Reads on from `at`; answers where to go on. */
  private step(chunk: Uint8Array, at: number, records: InputRecord[]): number {
    if (this.part === "after") {
      if (isSpace(chunk[at])) return at + 1;
      throw this.broken(`something follows the end of the JSON at byte ${this.offset + at + 1}`, records);
    }
    const to = this.scan(chunk, at, records);
    const byte = chunk[to];
    if (this.part === "rest") {
      if (byte === CLOSE_OBJECT) this.part = "after";
      else if (byte === CLOSE_ARRAY) throw this.mismatch(to, records);
      return to + 1;
    }
    this.held.add(chunk.subarray(at, byte === COLON ? to + 1 : to));
    if (byte === undefined || byte === COLON) return to + 1;
    if (byte === CLOSE_OBJECT) throw this.mismatch(to, records);
    this.element(this.offset + to, byte === CLOSE_ARRAY, records);
    if (byte === CLOSE_ARRAY) this.part = this.inObject ? "rest" : "after";
    return to + 1;
  }

  private scan(chunk: Uint8Array, at: number, records: InputRecord[]): number {
    try {
      return this.nesting.scan(chunk, at);
    } catch (error) {
      if (error instanceof Mismatch) throw this.broken(this.brokenElement(), records);
      throw error;
    }
  }

  /** The element whose bytes are held; what separates it from the next is at byte `delimiter` of the content. */
  private element(delimiter: number, last: boolean, records: InputRecord[]): void {
    const { bytes, tooLong } = this.held.take();
    const frame = tooLong ? bytes : trim(bytes);
    if (frame.length === 0 && last && this.count === 0) return;
    const line = ++this.count;
    // Without the delimiter, so that the same array with more elements has what was taken as its beginning.
    const end = tooLong ? delimiter : delimiter - trailingSpace(bytes);
    if (end <= this.from) return;
    const place = { line, frame, end };
    if (tooLong) records.push(problem(place, TOO_LONG));
    else if (frame.length === 0) records.push(problem(place, "there is no value beside a comma"));
    else records.push(jsonRecordOfBytes(place));
  }

  private brokenElement(): string {
    return `element ${this.count + 1} closes a bracket that it did not open`;
  }

  private mismatch(to: number, records: readonly InputRecord[]): FramingError {
    return this.broken(`a bracket too many at byte ${this.offset + to + 1}`, records);
  }

  private broken(message: string, earlier: readonly InputRecord[]): FramingError {
    const hint = "The records before it were read. Repair the file, or get it again, and run again.";
    return new FramingError(message, { earlier, atStart: false, hint });
  }
}

/** A JSON text that is one record as a whole. */
class SingleFramer implements Framer {
  private readonly held = new Pieces();
  private readonly from: number;

  constructor(from: number) {
    this.from = from;
  }

  push(chunk: Uint8Array): readonly InputRecord[] {
    this.held.add(chunk);
    return [];
  }

  end(): readonly InputRecord[] {
    const { length } = this.held;
    const { bytes, tooLong } = this.held.take();
    const end = tooLong ? length : length - trailingSpace(bytes);
    if (end <= this.from) return [];
    const frame = tooLong ? bytes : trim(withoutMark(bytes));
    return [
      tooLong ? problem({ line: 1, frame, end }, TOO_LONG) : jsonRecordOfBytes({ line: 1, frame, end }),
    ];
  }
}
