import type { Shape, ShapeSite } from "./shape-site.ts";
import { generate } from "./shapes.ts";
import { compareUtf8 } from "./utf8.ts";
import { headOf, MAP_HEAD, textOf, writeAscii, writeNumber } from "./write-leaves.ts";

/** What a compiled encoder needs of the one who writes: the buffer, which moves when it grows, and all the rest. */
export interface ShapeWriter {
  readonly u8: Uint8Array;
  readonly view: DataView;
  /** Bytes of the buffer. */
  readonly limit: number;
  /** Makes room for `bytes` from `at` on; `u8`, `view` and `limit` change. */
  grow(at: number, bytes: number): void;
  /** Writes any value at `at` and returns its end; `u8` and `view` may have changed. Throws what is no value. */
  any(value: unknown, at: number, depth: number, site: EncoderSite): number;
  /** Writes the map of these keys, in canonical order, without those whose value is undefined. */
  map(keys: readonly string[], values: readonly unknown[], at: number, depth: number): number;
}

/** A shape, and the code that writes its objects. */
export interface EncoderShape extends Shape {
  readonly encode: ShapeEncoder;
}
export type EncoderSite = ShapeSite<EncoderShape>;

/** Writes `value`, an object of the shape, at `at`, and returns its end; `depth` counts the containers around it. */
type ShapeEncoder = (value: object, writer: ShapeWriter, at: number, depth: number) => number;

/** Characters of a text that compiled code writes itself, byte by byte, when they are ASCII. */
const SHORT_TEXT = 31;
/** The longest a value gets that compiled code writes itself. */
const INLINE_BYTES = SHORT_TEXT + 1;
/** Keys are written in whole words; what is too much is overwritten by what follows. */
const KEY_SLACK = 8;

/**
 * Compiles the encoder of a shape with `new Function`: straight-line code with the keys' bytes as constants,
 * and for each property the way that the value in `sample` took; other values take the writer's general one.
 * Keys get into the code only as JSON, or as numbers. Undefined where code may not be generated.
 *
 * `sites[i]` is the place for objects in the i-th key of the canonical order. The keys must be well-formed and
 * not `__proto__`.
 */
export function compileEncoder(
  keys: readonly string[],
  sample: object,
  sites: readonly EncoderSite[],
): EncoderShape | undefined {
  const sorted = keys.toSorted(compareUtf8);
  const pieces = sorted.map((key, index) =>
    index === 0 ? [...headOf(sorted.length, MAP_HEAD), ...textOf(key)] : textOf(key),
  );
  const room = (from: number): number =>
    pieces.slice(from).reduce((sum, piece) => sum + piece.length + INLINE_BYTES, KEY_SLACK + 16);
  const fields = sorted.map((key, index) => {
    // Not by reading the property: an accessor is called once a record.
    const value: unknown = Object.getOwnPropertyDescriptor(sample, key)?.value;
    return `
  ${keyCode(pieces[index] ?? [])}
  ${valueCode(`v${index}`, `sites[${index}]`, typeof value, room(index + 1))}`;
  });
  const source = `"use strict";
return function encodeShape(value, writer, at, depth) {
  ${sorted.map((key, index) => `const v${index} = value[${JSON.stringify(key)}];`).join("\n  ")}
  if (${sorted.map((_, index) => `v${index} === undefined`).join(" || ") || "false"}) {
    return writer.map(keys, [${sorted.map((_, index) => `v${index}`).join(", ")}], at, depth);
  }
  if (at + ${room(0)} > writer.limit) writer.grow(at, ${room(0)});
  let u8 = writer.u8;
  let view = writer.view;
  let end = 0;
  ${sorted.length === 0 ? "u8[at++] = 0x80;" : ""}${fields.join("")}
  return at;
};`;
  const make = generate(["keys", "sites", "writeNumber", "writeAscii"], source);
  const encode = make?.(sorted, sites, writeNumber, writeAscii) as ShapeEncoder | undefined;
  return encode && { keys, encode };
}

/** Code for the value in a variable whose type is likely `type`; `room` bytes must be there for what follows it. */
function valueCode(value: string, site: string, type: string, room: number): string {
  const any = `{
    at = writer.any(${value}, at, depth, ${site});
    if (at + ${room} > writer.limit) writer.grow(at, ${room});
    u8 = writer.u8;
    view = writer.view;
  }`;
  switch (type) {
    case "number":
      return `if (typeof ${value} === "number") {
    if (${value} > 0 && ${value} < 128 && (${value} | 0) === ${value}) u8[at++] = ${value};
    else at = writeNumber(view, at, ${value});
  } else ${any}`;
    case "string":
      return `if (typeof ${value} === "string" && ${value}.length <= ${SHORT_TEXT} && (end = writeAscii(u8, at, ${value})) !== 0) at = end;
  else ${any}`;
    case "boolean":
      return `if (${value} === true) u8[at++] = 0xc3; else if (${value} === false) u8[at++] = 0xc2; else ${any}`;
    default:
      return `if (${value} === null) u8[at++] = 0xc0; else ${any}`;
  }
}

/** Stores `bytes` at `at` in words of eight and four bytes, and moves `at` behind them. */
function keyCode(bytes: readonly number[]): string {
  const padded = new DataView(new ArrayBuffer(bytes.length + KEY_SLACK));
  bytes.forEach((byte, index) => {
    padded.setUint8(index, byte);
  });
  let code = "";
  for (let offset = 0; offset < bytes.length; ) {
    const double = padded.getFloat64(offset, true);
    // The bits of a NaN do not survive being a number in source.
    if (bytes.length - offset > 4 && Number.isFinite(double)) {
      code += `view.setFloat64(at + ${offset}, ${Object.is(double, -0) ? "-0" : double}, true); `;
      offset += 8;
    } else {
      code += `view.setInt32(at + ${offset}, ${padded.getInt32(offset, true)}, true); `;
      offset += 4;
    }
  }
  return `${code}at += ${bytes.length};`;
}
