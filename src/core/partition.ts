import { encodeCanonical } from "./canonical.ts";

const FNV_OFFSET = 0x811c9dc5;
const FNV_PRIME = 0x01000193;
const FIXSTR = 0xa0;
const FIXSTR_CHARS = 31;
const ASCII_MOST = 0x7f;

/**
 * The partition of a key: 32-bit FNV-1a (Fowler, Noll, Vo) over the key's canonical bytes, finished with
 * MurmurHash3's `fmix32` (Appleby) because FNV's low bits are weak for short keys, modulo `partitions`.
 */
export function partitionOfKey(key: unknown, partitions: number): number {
  return hashKey(key) % partitions;
}

/** A key as it counts: −0 is 0, whoever says it. */
export function countedKey<K>(key: K): K | 0 {
  return key === 0 ? 0 : key;
}

/** The 32-bit hash of a key, or of another value that a record may hold. */
export function hashKey(key: unknown): number {
  if (typeof key === "string" && key.length <= FIXSTR_CHARS) {
    let hash = Math.imul(FNV_OFFSET ^ (FIXSTR | key.length), FNV_PRIME);
    let at = 0;
    for (; at < key.length; at++) {
      const char = key.charCodeAt(at);
      if (char > ASCII_MOST) break;
      hash = Math.imul(hash ^ char, FNV_PRIME);
    }
    if (at === key.length) return finish(hash);
  }
  let hash = FNV_OFFSET;
  for (const byte of encodeCanonical(key)) hash = Math.imul(hash ^ byte, FNV_PRIME);
  return finish(hash);
}

function finish(hash: number): number {
  let mixed = hash;
  mixed = Math.imul(mixed ^ (mixed >>> 16), 0x85ebca6b);
  mixed = Math.imul(mixed ^ (mixed >>> 13), 0xc2b2ae35);
  return (mixed ^ (mixed >>> 16)) >>> 0;
}
