/** What a value takes beside its texts and bytes, in bytes: a field, a number, an object. */
const PART_BYTES = 16;
/** A value is looked into so far; what has more parts counts as if the rest were like the first. */
const PARTS_MOST = 256;
const CHAR_BYTES = 2;

/**
 * About how many bytes of memory a value takes that a program gives, of whatever kind; never throws. Cheap: it is asked
 * for each record, only so that a few thousand large ones are not taken for as many small ones.
 */
export function roughSize(value: unknown): number {
  try {
    return sizeOf(value, { parts: PARTS_MOST });
  } catch {
    // A property may throw when it is read: whoever takes the record in says so.
    return PART_BYTES;
  }
}

function sizeOf(value: unknown, left: { parts: number }): number {
  if (typeof value === "string") return PART_BYTES + CHAR_BYTES * value.length;
  if (typeof value !== "object" || value === null) return PART_BYTES;
  if (ArrayBuffer.isView(value)) return PART_BYTES + value.byteLength;
  const isArray = Array.isArray(value);
  const keys = isArray ? undefined : Object.keys(value);
  const count = keys?.length ?? (value as readonly unknown[]).length;
  let bytes = PART_BYTES;
  let seen = 0;
  for (; seen < count && left.parts > 0; seen++) {
    left.parts--;
    const key = keys?.[seen] ?? seen;
    bytes += sizeOf((value as Record<string | number, unknown>)[key], left);
    if (typeof key === "string") bytes += PART_BYTES;
  }
  return seen === 0 ? bytes : bytes * (count / seen);
}
