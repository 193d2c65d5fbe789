import { FORBIDDEN_KEY, isBytes } from "./canonical-encoder.ts";
import { LIMITS } from "./limits.ts";
import { compileEncoder, type EncoderShape, type EncoderSite, type ShapeWriter } from "./shape-encoder.ts";
import { ShapeSite } from "./shape-site.ts";
import { ShapeCache } from "./shapes.ts";
import { compareUtf8, hasLoneSurrogate } from "./utf8.ts";
import {
  ARRAY_HEAD,
  BINARY_HEAD,
  HEAD_BYTES,
  headBytes,
  MAP_HEAD,
  TEXT_HEAD,
  writeAscii,
  writeBigint,
  writeHead,
  writeNumber,
} from "./write-leaves.ts";

/** Room that is made before a value is written whose own size is not looked at: more than any leaf needs. */
const LEAF_BYTES = 40;
/** The capacity of an unused writer. */
const FIRST_BYTES = 64 * 1024;

/**
 * Thrown when a value is not canonical, or too large. It does not say why: the reference encoder does, for the
 * whole record again, so that there is one place that words errors.
 */
export const REFUSED = new Error("the record is refused");

/** The compiled encoders of this thread. */
const SHAPES = new ShapeCache(compileEncoder);

/** Writes records in canonical form into a growing buffer: compiled code for known shapes, general code else. */
export class RecordWriter implements ShapeWriter {
  #buffer = Buffer.from(new ArrayBuffer(FIRST_BYTES));
  u8 = new Uint8Array(this.#buffer.buffer);
  view = new DataView(this.#buffer.buffer);
  limit = FIRST_BYTES;
  /** Where the record at hand has to end. */
  #most = LIMITS.recordBytes;
  readonly #root = new ShapeSite<EncoderShape>();
  /** One place for all elements of arrays, and for values in maps without a shape, a depth. */
  readonly #elements = Array.from({ length: LIMITS.recordDepth + 1 }, () => new ShapeSite<EncoderShape>());

  /** Writes a record at `at` and returns its end. Throws anything at all when it cannot be written. */
  record(value: unknown, at: number): number {
    this.#most = at + LIMITS.recordBytes;
    const end = this.any(value, at, 0, this.#root);
    if (end > this.#most) throw REFUSED;
    return end;
  }

  grow(at: number, bytes: number): void {
    if (at + bytes <= this.limit) return;
    this.limit = Math.max(at + bytes, 2 * this.limit);
    const larger = Buffer.from(new ArrayBuffer(this.limit));
    larger.set(this.u8.subarray(0, at));
    this.#buffer = larger;
    this.u8 = new Uint8Array(larger.buffer);
    this.view = new DataView(larger.buffer);
  }

  any(value: unknown, at: number, depth: number, site: EncoderSite): number {
    if (at + LEAF_BYTES > this.limit) this.grow(at, LEAF_BYTES);
    switch (typeof value) {
      case "number":
        return writeNumber(this.view, at, value);
      case "string":
        return this.#text(value, at);
      case "boolean":
        this.u8[at] = value ? 0xc3 : 0xc2;
        return at + 1;
      case "object":
        if (value !== null) return this.#container(value, at, depth, site);
        this.u8[at] = 0xc0;
        return at + 1;
      case "bigint": {
        const end = writeBigint(this.view, at, value);
        if (end < 0) throw REFUSED;
        return end;
      }
      default:
        throw REFUSED;
    }
  }

  map(keys: readonly string[], values: readonly unknown[], at: number, depth: number): number {
    let count = 0;
    for (const value of values) if (value !== undefined) count++;
    if (at + LEAF_BYTES > this.limit) this.grow(at, LEAF_BYTES);
    let end = writeHead(this.view, at, count, MAP_HEAD);
    const site = this.#elementSite(depth);
    for (let index = 0; index < keys.length; index++) {
      const value = values[index];
      if (value !== undefined) end = this.any(value, this.#text(keys[index] ?? "", end), depth, site);
    }
    return end;
  }

  /** `depth` is the number of containers around this one; inside it is one more. */
  #container(value: object, at: number, depth: number, site: EncoderSite): number {
    // Also keeps a value that is shared many times over from filling the memory.
    if (at > this.#most) throw REFUSED;
    const prototype: unknown = Object.getPrototypeOf(value);
    if (prototype === Object.prototype || prototype === null) {
      if (depth >= LIMITS.recordDepth) throw REFUSED;
      return this.#object(value, at, depth + 1, site);
    }
    if (Array.isArray(value) && prototype === Array.prototype) {
      if (depth >= LIMITS.recordDepth) throw REFUSED;
      return this.#array(value, at, depth + 1);
    }
    if (!isBytes(value)) throw REFUSED;
    const length = value.length;
    if (length > LIMITS.recordBytes) throw REFUSED;
    if (at + HEAD_BYTES + length > this.limit) this.grow(at, HEAD_BYTES + length);
    const start = writeHead(this.view, at, length, BINARY_HEAD);
    this.u8.set(value, start);
    return start + length;
  }

  #object(value: object, at: number, depth: number, site: EncoderSite): number {
    const keys = Object.keys(value);
    // Both are quick for plain objects; the list of all keys, Reflect.ownKeys, is not.
    const hidden = Object.getOwnPropertyNames(value).length !== keys.length;
    if (hidden || Object.getOwnPropertySymbols(value).length > 0) throw REFUSED;
    const shape = site.recall(keys) ?? SHAPES.find(keys, value, site);
    if (shape !== undefined) return shape.encode(value, this, at, depth);
    for (const key of keys) if (key === FORBIDDEN_KEY || hasLoneSurrogate(key)) throw REFUSED;
    keys.sort(compareUtf8);
    const values = keys.map((key): unknown => Reflect.get(value, key));
    return this.map(keys, values, at, depth);
  }

  #array(value: readonly unknown[], at: number, depth: number): number {
    const count = value.length;
    if (count > LIMITS.recordBytes) throw REFUSED;
    // Indexes come first, in order, then "length": so there is no hole, and nothing beside the elements.
    const names = Object.getOwnPropertyNames(value);
    if (names.length !== count + 1 || names[count] !== "length") throw REFUSED;
    if (Object.getOwnPropertySymbols(value).length > 0) throw REFUSED;
    let end = writeHead(this.view, at, count, ARRAY_HEAD);
    const site = this.#elementSite(depth);
    // An accessor could change the array: like the reference, read all before writing any.
    const elements = value.slice();
    for (let index = 0; index < count; index++) end = this.any(elements[index], end, depth, site);
    return end;
  }

  #text(text: string, at: number): number {
    const length = text.length;
    if (length < 32) {
      if (at + LEAF_BYTES > this.limit) this.grow(at, LEAF_BYTES);
      const end = writeAscii(this.u8, at, text);
      if (end !== 0) return end;
    }
    if (length > LIMITS.recordBytes || hasLoneSurrogate(text)) throw REFUSED;
    // A UTF-16 unit has at most three bytes.
    const most = HEAD_BYTES + 3 * length;
    if (at + most > this.limit) this.grow(at, most);
    const guess = writeHead(this.view, at, length, TEXT_HEAD);
    const bytes = this.#buffer.write(text, guess, "utf8");
    if (bytes === length) return guess + bytes;
    const start = at + headBytes(bytes, TEXT_HEAD);
    if (start !== guess) this.u8.copyWithin(start, guess, guess + bytes);
    writeHead(this.view, at, bytes, TEXT_HEAD);
    return start + bytes;
  }

  #elementSite(depth: number): EncoderSite {
    const site = this.#elements[depth];
    if (site === undefined) throw REFUSED;
    return site;
  }
}
