import { createHash, hash } from "node:crypto";
import { HeadwaterError } from "./errors.ts";
import { LaneHasher } from "./wasm/lane-hasher.ts";

/** Bytes of a SHA-256 digest. */
export const DIGEST_BYTES = 32;

/**
 * SHA-256 (FIPS 180-4) of `bytes`, 32 bytes.
 *
 * The one-shot `crypto.hash` is asked for a latin1 string because that is several times cheaper than a Buffer.
 */
export function sha256(bytes: Uint8Array): Uint8Array {
  const digest = new Uint8Array(DIGEST_BYTES);
  sha256Into(bytes, digest, 0);
  return digest;
}

/** A SHA-256 that is made of what comes piece by piece. */
export interface DigestStream {
  update(bytes: Uint8Array): void;
  /** To be asked for once, at the end. */
  digest(): Uint8Array;
}

export function digestStream(): DigestStream {
  const made = createHash("sha256");
  return { update: (bytes) => void made.update(bytes), digest: () => Uint8Array.from(made.digest()) };
}

/** Writes the SHA-256 of `bytes` into `target` from `at` on. */
export function sha256Into(bytes: Uint8Array, target: Uint8Array, at: number): void {
  // "latin1" is an encoding that node:crypto takes and its types leave out.
  const text = hash("sha256", bytes, "latin1" as "binary");
  for (let index = 0; index < DIGEST_BYTES; index++) target[at + index] = text.charCodeAt(index);
}

/**
 * Messages up to this many bytes are hashed in SIMD lanes, longer ones by node:crypto. Measured on an AMD EPYC
 * with SHA instructions, Node 20 and 24: 0.17 against 0.42 µs at 100 bytes, the same at 500.
 */
const LANE_BYTES_MOST = 512;

let lanes: { readonly hasher: LaneHasher | undefined } | undefined;

/**
 * SHA-256 of `count` messages that lie behind each other: message i is `bytes` from `offsets[i]` up to
 * `offsets[i + 1]`, in bytes. Returns a fresh array of 32 bytes × `count`.
 *
 * @throws RangeError when the offsets descend or leave `bytes`.
 */
export function sha256Batch(bytes: Uint8Array, offsets: Uint32Array, count: number): Uint8Array {
  checkOffsets(bytes, offsets, count);
  const digests = new Uint8Array(DIGEST_BYTES * count);
  lanes ??= { hasher: LaneHasher.create() };
  const { hasher } = lanes;
  const longest = hasher === undefined ? -1 : LANE_BYTES_MOST;
  let runs: Run[] = [];
  for (let message = 0; message < count; ) {
    const start = offsets[message] ?? 0;
    const end = offsets[message + 1] ?? 0;
    if (hasher === undefined || end - start > longest) {
      sha256Into(bytes.subarray(start, end), digests, DIGEST_BYTES * message);
      message++;
      continue;
    }
    const next = hasher.take(bytes, offsets, message, count, longest);
    if (next > message) runs.push({ first: message, count: next - message });
    else runs = placed(runs, hasher.hash(), digests);
    message = next;
  }
  if (hasher !== undefined) placed(runs, hasher.hash(), digests);
  return digests;
}

/** Messages that follow each other and were taken into the hasher together. */
interface Run {
  readonly first: number;
  readonly count: number;
}

/** Puts the digests of the hasher's messages where they belong; returns the runs that are left: none. */
function placed(runs: readonly Run[], from: Uint8Array, target: Uint8Array): Run[] {
  let at = 0;
  for (const { first, count } of runs) {
    const end = at + DIGEST_BYTES * count;
    target.set(from.subarray(at, end), DIGEST_BYTES * first);
    at = end;
  }
  return [];
}

function checkOffsets(bytes: Uint8Array, offsets: Uint32Array, count: number): void {
  let before = 0;
  for (let index = 0; index <= count; index++) {
    const offset = offsets[index];
    if (offset === undefined || offset < before || offset > bytes.length) {
      throw new RangeError(`offset ${index} of ${count} messages does not fit ${bytes.length} bytes`);
    }
    before = offset;
  }
}

/** `bytes` in lower-case hexadecimal, two digits a byte. */
export function toHex(bytes: Uint8Array): string {
  return Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength).toString("hex");
}

/**
 * The bytes that hexadecimal `text` stands for, in either case.
 *
 * @throws HeadwaterError BadInput when it is anything else, or has half a byte.
 */
export function fromHex(text: string): Uint8Array {
  if (text.length % 2 !== 0 || /[^0-9a-fA-F]/.test(text)) {
    throw new HeadwaterError("BadInput", "the text is not hexadecimal", {
      where: text.slice(0, 80),
      hint: "Two digits of 0-9 and a-f a byte.",
    });
  }
  return new Uint8Array(Buffer.from(text, "hex"));
}

/** Whether `a` and `b` have the same length and the same bytes. Takes no care of timing: digests are no secrets. */
export function equalBytes(a: Uint8Array, b: Uint8Array): boolean {
  return a.length === b.length && Buffer.compare(a, b) === 0;
}
