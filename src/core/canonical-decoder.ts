import { CANONICAL_NAN, FORBIDDEN_KEY, GREATEST_INTEGER, LEAST_INTEGER } from "./canonical-encoder.ts";
import { HeadwaterError } from "./errors.ts";
import { LIMITS } from "./limits.ts";
import { formatPath, type Value } from "./value.ts";

/**
 * The value that canonical bytes stand for: maps become plain objects, bin a copy as Uint8Array, 64-bit
 * integers bigints. This is the strict reference: what it accepts, {@link encodeCanonical} encodes to exactly
 * the same bytes.
 *
 * @throws HeadwaterError NotCanonical for every other byte string, `where` naming the offset and the path;
 * RecordTooLarge above `mostBytes`, which is what a record may have unless something else is decoded.
 */
export function decodeCanonical(bytes: Uint8Array, mostBytes: number = LIMITS.recordBytes): Value {
  if (bytes.length > mostBytes) {
    throw new HeadwaterError("RecordTooLarge", `${bytes.length} bytes are more than a record may have`, {
      where: "$",
      hint: `A record has at most ${mostBytes} bytes.`,
    });
  }
  const decoder = new Decoder(bytes);
  const value = decoder.value();
  decoder.finish();
  return value;
}

const UTF8 = new TextDecoder("utf-8", { fatal: true, ignoreBOM: true });

class Decoder {
  readonly #bytes: Uint8Array;
  readonly #view: DataView;
  #offset = 0;
  readonly #path: (string | number)[] = [];

  constructor(bytes: Uint8Array) {
    this.#bytes = bytes;
    this.#view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  }

  finish(): void {
    if (this.#offset < this.#bytes.length) this.#refuse(this.#offset, "there are bytes after the record");
  }

  value(): Value {
    const start = this.#offset;
    const head = this.#view.getUint8(this.#take(1));
    if (head < 0x80) return head;
    if (head < 0x90) return this.#map(head & 15);
    if (head < 0xa0) return this.#array(head & 15);
    if (head < 0xc0) return this.#text(head & 31);
    if (head >= 0xe0) return head - 256;
    switch (head) {
      case 0xc0:
        return null;
      case 0xc2:
        return false;
      case 0xc3:
        return true;
      case 0xc4:
        return this.#binary(this.#view.getUint8(this.#take(1)));
      case 0xc5:
        return this.#binary(this.#unsigned(start, this.#view.getUint16(this.#take(2)), 2 ** 8));
      case 0xc6:
        return this.#binary(this.#unsigned(start, this.#view.getUint32(this.#take(4)), 2 ** 16));
      case 0xcb:
        return this.#float();
      case 0xcc:
        return this.#unsigned(start, this.#view.getUint8(this.#take(1)), 2 ** 7);
      case 0xcd:
        return this.#unsigned(start, this.#view.getUint16(this.#take(2)), 2 ** 8);
      case 0xce:
        return this.#unsigned(start, this.#view.getUint32(this.#take(4)), 2 ** 16);
      case 0xcf:
        return this.#view.getBigUint64(this.#take(8));
      case 0xd0:
        return this.#negative(start, this.#view.getInt8(this.#take(1)), -(2 ** 5));
      case 0xd1:
        return this.#negative(start, this.#view.getInt16(this.#take(2)), -(2 ** 7));
      case 0xd2:
        return this.#negative(start, this.#view.getInt32(this.#take(4)), -(2 ** 15));
      case 0xd3:
        return this.#negativeBigint(start);
      case 0xd9:
        return this.#text(this.#unsigned(start, this.#view.getUint8(this.#take(1)), 2 ** 5));
      case 0xda:
        return this.#text(this.#unsigned(start, this.#view.getUint16(this.#take(2)), 2 ** 8));
      case 0xdb:
        return this.#text(this.#unsigned(start, this.#view.getUint32(this.#take(4)), 2 ** 16));
      case 0xdc:
        return this.#array(this.#unsigned(start, this.#view.getUint16(this.#take(2)), 2 ** 4));
      case 0xdd:
        return this.#array(this.#unsigned(start, this.#view.getUint32(this.#take(4)), 2 ** 16));
      case 0xde:
        return this.#map(this.#unsigned(start, this.#view.getUint16(this.#take(2)), 2 ** 4));
      case 0xdf:
        return this.#map(this.#unsigned(start, this.#view.getUint32(this.#take(4)), 2 ** 16));
      default:
        return this.#refuse(start, `the byte 0x${head.toString(16)} begins no canonical value`);
    }
  }

  /** An integer, length or count that would have a shorter form below `least`. */
  #unsigned(start: number, value: number, least: number): number {
    return value >= least ? value : this.#refuse(start, "there is a shorter form");
  }

  /** An integer that would have another form from `above` on. */
  #negative(start: number, value: number, above: number): number {
    return value < above ? value : this.#refuse(start, "there is a shorter form");
  }

