import { readFileSync } from "node:fs";

/** One value of canonical.json and its bytes; of long ones only the number of bytes and the first of them. */
export interface AcceptedVector {
  readonly name: string;
  readonly value: unknown;
  readonly hex?: string;
  readonly bytes?: number;
  readonly start?: string;
  readonly sha256: string;
}

export interface RefusedVector {
  readonly why: string;
  readonly hex: string;
}

interface VectorFile {
  readonly accepted: readonly AcceptedVector[];
  readonly refused: readonly RefusedVector[];
}

/** The vectors of canonical.json. */
export function canonicalVectors(): VectorFile {
  return JSON.parse(readFileSync(new URL("canonical.json", import.meta.url), "utf8"));
}

/** The value that a vector describes in JSON with tags. */
export function untagged(described: unknown): unknown {
  if (Array.isArray(described)) return described.map(untagged);
  if (described === null || typeof described !== "object") return described;
  const [entry] = Object.entries(described);
  const [tag, given] = entry ?? ["", undefined];
  switch (tag) {
    case "$bigint":
      return BigInt(given);
    case "$float":
      return Number(given);
    case "$bytes":
      return new Uint8Array(Buffer.from(given, "hex"));
    case "$undefined":
      return undefined;
    case "$text":
      return "a".repeat(given);
    case "$zeros":
      return new Uint8Array(given);
    case "$nulls":
      return Array.from({ length: given }, () => null);
    case "$counting":
      return Object.fromEntries(
        Array.from({ length: given }, (_, index) => [`k${String(index).padStart(5, "0")}`, index]),
      );
    default:
      return Object.fromEntries(Object.entries(described).map(([key, value]) => [key, untagged(value)]));
  }
}
