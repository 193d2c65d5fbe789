import { describeThrown, HeadwaterError } from "./errors.ts";
import { LIMITS } from "./limits.ts";
import { compareUtf8, hasLoneSurrogate } from "./utf8.ts";
import { formatPath } from "./value.ts";

/**
 * The canonical bytes of a record: MessagePack with one encoding for each value (docs/format.md). This is the
 * reference; {@link Arena} gives the same bytes and the same errors faster.
 *
 * @throws HeadwaterError NotCanonical, `where` naming the path, for what a record cannot hold; RecordTooLarge
 * above `mostBytes`, which is what a record may have unless something else is encoded.
 */
export function encodeCanonical(value: unknown, mostBytes: number = LIMITS.recordBytes): Uint8Array {
  const encoder = new Encoder(mostBytes);
  encoder.value(value);
  return encoder.finish();
}

/** Map keys that no record may have: assigning it would change an object's prototype. */
export const FORBIDDEN_KEY = "__proto__";

/** Integers in this range are msgpack integers; every other number is a float64. */
export const LEAST_INTEGER = -(2 ** 31);
export const GREATEST_INTEGER = 2 ** 32 - 1;

/** The bits of the only NaN in canonical bytes. */
export const CANONICAL_NAN = 0x7ff8_0000_0000_0000n;

/** The error for a record above `LIMITS.recordBytes`. */
export function recordTooLarge(): HeadwaterError {
  return new HeadwaterError("RecordTooLarge", `the record has more than ${LIMITS.recordBytes} bytes`, {
    where: "$",
    hint: "Split the record, or keep the large part elsewhere and put its digest into the record.",
  });
}

class Encoder {
  #bytes = Buffer.allocUnsafe(256);
  #length = 0;
  readonly #mostBytes: number;
  readonly #path: (string | number)[] = [];
  /** The containers around the value at hand, outermost first. */
  readonly #around: object[] = [];

  constructor(mostBytes: number) {
    this.#mostBytes = mostBytes;
  }

  finish(): Uint8Array {
    return new Uint8Array(this.#bytes.subarray(0, this.#length));
  }

  value(value: unknown): void {
    if (value === null) this.#byte(0xc0);
    else if (typeof value === "boolean") this.#byte(value ? 0xc3 : 0xc2);
    else if (typeof value === "number") this.#number(value);
    else if (typeof value === "bigint") this.#bigint(value);
    else if (typeof value === "string") this.#string(value);
    else if (value === undefined)
      this.#refuse("undefined is not a value", "Use null, or leave the property out.");
    else if (typeof value !== "object")
      this.#refuse(`a ${typeof value} is not a value`, "Keep only data in records.");
    else if (isBytes(value)) this.#binary(value);
    else this.#container(value);
  }

  #container(value: object): void {
    if (this.#around.includes(value))
      this.#refuse("the record contains itself", "Refer to the other value by an id.");
    if (this.#around.length === LIMITS.recordDepth) {
      this.#refuse(
        `more than ${LIMITS.recordDepth} maps and arrays around each other`,
        "Flatten the record.",
      );
    }
    const array = Array.isArray(value);
    const prototype: unknown = Object.getPrototypeOf(value);
    const plain = array
      ? prototype === Array.prototype
      : prototype === Object.prototype || prototype === null;
    if (!plain) this.#refuse(`${describeClass(value)} is not a plain value`, hintFor(value));
    if (Object.getOwnPropertySymbols(value).length > 0)
      this.#refuse("a key is a symbol", "Use text as keys.");
    this.#around.push(value);
    if (array) this.#array(value);
    else this.#map(value);
    this.#around.pop();
  }

