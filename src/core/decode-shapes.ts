import { decodeCanonical } from "./canonical-decoder.ts";
import { FORBIDDEN_KEY, GREATEST_INTEGER, LEAST_INTEGER } from "./canonical-encoder.ts";
import { LIMITS } from "./limits.ts";
import { readText } from "./read-text.ts";
import { compileDecoder, type DecoderShape, type DecoderSite, type ShapeReader } from "./shape-decoder.ts";
import { ShapeSite } from "./shape-site.ts";
import { ShapeCache } from "./shapes.ts";
import { compareUtf8 } from "./utf8.ts";
import type { Value } from "./value.ts";

/** The compiled decoders of this thread. */
const SHAPES = new ShapeCache(compileDecoder);

/**
 * Thrown where bytes are not canonical. It does not say why: the strict decoder does, from the record's start,
 * so that there is one place that words errors.
 */
const REFUSED = new Error("the bytes are refused");

/**
 * Decodes canonical records fast: code compiled for the shapes of maps it has met. It gives the values of
 * {@link decodeCanonical}, and its errors. Not for use by several owners at once; it is cheap to make.
 */
export class RecordDecoder implements ShapeReader {
  // All of the memory that the bytes given last are a part of: records that share it are opened once.
  #memory: ArrayBufferLike = new ArrayBuffer(0);
  u8 = new Uint8Array(this.#memory);
  view = new DataView(this.#memory);
  end = 0;
  at = 0;
  readonly #root = new ShapeSite<DecoderShape>();
  /** One place a depth for the elements of arrays, and for values in maps without a shape. */
  readonly #elements = Array.from({ length: LIMITS.recordDepth + 1 }, () => new ShapeSite<DecoderShape>());

  /**
   * The record in `bytes` from `start` to `end`. What it holds is copied: `bytes` may change afterwards.
   *
   * @throws HeadwaterError NotCanonical, RecordTooLarge; offsets in `where` count from `start`.
   */
  decode(bytes: Uint8Array, start = 0, end = bytes.length): Value {
    if (!(start >= 0 && end >= start && end <= bytes.length)) {
      throw new RangeError(`${bytes.length} bytes have no record from ${start} to ${end}`);
    }
    if (bytes.buffer !== this.#memory) this.#open(bytes.buffer);
    const offset = bytes.byteOffset;
    this.end = offset + end;
    if (end - start <= LIMITS.recordBytes) {
      try {
        const value = this.any(offset + start, 0, this.#root);
        if (this.at === this.end) return value;
      } catch {
        // Whatever it was (a read beyond the buffer is a RangeError), the strict decoder finds it again.
      }
    }
    return decodeCanonical(bytes.subarray(start, end));
  }

  any(at: number, depth: number, site: DecoderSite): Value {
    const { u8, view } = this;
    if (at >= this.end) throw REFUSED;
    const head = u8[at] ?? 0xc1;
    if (head < 0x80) return this.#leaf(at + 1, head);
    if (head < 0x90) return this.#map(at + 1, head & 15, depth, site);
    if (head < 0xa0) return this.#array(at + 1, head & 15, depth);
    if (head < 0xc0) return this.text(at + 1, head & 31);
    if (head >= 0xe0) return this.#leaf(at + 1, head - 256);
    switch (head) {
      case 0xc0:
        return this.#leaf(at + 1, null);
      case 0xc2:
        return this.#leaf(at + 1, false);
      case 0xc3:
        return this.#leaf(at + 1, true);
      case 0xc4:
        return this.#binary(at + 2, view.getUint8(at + 1), 0);
      case 0xc5:
        return this.#binary(at + 3, view.getUint16(at + 1), 2 ** 8);
      case 0xc6:
        return this.#binary(at + 5, view.getUint32(at + 1), 2 ** 16);
      case 0xcb:
        return this.#float(at);
      case 0xcc:
        return this.#integer(at + 2, view.getUint8(at + 1), 0, 127);
      case 0xcd:
        return this.#integer(at + 3, view.getUint16(at + 1), 0, 2 ** 8 - 1);
      case 0xce:
        return this.#integer(at + 5, view.getUint32(at + 1), 0, 2 ** 16 - 1);
      case 0xcf:
        return this.#leaf(at + 9, view.getBigUint64(at + 1));
      case 0xd0:
        return this.#integer(at + 2, view.getInt8(at + 1), -32, 127);
      case 0xd1:
        return this.#integer(at + 3, view.getInt16(at + 1), -(2 ** 7), 2 ** 15);
      case 0xd2:
        return this.#integer(at + 5, view.getInt32(at + 1), -(2 ** 15), 2 ** 31);
      case 0xd3: {
        const value = view.getBigInt64(at + 1);
        if (value >= 0n) throw REFUSED;
        return this.#leaf(at + 9, value);
      }
      case 0xd9:
        return this.#longText(at + 2, view.getUint8(at + 1), 32);
      case 0xda:
        return this.#longText(at + 3, view.getUint16(at + 1), 2 ** 8);
      case 0xdb:
        return this.#longText(at + 5, view.getUint32(at + 1), 2 ** 16);
      case 0xdc:
        return this.#array(at + 3, atLeast(16, view.getUint16(at + 1)), depth);
      case 0xdd:
        return this.#array(at + 5, atLeast(2 ** 16, view.getUint32(at + 1)), depth);
      case 0xde:
        return this.#map(at + 3, atLeast(16, view.getUint16(at + 1)), depth, site);
      case 0xdf:
        return this.#map(at + 5, atLeast(2 ** 16, view.getUint32(at + 1)), depth, site);
      default:
        throw REFUSED;
    }
  }

  text(at: number, length: number): string {
    if (at + length > this.end) throw REFUSED;
    const text = readText(this.u8, at, length);
    if (text === undefined) throw REFUSED;
    this.at = at + length;
    return text;
  }

  rest(
    at: number,
    count: number,
    keys: readonly string[],
    values: readonly Value[],
    depth: number,
    site: DecoderSite,
  ): Value {
    const all = keys.slice();
    const map: { [key: string]: Value } = {};
    keys.forEach((key, index) => {
      map[key] = values[index] ?? null;
    });
    const places = this.#elementSite(depth);
    let before = keys.at(-1);
    this.at = at;
    for (let index = keys.length; index < count; index++) {
      const key = this.#key();
      if (key === FORBIDDEN_KEY || (before !== undefined && compareUtf8(before, key) >= 0)) throw REFUSED;
      map[key] = this.any(this.at, depth, places);
      all.push(key);
      before = key;
    }
    const shape = site.recall(all);
    if (shape !== undefined) site.remember(shape);
    else SHAPES.find(all, map, site);
    return map;
  }

  #open(memory: ArrayBufferLike): void {
    this.#memory = memory;
    this.u8 = new Uint8Array(memory);
    this.view = new DataView(memory);
  }

  #leaf<T>(next: number, value: T): T {
    this.at = next;
    return value;
  }

  /** An integer that must not lie in the range of a shorter form. */
  #integer(next: number, value: number, shorterFrom: number, shorterTo: number): number {
    if (value >= shorterFrom && value <= shorterTo) throw REFUSED;
    return this.#leaf(next, value);
  }

  #float(at: number): number {
    const value = this.view.getFloat64(at + 1);
    if (Number.isNaN(value)) {
      if (this.view.getUint32(at + 1) !== 0x7ff80000 || this.view.getUint32(at + 5) !== 0) throw REFUSED;
    } else if (value >= LEAST_INTEGER && value <= GREATEST_INTEGER && Math.floor(value) === value) {
      if (!Object.is(value, -0)) throw REFUSED;
    }
    return this.#leaf(at + 9, value);
  }

