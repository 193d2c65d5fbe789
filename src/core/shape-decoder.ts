import type { Shape, ShapeSite } from "./shape-site.ts";
import { generate } from "./shapes.ts";
import type { Value } from "./value.ts";
import { textOf } from "./write-leaves.ts";

/** What a compiled decoder needs of the one who reads. Each method throws where bytes are not canonical. */
export interface ShapeReader {
  readonly u8: Uint8Array;
  readonly view: DataView;
  /** Where the record ends. */
  readonly end: number;
  /** Where the last call below stopped; a compiled decoder sets it, too. */
  at: number;
  any(at: number, depth: number, site: DecoderSite): Value;
  text(at: number, length: number): string;
  /** Reads on in a map of `count` entries of which some are read; the next key begins at `at`. */
  rest(
    at: number,
    count: number,
    keys: readonly string[],
    values: readonly Value[],
    depth: number,
    site: DecoderSite,
  ): Value;
}

/** A shape, and the code that reads its maps. */
export interface DecoderShape extends Shape {
  readonly decode: ShapeDecoder;
}
export type DecoderSite = ShapeSite<DecoderShape>;

/**
 * Reads a map with as many entries as the shape, whose first key begins at `at`. Undefined, with nothing done,
 * when the first key is another one. `depth` counts the containers around what is inside.
 */
type ShapeDecoder = (reader: ShapeReader, at: number, depth: number, site: DecoderSite) => Value | undefined;

/**
 * Compiles the decoder of a shape with `new Function`: it compares the keys' bytes with constants and builds an
 * object literal, so that all objects of the shape have one hidden class. For each value it has the way that
 * the one in `sample` took; others take the reader's general one.
 * Keys get into the code only as JSON, or as numbers. Undefined where code may not be generated.
 *
 * The keys must be in canonical order, well-formed and not `__proto__`.
 */
export function compileDecoder(
  keys: readonly string[],
  sample: object,
  sites: readonly DecoderSite[],
): DecoderShape | undefined {
  const fields = keys.map((key, index) => {
    const bytes = textOf(key);
    const read = keys.slice(0, index).map((_, before) => `v${before}`);
    const otherKey =
      index === 0
        ? "return undefined;"
        : `return reader.rest(at, ${keys.length}, keys.slice(0, ${index}), [${read.join(", ")}], depth, site);`;
    const value: unknown = Reflect.get(sample, key);
    return `
  if (at + ${bytes.length} > reader.end || ${otherBytes(bytes)}) ${otherKey}
  at += ${bytes.length};
  head = u8[at];
  let v${index};
  ${valueCode(`v${index}`, `sites[${index}]`, typeof value)}`;
  });
  const source = `"use strict";
return function decodeShape(reader, at, depth, site) {
  const u8 = reader.u8;
  const view = reader.view;
  let head = 0;
  ${fields.join("")}
  reader.at = at;
  return {${keys.map((key, index) => `${JSON.stringify(key)}: v${index}`).join(", ")}};
};`;
  const make = generate(["keys", "sites"], source);
  const decode = make?.(keys, sites) as ShapeDecoder | undefined;
  return decode && { keys, decode };
}

function valueCode(value: string, site: string, type: string): string {
  const any = `{ ${value} = reader.any(at, depth, ${site}); at = reader.at; }`;
  switch (type) {
    case "number":
      return `if (head < 128) { ${value} = head; at += 1; }
  else if (head === 0xce && (${value} = view.getUint32(at + 1)) > 65535) at += 5;
  else if (head === 0xcd && (${value} = view.getUint16(at + 1)) > 255) at += 3;
  else ${any}`;
    case "string":
      return `if (head >= 0xa0 && head < 0xc0) { ${value} = reader.text(at + 1, head & 31); at += 1 + (head & 31); }
  else ${any}`;
    case "boolean":
      return `if (head === 0xc3) { ${value} = true; at += 1; }
  else if (head === 0xc2) { ${value} = false; at += 1; }
  else ${any}`;
    default:
      return any;
  }
}

/** A condition: the bytes at `at` are others than these. */
function otherBytes(bytes: readonly number[]): string {
  if (bytes.length < 4) {
    return bytes.map((byte, index) => `u8[at + ${index}] !== ${byte}`).join(" || ");
  }
  const view = new DataView(Uint8Array.from(bytes).buffer);
  const offsets = [];
  for (let offset = 0; offset + 4 < bytes.length; offset += 4) offsets.push(offset);
  // The last word overlaps the one before.
  offsets.push(bytes.length - 4);
  return offsets
    .map((offset) => `view.getInt32(at + ${offset}, true) !== ${view.getInt32(offset, true)}`)
    .join(" || ");
}
