import { FRAME_BYTES, Pieces } from "./pieces.ts";

/** A row of a CSV file: its bytes without the line end (a carriage return may be left at the end). */
export interface Row {
  /** Where it begins; quoted cells may hold line ends, so that a row can span lines. */
  readonly line: number;
  readonly bytes: Uint8Array;
  readonly tooLong: boolean;
  /** Bytes of the content up to its end, with the line end if there is one. */
  readonly end: number;
  /** What is wrong with its quotes, and in which column from 0. */
  readonly fault: string | undefined;
  readonly faultColumn: number;
}

const LF = 0x0a;
const CR = 0x0d;
const QUOTE = 0x22;
const COMMA = 0x2c;

/** Where in a row the next byte is. */
type State = "cell-start" | "plain" | "quoted" | "after-quote" | "after-quote-cr";

/**
 * Cuts CSV into rows. A quote counts only at the start of a cell, as RFC 4180 has it; elsewhere it is a fault of
 * that row, which ends with its line. A quoted cell that never closes would swallow the rest of the file: when a
 * row has come to {@link FRAME_BYTES}, or the file to its end, in such a cell, only the line that opened it is
 * given up, and the lines after it are read again, each as a row of its own.
 */
export class RowSplitter {
  private readonly held = new Pieces();
  private rows: Row[] = [];
  private state: State = "cell-start";
  private line = 1;
  private offset = 0;
  private innerLines = 0;
  private column = 0;
  private fault: string | undefined;
  private faultColumn = 0;
  /** The row ends with its line, also inside quotes. */
  private oneLine = false;

  push(chunk: Uint8Array): readonly Row[] {
    this.scan(chunk, this.offset, false);
    this.offset += chunk.length;
    return this.taken();
  }

  end(): readonly Row[] {
    if (this.state === "quoted" && !this.oneLine) this.reread(this.offset);
    if (this.held.length > 0) this.finish(this.offset, false);
    return this.taken();
  }

  private taken(): readonly Row[] {
    const rows = this.rows;
    this.rows = [];
    return rows;
  }

  private scan(chunk: Uint8Array, base: number, oneLine: boolean): void {
    let start = 0;
    for (let at = 0; at < chunk.length; at++) {
      const byte = chunk[at] ?? 0;
      if (byte === LF && (this.state !== "quoted" || this.oneLine)) {
        this.held.add(chunk.subarray(start, at));
        this.finish(base + at + 1, oneLine);
        start = at + 1;
        continue;
      }
      this.step(byte);
      if (this.state !== "quoted" || this.oneLine) continue;
      if (this.held.length + at + 1 - start !== FRAME_BYTES) continue;
      this.held.add(chunk.subarray(start, at + 1));
      start = at + 1;
      this.reread(base + at + 1);
    }
    this.held.add(chunk.subarray(start));
  }

  private step(byte: number): void {
    switch (this.state) {
      case "plain":
        if (byte === COMMA) this.nextCell();
        else if (byte === QUOTE) this.blame("a quote inside a cell that does not begin with one");
        break;
      case "cell-start":
        if (byte === COMMA) this.nextCell();
        else this.state = byte === QUOTE ? "quoted" : "plain";
        break;
      case "quoted":
        if (byte === QUOTE) this.state = "after-quote";
        else if (byte === LF) this.innerLines++;
        break;
      case "after-quote":
        if (byte === QUOTE) this.state = "quoted";
        else if (byte === COMMA) this.nextCell();
        else if (byte === CR) this.state = "after-quote-cr";
        else this.afterQuote();
        break;
      case "after-quote-cr":
        this.afterQuote();
    }
  }

  private nextCell(): void {
    this.column++;
    this.state = "cell-start";
  }

  private afterQuote(): void {
    this.blame("text after the closing quote of a cell; a quote inside a quoted cell is written twice");
    this.state = "plain";
  }

  private blame(fault: string): void {
    if (this.fault !== undefined) return;
    this.fault = fault;
    this.faultColumn = this.column;
  }

  /** Ends the row that is held. The next one is read as `oneLine` says. */
  private finish(end: number, oneLine: boolean): void {
    if (this.state === "quoted") this.blame("a quoted cell is not closed");
    const { bytes, tooLong } = this.held.take();
    const { line, fault, faultColumn } = this;
    this.rows.push({ line, bytes, tooLong, end, fault, faultColumn });
    this.line += this.innerLines + 1;
    this.begin(oneLine);
  }

  private begin(oneLine: boolean): void {
    this.state = "cell-start";
    this.innerLines = 0;
    this.column = 0;
    this.fault = undefined;
    this.oneLine = oneLine;
  }

  /** Reads what is held, up to byte `end` of the content, again line by line; each byte is read twice at most. */
  private reread(end: number): void {
    const all = this.held.take().bytes;
    this.begin(true);
    this.scan(all, end - all.length, true);
  }
}
