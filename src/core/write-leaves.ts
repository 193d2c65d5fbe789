/** Writes a number's canonical form (at most 9 bytes) at `at`, for which there must be room, and returns its end. */
export function writeNumber(view: DataView, at: number, value: number): number {
  if ((value | 0) === value && (value !== 0 || 1 / value > 0)) {
    if (value >= 0) {
      if (value < 2 ** 7) {
        view.setUint8(at, value);
        return at + 1;
      }
      if (value < 2 ** 8) {
        view.setUint16(at, 0xcc00 | value);
        return at + 2;
      }
      if (value < 2 ** 16) {
        view.setUint8(at, 0xcd);
        view.setUint16(at + 1, value);
        return at + 3;
      }
    } else {
      if (value >= -32) {
        view.setInt8(at, value);
        return at + 1;
      }
      if (value >= -(2 ** 7)) {
        view.setUint16(at, 0xd000 | (value & 0xff));
        return at + 2;
      }
      if (value >= -(2 ** 15)) {
        view.setUint8(at, 0xd1);
        view.setInt16(at + 1, value);
        return at + 3;
      }
    }
    view.setUint8(at, value < 0 ? 0xd2 : 0xce);
    view.setInt32(at + 1, value);
    return at + 5;
  }
  if (value > 0 && value >>> 0 === value) {
    view.setUint8(at, 0xce);
    view.setUint32(at + 1, value);
    return at + 5;
  }
  view.setUint8(at, 0xcb);
  if (Number.isNaN(value)) {
    // JavaScript does not say which of the many NaNs it writes.
    view.setUint32(at + 1, 0x7ff80000);
    view.setUint32(at + 5, 0);
  } else {
    view.setFloat64(at + 1, value);
  }
  return at + 9;
}

/**
 * Writes a text of at most 31 characters, for which there must be room, and returns its end; or 0 when a
 * character is not ASCII.
 */
export function writeAscii(u8: Uint8Array, at: number, text: string): number {
  const length = text.length;
  let next = at + 1;
  for (let index = 0; index < length; index++) {
    const character = text.charCodeAt(index);
    if (character > 127) return 0;
    u8[next++] = character;
  }
  u8[at] = 0xa0 | length;
  return next;
}

/** Writes a bigint's canonical form (9 bytes), or returns -1 when it has none. */
export function writeBigint(view: DataView, at: number, value: bigint): number {
  if (value < 0n) {
    if (value < -(2n ** 63n)) return -1;
    view.setUint8(at, 0xd3);
    view.setBigInt64(at + 1, value);
  } else {
    if (value >= 2n ** 64n) return -1;
    view.setUint8(at, 0xcf);
    view.setBigUint64(at + 1, value);
  }
  return at + 9;
}

/** Writes the head of a text, array, map or byte string; see the forms below. Returns its end. */
export function writeHead(view: DataView, at: number, count: number, form: HeadForm): number {
  if (count <= form.most) {
    view.setUint8(at, form.fix + count);
    return at + 1;
  }
  if (form.one !== 0 && count < 2 ** 8) {
    view.setUint8(at, form.one);
    view.setUint8(at + 1, count);
    return at + 2;
  }
  if (count < 2 ** 16) {
    view.setUint8(at, form.two);
    view.setUint16(at + 1, count);
    return at + 3;
  }
  view.setUint8(at, form.four);
  view.setUint32(at + 1, count);
  return at + 5;
}

/** The bytes of a head. */
export function headBytes(count: number, form: HeadForm): number {
  if (count <= form.most) return 1;
  if (form.one !== 0 && count < 2 ** 8) return 2;
  return count < 2 ** 16 ? 3 : HEAD_BYTES;
}

/**
 * The heads of a kind of value. A count up to `most` is added to `fix`; else `one`, `two` or `four` is followed
 * by that many bytes of count. There is no `one` where it is 0.
 */
export interface HeadForm {
  readonly fix: number;
  readonly most: number;
  readonly one: number;
  readonly two: number;
  readonly four: number;
}

export const TEXT_HEAD: HeadForm = { fix: 0xa0, most: 31, one: 0xd9, two: 0xda, four: 0xdb };
export const BINARY_HEAD: HeadForm = { fix: 0, most: -1, one: 0xc4, two: 0xc5, four: 0xc6 };
export const ARRAY_HEAD: HeadForm = { fix: 0x90, most: 15, one: 0, two: 0xdc, four: 0xdd };
export const MAP_HEAD: HeadForm = { fix: 0x80, most: 15, one: 0, two: 0xde, four: 0xdf };
/** The bytes of a head alone, and of a text with its head. */
export function headOf(count: number, form: HeadForm): number[] {
  const bytes = new Uint8Array(HEAD_BYTES);
  return [...bytes.subarray(0, writeHead(new DataView(bytes.buffer), 0, count, form))];
}
export function textOf(text: string): number[] {
  const bytes = Buffer.from(text, "utf8");
  return [...headOf(bytes.length, TEXT_HEAD), ...bytes];
}

/** The most bytes that a head has. */
export const HEAD_BYTES = 5;
