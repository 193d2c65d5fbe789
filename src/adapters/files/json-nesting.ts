const QUOTE = 0x22;
const BACKSLASH = 0x5c;
const OPEN_ARRAY = 0x5b;
const CLOSE_ARRAY = 0x5d;
const OPEN_OBJECT = 0x7b;
const CLOSE_OBJECT = 0x7d;
const COMMA = 0x2c;
const COLON = 0x3a;

/** Kinds of open brackets are remembered to this depth, far beyond what a record may have. */
const REMEMBERED = 4_096;

/** Thrown where a bracket closes another kind than was opened: nothing after it can be understood. */
export class Mismatch extends Error {}

/**
 * Finds where the parts of a JSON array or object end, without reading the parts: only strings and brackets are
 * understood. Goes on over chunks that are cut anywhere.
 */
export class Nesting {
  private depth = 0;
  private inString = false;
  private escaped = false;
  private readonly kinds = new Uint8Array(REMEMBERED);

  /**
   * The index, from `from` on, of the next comma, colon or closing bracket that is inside nothing that was
   * opened since the beginning, or `chunk.length`.
   */
  scan(chunk: Uint8Array, from: number): number {
    for (let at = from; at < chunk.length; at++) {
      const byte = chunk[at];
      if (this.inString) {
        if (this.escaped) this.escaped = false;
        else if (byte === BACKSLASH) this.escaped = true;
        else if (byte === QUOTE) this.inString = false;
        continue;
      }
      switch (byte) {
        case QUOTE:
          this.inString = true;
          break;
        case OPEN_ARRAY:
        case OPEN_OBJECT:
          // The closing bracket of each is its opening one + 2.
          if (this.depth < REMEMBERED) this.kinds[this.depth] = byte + 2;
          this.depth++;
          break;
        case CLOSE_ARRAY:
        case CLOSE_OBJECT:
          if (this.depth === 0) return at;
          this.depth--;
          if (this.depth < REMEMBERED && this.kinds[this.depth] !== byte) throw new Mismatch();
          break;
        case COMMA:
        case COLON:
          if (this.depth === 0) return at;
      }
    }
    return chunk.length;
  }
}

/** Whether `byte` is white space in JSON. */
export function isSpace(byte: number | undefined): boolean {
  return byte === 0x20 || byte === 0x0a || byte === 0x0d || byte === 0x09;
}

/** How many bytes of white space `bytes` ends with. */
export function trailingSpace(bytes: Uint8Array): number {
  let end = bytes.length;
  while (end > 0 && isSpace(bytes[end - 1])) end--;
  return bytes.length - end;
}

/** `bytes` without white space at both ends. */
export function trim(bytes: Uint8Array): Uint8Array {
  const end = bytes.length - trailingSpace(bytes);
  let start = 0;
  while (start < end && isSpace(bytes[start])) start++;
  return bytes.subarray(start, end);
}
