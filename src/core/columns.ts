import { HeadwaterError } from "./errors.ts";
import { LIMITS } from "./limits.ts";

const HIGH_BIT = 0x80;
const LOW_BITS = 0x7f;
const SMALL = 2 ** 31;

/** A growing byte buffer for columns: see "Columns" in docs/format.md. */
export class ColumnWriter {
  #bytes: Uint8Array;
  #end = 0;

  constructor(expectedBytes = 256) {
    this.#bytes = new Uint8Array(expectedBytes);
  }

  /** `value` is a whole number from 0 to 2^53 − 1. */
  uvarint(value: number): void {
    if (this.#end + 8 > this.#bytes.length) this.#grow(8);
    let rest = value;
    while (rest >= SMALL) {
      this.#bytes[this.#end++] = (rest % HIGH_BIT) | HIGH_BIT;
      rest = Math.floor(rest / HIGH_BIT);
    }
    while (rest >= HIGH_BIT) {
      this.#bytes[this.#end++] = (rest & LOW_BITS) | HIGH_BIT;
      rest >>>= 7;
    }
    this.#bytes[this.#end++] = rest;
  }

  /** `value` is a whole number whose double is still a safe integer. */
  svarint(value: number): void {
    this.uvarint(value >= 0 ? value * 2 : value * -2 - 1);
  }

  raw(bytes: Uint8Array): void {
    if (this.#end + bytes.length > this.#bytes.length) this.#grow(bytes.length);
    this.#bytes.set(bytes, this.#end);
    this.#end += bytes.length;
  }

  /** What was written, as a copy. */
  finish(): Uint8Array {
    return this.#bytes.slice(0, this.#end);
  }

  #grow(more: number): void {
    const bigger = new Uint8Array(Math.max(this.#bytes.length * 2, this.#end + more));
    bigger.set(this.#bytes.subarray(0, this.#end));
    this.#bytes = bigger;
  }
}

/** Reads what {@link ColumnWriter} wrote. Throws `LogDamaged` where the bytes end too early. */
export class ColumnReader {
  readonly #bytes: Uint8Array;
  #at = 0;

  constructor(bytes: Uint8Array) {
    this.#bytes = bytes;
  }

  get done(): boolean {
    return this.#at >= this.#bytes.length;
  }

  uvarint(): number {
    const bytes = this.#bytes;
    let byte = bytes[this.#at++];
    if (byte === undefined) throw shortColumn();
    if (byte < HIGH_BIT) return byte;
    let value = byte & LOW_BITS;
    let factor = HIGH_BIT;
    do {
      byte = bytes[this.#at++];
      if (byte === undefined || factor > Number.MAX_SAFE_INTEGER) throw shortColumn();
      value += (byte & LOW_BITS) * factor;
      factor *= HIGH_BIT;
    } while (byte >= HIGH_BIT);
    return value;
  }

  svarint(): number {
    const value = this.uvarint();
    return value % 2 === 0 ? value / 2 : -(value + 1) / 2;
  }

  raw(length: number): Uint8Array {
    const end = this.#at + length;
    if (end > this.#bytes.length) throw shortColumn();
    const part = this.#bytes.subarray(this.#at, end);
    this.#at = end;
    return part;
  }
}

/** First value, then differences. */
export function encodeDeltas(values: ArrayLike<number>): Uint8Array {
  const out = new ColumnWriter(values.length * 2 + 8);
  let before = 0;
  for (let row = 0; row < values.length; row++) {
    const value = values[row] as number;
    out.svarint(value - before);
    before = value;
  }
  return out.finish();
}

/** The `count` numbers that {@link encodeDeltas} wrote; as many as there are if `count` is absent. */
export function decodeDeltas(bytes: Uint8Array, count?: number): number[] {
  const input = new ColumnReader(bytes);
  const values: number[] = [];
  let value = 0;
  while (count === undefined ? !input.done : values.length < count) {
    value += input.svarint();
    values.push(value);
  }
  return values;
}

export function encodePlain(values: ArrayLike<number>): Uint8Array {
  const out = new ColumnWriter(values.length + 8);
  for (let row = 0; row < values.length; row++) out.uvarint(values[row] as number);
  return out.finish();
}

export function decodePlain(bytes: Uint8Array, count?: number): number[] {
  const input = new ColumnReader(bytes);
  const values: number[] = [];
  while (count === undefined ? !input.done : values.length < count) values.push(input.uvarint());
  return values;
}

/** Pairs of a number and how many rows in a row have it. */
export function encodeRuns(values: ArrayLike<number>): Uint8Array {
  const out = new ColumnWriter();
  for (let row = 0; row < values.length; ) {
    const value = values[row] as number;
    let end = row + 1;
    while (end < values.length && values[end] === value) end++;
    out.uvarint(value);
    out.uvarint(end - row);
    row = end;
  }
  return out.finish();
}

/** The `count` numbers that {@link encodeRuns} wrote. */
export function decodeRuns(bytes: Uint8Array, count: number): number[] {
  const input = new ColumnReader(bytes);
  const values: number[] = [];
  while (values.length < count) {
    const value = input.uvarint();
    const run = input.uvarint();
    if (run === 0 || values.length + run > count) throw shortColumn();
    for (let i = 0; i < run; i++) values.push(value);
  }
  return values;
}

/**
 * For each row that comes of `count` rows the one that it comes of; `bytes` are {@link encodeRuns} of how many come of
 * each. Throws `LogDamaged` for more than an event can be about.
 */
export function decodeParents(bytes: Uint8Array, count: number): number[] {
  const parents: number[] = [];
  for (const [row, results] of decodeRuns(bytes, count).entries()) {
    if (parents.length + results > LIMITS.eventRows) throw shortColumn();
    for (let k = 0; k < results; k++) parents.push(row);
  }
  return parents;
}

/** Texts as Latin-1, one byte a character: paths. */
export function encodeByteTexts(texts: readonly string[]): Uint8Array {
  const out = new ColumnWriter(texts.length * 4);
  for (const text of texts) {
    out.uvarint(text.length);
    for (let i = 0; i < text.length; i++) out.raw(Uint8Array.of(text.charCodeAt(i)));
  }
  return out.finish();
}

export function decodeByteTexts(bytes: Uint8Array, count: number): string[] {
  const input = new ColumnReader(bytes);
  const texts: string[] = [];
  while (texts.length < count) texts.push(String.fromCharCode(...input.raw(input.uvarint())));
  return texts;
}

const utf8 = new TextEncoder();
const fromUtf8 = new TextDecoder("utf-8", { fatal: true });

export function encodeTexts(texts: readonly string[]): Uint8Array {
  const out = new ColumnWriter(texts.length * 16);
  for (const text of texts) {
    const bytes = utf8.encode(text);
    out.uvarint(bytes.length);
    out.raw(bytes);
  }
  return out.finish();
}

export function decodeTexts(bytes: Uint8Array, count: number): string[] {
  const input = new ColumnReader(bytes);
  const texts: string[] = [];
  while (texts.length < count) texts.push(fromUtf8.decode(input.raw(input.uvarint())));
  return texts;
}

function shortColumn(): HeadwaterError {
  return new HeadwaterError("LogDamaged", "a column of an event is shorter or longer than it has to be", {
    hint: "The event was not written by Headwater, or was changed after it.",
  });
}
