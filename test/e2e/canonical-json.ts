import { createHash } from "node:crypto";

/**
 * The canonical bytes of a JSON value, and their digest, as docs/format.md has them ("Records", "Digests"): written
 * from that page alone, so that digests in a log can be held to something that is not Headwater.
 */
export function digestOfJson(value: unknown): string {
  return createHash("sha256").update(canonicalJson(value)).digest("hex");
}

export function canonicalJson(value: unknown): Buffer {
  if (value === null) return Buffer.of(0xc0);
  if (typeof value === "boolean") return Buffer.of(value ? 0xc3 : 0xc2);
  if (typeof value === "number") return number(value);
  if (typeof value === "string") {
    const bytes = Buffer.from(value, "utf8");
    return Buffer.concat([head(bytes.length, 0xa0, 31, [0xd9, 0xda, 0xdb]), bytes]);
  }
  if (Array.isArray(value)) {
    return Buffer.concat([
      head(value.length, 0x90, 15, [undefined, 0xdc, 0xdd]),
      ...value.map(canonicalJson),
    ]);
  }
  const entries = Object.entries(value as object).map(
    ([key, of]) => [Buffer.from(key, "utf8"), key, of] as const,
  );
  entries.sort(([a], [b]) => Buffer.compare(a, b));
  const parts = entries.flatMap(([, key, of]) => [canonicalJson(key), canonicalJson(of)]);
  return Buffer.concat([head(entries.length, 0x80, 15, [undefined, 0xde, 0xdf]), ...parts]);
}

/** The bytes that say how long something is: of up to `short` in one, else in 1, 2 or 4 after their type. */
function head(
  length: number,
  fix: number,
  short: number,
  [one, two, four]: readonly [number | undefined, number, number],
): Buffer {
  if (length <= short) return Buffer.of(fix | length);
  if (one !== undefined && length < 0x100) return Buffer.of(one, length);
  if (length < 0x1_0000) return Buffer.of(two, length >> 8, length & 0xff);
  const bytes = Buffer.alloc(5, four);
  bytes.writeUInt32BE(length, 1);
  return bytes;
}

function number(value: number): Buffer {
  if (!Number.isInteger(value) || Object.is(value, -0) || value < -(2 ** 31) || value >= 2 ** 32) {
    const bytes = Buffer.alloc(9, 0xcb);
    bytes.writeDoubleBE(value, 1);
    return bytes;
  }
  if (value >= -32 && value < 128) return Buffer.of(value & 0xff);
  const sizes = value < 0 ? [0xd0, 0xd1, 0xd2] : [0xcc, 0xcd, 0xce];
  const bounds = value < 0 ? [2 ** 7, 2 ** 15, 2 ** 31] : [2 ** 8 - 1, 2 ** 16 - 1, 2 ** 32 - 1];
  const size = bounds.findIndex((bound) => Math.abs(value) <= bound);
  const bytes = Buffer.alloc(1 + 2 ** size, sizes[size]);
  if (value < 0) bytes.writeIntBE(value, 1, 2 ** size);
  else bytes.writeUIntBE(value, 1, 2 ** size);
  return bytes;
}