  #array(value: readonly unknown[]): void {
    const count = value.length;
    if (count > this.#mostBytes) throw recordTooLarge();
    const names = Object.getOwnPropertyNames(value);
    for (let index = 0; index < count; index++) {
      if (names[index] === String(index)) continue;
      this.#path.push(index);
      this.#refuse("the array has a hole", "Use null for what is missing.");
    }
    if (names.length !== count + 1) {
      this.#refuse("the array has properties beside its elements", "Use a map.");
    }
    const elements = names.slice(0, count).map((_, index) => this.#read(value, index));
    this.#head(count, 0x90, 15, 0, 0xdc, 0xdd);
    elements.forEach((element, index) => {
      this.#at(index, element);
    });
  }

  #map(value: object): void {
    const keys = Object.getOwnPropertyNames(value);
    for (const key of keys) this.#checkKey(value, key);
    keys.sort(compareUtf8);
    const entries = keys
      .map((key) => [key, this.#read(value, key)] as const)
      .filter(([, property]) => property !== undefined);
    this.#head(entries.length, 0x80, 15, 0, 0xde, 0xdf);
    for (const [key, property] of entries) {
      this.#string(key);
      this.#at(key, property);
    }
  }

  #checkKey(value: object, key: string): void {
    if (
      key !== FORBIDDEN_KEY &&
      !hasLoneSurrogate(key) &&
      Object.prototype.propertyIsEnumerable.call(value, key)
    ) {
      return;
    }
    this.#path.push(key);
    if (key === FORBIDDEN_KEY) this.#refuse("a key may not be __proto__", "Rename the key.");
    if (hasLoneSurrogate(key)) this.#refuse("a key has half of a surrogate pair", "Repair the text.");
    this.#refuse("a property is hidden (not enumerable)", "Make a plain copy: {...record}.");
  }

  /** A property's value, read once; what an accessor throws is an error of the record. */
  #read(from: object, key: string | number): unknown {
    try {
      return Reflect.get(from, key);
    } catch (cause) {
      this.#path.push(key);
      return this.#refuse(
        `reading the property threw: ${describeThrown(cause)}`,
        "Keep only data in records.",
        cause,
      );
    }
  }

  #at(step: string | number, value: unknown): void {
    this.#path.push(step);
    this.value(value);
    this.#path.pop();
  }

  #string(text: string): void {
    if (text.length > this.#mostBytes) throw recordTooLarge();
    if (hasLoneSurrogate(text)) this.#refuse("the text has half of a surrogate pair", "Repair the text.");
    const bytes = Buffer.from(text, "utf8");
    this.#head(bytes.length, 0xa0, 31, 0xd9, 0xda, 0xdb);
    this.#append(bytes);
  }

  #binary(bytes: Uint8Array): void {
    this.#head(bytes.length, 0, -1, 0xc4, 0xc5, 0xc6);
    this.#append(bytes);
  }

  #number(value: number): void {
    const integer = Number.isInteger(value) && value >= LEAST_INTEGER && value <= GREATEST_INTEGER;
    if (!integer || Object.is(value, -0)) {
      const at = this.#reserve(9);
      this.#bytes[at] = 0xcb;
      // JavaScript does not say which of the many NaNs it writes.
      if (Number.isNaN(value)) this.#bytes.writeBigUInt64BE(CANONICAL_NAN, at + 1);
      else this.#bytes.writeDoubleBE(value, at + 1);
    } else if (value >= 0) {
      this.#head(value, 0, 127, 0xcc, 0xcd, 0xce);
    } else if (value >= -32) {
      this.#byte(value + 256);
    } else if (value >= -(2 ** 7)) {
      this.#byte(0xd0);
      this.#byte(value + 2 ** 8);
    } else if (value >= -(2 ** 15)) {
      this.#byte(0xd1);
      const at = this.#reserve(2);
      this.#bytes.writeInt16BE(value, at);
    } else {
      this.#byte(0xd2);
      const at = this.#reserve(4);
      this.#bytes.writeInt32BE(value, at);
    }
  }

  #bigint(value: bigint): void {
    if (value < -(2n ** 63n) || value >= 2n ** 64n) {
      this.#refuse("the bigint does not fit into 64 bits", "Keep it as text.");
    }
    const at = this.#reserve(9);
    this.#bytes[at] = value < 0n ? 0xd3 : 0xcf;
    this.#bytes.writeBigUInt64BE(BigInt.asUintN(64, value), at + 1);
  }

  /**
   * The shortest head for `count`: within `most` it is part of the first byte, on top of `fix`; else the first
   * byte is `one`, `two` or `four`, for that many bytes of length. Arrays and maps have no `one`: it is 0.
   */
  #head(count: number, fix: number, most: number, one: number, two: number, four: number): void {
    if (count <= most) {
      this.#byte(fix + count);
    } else if (one !== 0 && count < 2 ** 8) {
      this.#byte(one);
      this.#byte(count);
    } else if (count < 2 ** 16) {
      this.#byte(two);
      const at = this.#reserve(2);
      this.#bytes.writeUInt16BE(count, at);
    } else {
      this.#byte(four);
      const at = this.#reserve(4);
      this.#bytes.writeUInt32BE(count, at);
    }
  }

  #byte(byte: number): void {
    const at = this.#reserve(1);
    this.#bytes[at] = byte;
  }

  #append(bytes: Uint8Array): void {
    const at = this.#reserve(bytes.length);
    this.#bytes.set(bytes, at);
  }

  /** Makes room for `count` more bytes and returns where they begin. */
  #reserve(count: number): number {
    const at = this.#length;
    if (at + count > this.#mostBytes) throw recordTooLarge();
    if (at + count > this.#bytes.length) {
      const larger = Buffer.allocUnsafe(Math.max(at + count, 2 * at));
      larger.set(this.#bytes.subarray(0, at));
      this.#bytes = larger;
    }
    this.#length = at + count;
    return at;
  }

  #refuse(message: string, hint: string, cause?: unknown): never {
    throw new HeadwaterError("NotCanonical", message, { where: formatPath(this.#path), hint, cause });
  }
}

/** Whether `value` is stored as bytes: a Uint8Array or Node's Buffer, not a subclass of somebody's. */
export function isBytes(value: object): value is Uint8Array {
  if (!ArrayBuffer.isView(value)) return false;
  const prototype: unknown = Object.getPrototypeOf(value);
  return prototype === Uint8Array.prototype || prototype === Buffer.prototype;
}

function describeClass(value: object): string {
  const tag = Object.prototype.toString.call(value).slice(8, -1);
  return tag === "Object" || tag === "Array" ? "an object of a class" : `an object of type ${tag}`;
}

function hintFor(value: object): string {
  if (value instanceof Date) return "Use value.toISOString() or value.getTime().";
  if (value instanceof Map) return "Use Object.fromEntries(value).";
  if (value instanceof Set) return "Use [...value].";
  if (value instanceof Promise) return "Await it first.";
  return "Make a plain copy: {...value}.";
}
