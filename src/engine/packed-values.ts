import { decodeCanonical, encodeCanonical } from "../core/canonical.ts";
import { decodePlain, encodePlain } from "../core/columns.ts";

/** Canonical bytes of many values as a snapshot holds them, one after the other. */
export interface PackedValues {
  /** Plain. */
  readonly lengths: Uint8Array;
  readonly bytes: Uint8Array;
}

/** A value that came out of a snapshot and has not been asked for: of a million most are not, for a while. */
export class Frozen {
  readonly #bytes: Uint8Array;
  readonly #start: number;
  readonly #end: number;

  constructor(bytes: Uint8Array, start: number, end: number) {
    this.#bytes = bytes;
    this.#start = start;
    this.#end = end;
  }

  get bytes(): Uint8Array {
    return this.#bytes.subarray(this.#start, this.#end);
  }
}

/** The value itself. */
export function thaw(value: unknown): unknown {
  return value instanceof Frozen ? decodeCanonical(value.bytes) : value;
}

/** Throws `NotCanonical` for a value that no record may hold. */
export function packValues(values: readonly unknown[]): PackedValues {
  return packBytes(values.map((value) => (value instanceof Frozen ? value.bytes : encodeCanonical(value))));
}

/** Of values that are canonical bytes already. */
export function packBytes(parts: readonly Uint8Array[]): PackedValues {
  return { lengths: encodePlain(parts.map((part) => part.length)), bytes: Buffer.concat(parts) };
}

export function freezeValues(packed: PackedValues, count: number): Frozen[] {
  let end = 0;
  return decodePlain(packed.lengths, count).map((length) => {
    const start = end;
    end += length;
    return new Frozen(packed.bytes, start, end);
  });
}
