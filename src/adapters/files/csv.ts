import { isUtf8 } from "node:buffer";
import { parse } from "csv-parse/sync";
import type { InputRecord } from "../../ports/files.ts";
import { type Framer, FramingError, withoutMark } from "./framer.ts";
import { INVALID_UTF8, type Place, problem } from "./json-record.ts";
import { FRAME_BYTES, TOO_LONG } from "./pieces.ts";
import { type Row, RowSplitter } from "./rows.ts";

/**
 * CSV (RFC 4180): commas, double quotes, a header line. Rows are cut here, because each one's exact bytes are
 * needed and one broken row must not hide the next; their cells are read by csv-parse, many rows at a time.
 */
export class CsvFramer implements Framer {
  private readonly splitter = new RowSplitter();
  private columns: readonly string[] | undefined;
  private readonly from: number;
  private first = true;

  constructor(from: number) {
    this.from = from;
  }

  push(chunk: Uint8Array): readonly InputRecord[] {
    return this.records(this.splitter.push(chunk));
  }

  end(): readonly InputRecord[] {
    return this.records(this.splitter.end());
  }

  private records(rows: readonly Row[]): readonly InputRecord[] {
    const records: InputRecord[] = [];
    let body = rows.map((row) => this.withoutEnds(row)).filter((row) => row.bytes.length > 0);
    let columns = this.columns;
    if (columns === undefined) {
      const header = body.shift();
      if (header === undefined) return records;
      columns = columnsOf(header);
      this.columns = columns;
    }
    body = body.filter((row) => row.end > this.from);
    const cells = readCells(body.filter((row) => row.fault === undefined));
    for (const row of body) {
      records.push(row.fault === undefined ? record(row, cells.get(row), columns) : faulty(row, columns));
    }
    return records;
  }

  private withoutEnds(row: Row): Row {
    let { bytes } = row;
    if (this.first && !row.tooLong) bytes = withoutMark(bytes);
    this.first = false;
    if (bytes.at(-1) === 0x0d && !row.tooLong) bytes = bytes.subarray(0, -1);
    return bytes === row.bytes ? row : { ...row, bytes };
  }
}

function columnsOf(header: Row): readonly string[] {
  const fail = (message: string, hint: string) =>
    new FramingError(message, { earlier: [], atStart: true, hint });
  const cells = header.fault === undefined && !header.tooLong ? readOne(header) : undefined;
  if (!Array.isArray(cells)) {
    throw fail(
      "the header line cannot be read",
      "The first line of a CSV file names its columns, between commas.",
    );
  }
  const seen = new Set<string>();
  for (const [index, name] of cells.entries()) {
    const hint = "Give each column a name of its own in the first line.";
    if (name === "") throw fail(`column ${index + 1} has no name`, hint);
    if (name === "__proto__")
      throw fail(`column ${index + 1} is named __proto__, which no field may be`, hint);
    if (seen.has(name)) throw fail(`two columns are named ${JSON.stringify(name)}`, hint);
    seen.add(name);
  }
  return cells;
}

type Cells = readonly string[] | string;

/** The cells of each row, or why they cannot be read. */
function readCells(rows: readonly Row[]): ReadonlyMap<Row, Cells> {
  const whole = rows.filter((row) => !row.tooLong);
  const together = parseTogether(whole);
  return new Map(whole.map((row, index) => [row, together?.[index] ?? readOne(row)]));
}

/** All rows in one call, which is five times as fast as one by one; `undefined` if any of them is in the way. */
function parseTogether(rows: readonly Row[]): readonly (readonly string[])[] | undefined {
  const joined = Buffer.concat(rows.flatMap((row) => [row.bytes, LINE_END]));
  if (!isUtf8(joined)) return undefined;
  try {
    const cells = parseRows(joined);
    return cells.length === rows.length ? cells : undefined;
  } catch {
    return undefined;
  }
}

function readOne(row: Row): Cells {
  if (!isUtf8(row.bytes)) return INVALID_UTF8;
  try {
    const [cells, more] = parseRows(row.bytes);
    if (cells !== undefined && more === undefined) return cells;
    return "a row that cannot be read";
  } catch (error) {
    return error instanceof Error ? error.message.slice(0, 120) : "a row that cannot be read";
  }
}

const LINE_END = Buffer.from("\n");

function parseRows(bytes: Uint8Array): string[][] {
  return parse(Buffer.from(bytes.buffer, bytes.byteOffset, bytes.length), {
    columns: false,
    relax_column_count: true,
    record_delimiter: ["\n", "\r\n"],
    max_record_size: FRAME_BYTES,
  });
}

function record(row: Row, cells: Cells | undefined, columns: readonly string[]): InputRecord {
  const place = placeOf(row);
  if (row.tooLong || cells === undefined) return problem(place, TOO_LONG);
  if (typeof cells === "string") return problem(place, cells);
  const count = cells.length === 1 ? "1 column" : `${cells.length} columns`;
  const missing = columns[cells.length];
  if (missing !== undefined) {
    const message = `${count} where the header has ${columns.length}; ${JSON.stringify(missing)} is missing`;
    return problem(place, message, missing);
  }
  if (cells.length > columns.length) {
    const extra = JSON.stringify((cells[columns.length] ?? "").slice(0, 40));
    const message = `${count} where the header has ${columns.length}; the first one too many holds ${extra}`;
    return problem(place, message, `column ${columns.length + 1}`);
  }
  const value: Record<string, string> = {};
  for (let index = 0; index < columns.length; index++) value[columns[index] ?? ""] = cells[index] ?? "";
  return { ...place, value };
}

function faulty(row: Row, columns: readonly string[]): InputRecord {
  const message = row.tooLong ? TOO_LONG : (row.fault ?? "a row that cannot be read");
  return problem(placeOf(row), message, columns[row.faultColumn] ?? `column ${row.faultColumn + 1}`);
}

function placeOf(row: Row): Place {
  return { line: row.line, frame: row.bytes, end: row.end };
}
