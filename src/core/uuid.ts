import { toHex } from "./digest.ts";

/**
 * The text of a UUID (RFC 9562) made of the first 16 of `bytes`, with the bits that tell its version and variant
 * set in it.
 */
export function formatUuid(bytes: Uint8Array, version: 5 | 8): string {
  const uuid = Uint8Array.from(bytes.subarray(0, 16));
  uuid[6] = ((uuid[6] as number) & 0x0f) | (version << 4);
  uuid[8] = ((uuid[8] as number) & 0x3f) | 0x80;
  const hex = toHex(uuid);
  return `${hex.slice(0, 8)}-${hex.slice(8, 12)}-${hex.slice(12, 16)}-${hex.slice(16, 20)}-${hex.slice(20)}`;
}
