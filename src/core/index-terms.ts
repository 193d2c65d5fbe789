/**
 * Terms under which the lineage view finds events: whole numbers below 2^40, made of what is looked for. Two things may
 * have the same term, rarely: whoever finds an event by one looks into it.
 */
export type Term = number;

const LOW = 2 ** 32;

/** 32-bit FNV-1a (Fowler, Noll, Vo) of a text's UTF-16 code units. */
export function hashText(text: string, seed = 0x811c9dc5): number {
  let hash = seed;
  for (let at = 0; at < text.length; at++) hash = Math.imul(hash ^ text.charCodeAt(at), 0x01000193);
  return hash >>> 0;
}

/** A record with this digest is in the event. */
export function digestTerm(digests: Uint8Array, row: number): Term {
  const at = row * 32;
  const low =
    ((digests[at] as number) << 24) |
    ((digests[at + 1] as number) << 16) |
    ((digests[at + 2] as number) << 8) |
    (digests[at + 3] as number);
  return (low >>> 0) + (digests[at + 4] as number) * LOW;
}

/** A record with this sender's id was accepted in the event; `stream` is {@link hashText} of the source's stream. */
export function idTerm(stream: number, id: string): Term {
  return mixed(0x1d, hashText(id, stream), id.length);
}

/** A reduce's step in the event comes after that of the input N = `n`. */
export function previousTerm(stream: number, n: number): Term {
  return mixed(0x9e, stream, n);
}

/**
 * A result in the event has all of the N's from `block` × 2^`level` on, 2^`level` of them, as members. A run of members
 * is cut into such blocks, so that any one of them is found by a few terms, and a long run has few.
 */
export function membersTerm(stream: number, level: number, block: number): Term {
  return mixed(0x40 + level, stream, block);
}

/** Levels that blocks of members may have. */
const MEMBER_LEVELS = 40;

/** The blocks of {@link membersTerm} that a run of members is cut into. */
export function* memberBlocks(
  first: number,
  count: number,
): Generator<{ readonly level: number; readonly block: number }> {
  for (let at = first; at < first + count; ) {
    let level = 0;
    let size = 1;
    while (level < MEMBER_LEVELS - 1 && at % (size * 2) === 0 && at + size * 2 <= first + count) {
      size *= 2;
      level++;
    }
    yield { level, block: at / size };
    at += size;
  }
}

/** MurmurHash3's 32-bit mixing (Appleby) of four words, and eight bits more. */
function mixed(kind: number, stream: number, n: number): Term {
  let hash = kind;
  for (const word of [stream, n >>> 0, Math.floor(n / LOW)]) {
    let k = Math.imul(word, 0xcc9e2d51);
    k = (k << 15) | (k >>> 17);
    hash ^= Math.imul(k, 0x1b873593);
    hash = (hash << 13) | (hash >>> 19);
    hash = (Math.imul(hash, 5) + 0xe6546b64) | 0;
  }
  const low = finish(hash);
  return low + (finish(low ^ kind ^ 0x5bd1e995) & 0xff) * LOW;
}

function finish(hash: number): number {
  let h = hash;
  h = Math.imul(h ^ (h >>> 16), 0x85ebca6b);
  h = Math.imul(h ^ (h >>> 13), 0xc2b2ae35);
  return (h ^ (h >>> 16)) >>> 0;
}