  #negativeBigint(start: number): bigint {
    const value = this.#view.getBigInt64(this.#take(8));
    return value < 0n ? value : this.#refuse(start, "a 64-bit integer that is not negative is a uint64");
  }

  #float(): number {
    const at = this.#take(8);
    const value = this.#view.getFloat64(at);
    if (Number.isNaN(value) && this.#view.getBigUint64(at) !== CANONICAL_NAN) {
      this.#refuse(at - 1, "NaN has one form, 7ff8000000000000");
    }
    const integer = Number.isInteger(value) && value >= LEAST_INTEGER && value <= GREATEST_INTEGER;
    if (integer && !Object.is(value, -0))
      this.#refuse(at - 1, "the number is an integer and has a shorter form");
    return value;
  }

  #text(length: number): string {
    const at = this.#take(length);
    try {
      return UTF8.decode(this.#bytes.subarray(at, at + length));
    } catch {
      return this.#refuse(at, "the text is not UTF-8");
    }
  }

  #binary(length: number): Uint8Array {
    const at = this.#take(length);
    return new Uint8Array(this.#bytes.subarray(at, at + length));
  }

  #array(count: number): Value[] {
    this.#enter(count);
    const values: Value[] = [];
    for (let index = 0; index < count; index++) {
      this.#path.push(index);
      values.push(this.value());
      this.#path.pop();
    }
    return values;
  }

  #map(count: number): { [key: string]: Value } {
    this.#enter(2 * count);
    const map: { [key: string]: Value } = {};
    let before: Uint8Array | undefined;
    for (let index = 0; index < count; index++) {
      const start = this.#offset;
      const key = this.#key();
      const bytes = this.#bytes.subarray(this.#offset - Buffer.byteLength(key), this.#offset);
      if (before !== undefined && Buffer.compare(before, bytes) >= 0) {
        this.#refuse(start, "the keys are not in the order of their bytes, or one is there twice");
      }
      before = bytes;
      this.#path.push(key);
      if (key === FORBIDDEN_KEY) this.#refuse(start, "a key may not be __proto__");
      map[key] = this.value();
      this.#path.pop();
    }
    return map;
  }

  #key(): string {
    const start = this.#offset;
    const head = this.#bytes[start] ?? 0;
    const text = (head >= 0xa0 && head < 0xc0) || (head >= 0xd9 && head <= 0xdb);
    const key = text ? this.value() : undefined;
    return typeof key === "string" ? key : this.#refuse(start, "a key is not text");
  }

  /** A container of at least `least` bytes begins. */
  #enter(least: number): void {
    const start = this.#offset;
    if (this.#path.length >= LIMITS.recordDepth) {
      this.#refuse(start, `more than ${LIMITS.recordDepth} maps and arrays around each other`);
    }
    if (start + least > this.#bytes.length) this.#refuse(start, "the record ends too early");
  }

  #take(count: number): number {
    const at = this.#offset;
    if (at + count > this.#bytes.length) this.#refuse(this.#bytes.length, "the record ends too early");
    this.#offset = at + count;
    return at;
  }

  #refuse(offset: number, message: string): never {
    throw new HeadwaterError("NotCanonical", message, {
      where: `byte ${offset} (${formatPath(this.#path)})`,
      hint: "The bytes were damaged, or not written by Headwater.",
    });
  }
}