  #longText(at: number, length: number, least: number): string {
    return this.text(at, atLeast(least, length));
  }

  #binary(at: number, length: number, least: number): Uint8Array {
    if (at + atLeast(least, length) > this.end) throw REFUSED;
    return this.#leaf(at + length, this.u8.slice(at, at + length));
  }

  #array(at: number, count: number, depth: number): Value[] {
    // The second also keeps a false count from costing memory: an element has a byte.
    if (depth >= LIMITS.recordDepth || at + count > this.end) throw REFUSED;
    const site = this.#elementSite(depth + 1);
    const values: Value[] = [];
    this.at = at;
    for (let index = 0; index < count; index++) values.push(this.any(this.at, depth + 1, site));
    return values;
  }

  #map(at: number, count: number, depth: number, site: DecoderSite): Value {
    if (depth >= LIMITS.recordDepth || at + 2 * count > this.end) throw REFUSED;
    const { last, others } = site;
    if (last !== undefined && last.keys.length === count) {
      const value = last.decode(this, at, depth + 1, site);
      if (value !== undefined) return value;
    }
    for (const shape of others) {
      if (shape.keys.length !== count) continue;
      const value = shape.decode(this, at, depth + 1, site);
      if (value !== undefined) return value;
    }
    return this.rest(at, count, [], [], depth + 1, site);
  }

  #key(): string {
    const { at } = this;
    const head = this.u8[at] ?? 0;
    if (head >= 0xa0 && head < 0xc0) return this.text(at + 1, head & 31);
    if (head === 0xd9) return this.#longText(at + 2, this.view.getUint8(at + 1), 32);
    if (head === 0xda) return this.#longText(at + 3, this.view.getUint16(at + 1), 2 ** 8);
    if (head === 0xdb) return this.#longText(at + 5, this.view.getUint32(at + 1), 2 ** 16);
    throw REFUSED;
  }

  #elementSite(depth: number): DecoderSite {
    const site = this.#elements[depth];
    if (site === undefined) throw REFUSED;
    return site;
  }
}

/** A length or count that would have a shorter form below `least`. */
function atLeast(least: number, count: number): number {
  if (count < least) throw REFUSED;
  return count;
}
