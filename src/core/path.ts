const ONE_BYTE_MOST = 0xf7;

/**
 * A path is kept as text of characters 0–255, one a byte, so that `<` compares paths as bytes. See "Addresses"
 * in docs/format.md.
 */
export type Path = string;

export const ROOT_PATH: Path = "";

/** The path element of result `index` of a flatMap. */
export function indexElement(index: number): string {
  if (index <= ONE_BYTE_MOST) return String.fromCharCode(index);
  const bytes: number[] = [];
  for (let rest = index; rest > 0; rest = Math.floor(rest / 256)) bytes.unshift(rest % 256);
  return String.fromCharCode(ONE_BYTE_MOST + bytes.length, ...bytes);
}

/** The path element of the branch that begins with stage `name`. */
export function branchElement(name: string): string {
  return `${name}\0`;
}

/** Where {@link indexElement} put a number, and where it ends. */
export function readIndexElement(path: Path, at: number): { readonly index: number; readonly end: number } {
  const first = path.charCodeAt(at);
  if (first <= ONE_BYTE_MOST) return { index: first, end: at + 1 };
  const end = at + 1 + first - ONE_BYTE_MOST;
  let index = 0;
  for (let byte = at + 1; byte < end; byte++) index = index * 256 + path.charCodeAt(byte);
  return { index, end };
}

/** Times and ordinals on a path have so many bytes, so that they are in order as bytes. */
export const NUMBER_BYTES = 7;
const NUMBER_OFFSET = 2 ** 53;
/** {@link NUMBER_OFFSET} in the first byte: added to a number above 0 it would cost that its last bit. */
const OFFSET_BIT = 0x20;

/** The path element of a time in milliseconds, or of an ordinal; −∞ and ∞ come before and after all. */
export function numberElement(value: number): string {
  if (value === Number.POSITIVE_INFINITY) return "\xff".repeat(NUMBER_BYTES);
  if (value === Number.NEGATIVE_INFINITY) return "\0".repeat(NUMBER_BYTES);
  let rest = value < 0 ? value + NUMBER_OFFSET : value;
  const bytes = new Array<number>(NUMBER_BYTES);
  for (let at = NUMBER_BYTES - 1; at >= 0; at--) {
    bytes[at] = rest % 256;
    rest = Math.floor(rest / 256);
  }
  if (value >= 0) bytes[0] = (bytes[0] as number) | OFFSET_BIT;
  return String.fromCharCode(...bytes);
}

/** The path element of a key: its canonical bytes, which say themselves where they end. */
export function keyElement(canonical: Uint8Array): string {
  return Buffer.from(canonical.buffer, canonical.byteOffset, canonical.byteLength).toString("latin1");
}
