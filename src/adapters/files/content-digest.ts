import { createHash, type Hash } from "node:crypto";
import { HeadwaterError } from "../../core/errors.ts";
import { FRAME_BYTES } from "./pieces.ts";

/** Bytes after the last record that are kept; within one frame's length records may still be found to end there. */
const GAP_BYTES = FRAME_BYTES + 1024 * 1024;

/** The state of a SHA-256 after so many bytes of a content. */
export interface DigestState {
  readonly at: number;
  readonly hash: Hash;
}

/** What was read and not digested yet: bytes, or the state at a later place if nothing can be asked in between. */
type Pending = Uint8Array | DigestState;

/**
 * SHA-256 of the beginnings of a content that is read once. Reading runs ahead of asking: the bytes from the last
 * digest asked for to the last one read are kept, except where no record ends (a line of many megabytes), so
 * that memory is bounded by how far asking lags behind.
 */
export class ContentDigest {
  private hash: Hash;
  private at: number;
  private pending: Pending[] = [];
  private read: number;
  private lastEnd: number;

  constructor(start: DigestState = { at: 0, hash: createHash("sha256") }) {
    this.hash = start.hash.copy();
    this.at = start.at;
    this.read = start.at;
    this.lastEnd = start.at;
  }

  /** The next bytes of the content. They must not change any more. */
  add(bytes: Uint8Array): void {
    this.pending.push(bytes);
    this.read += bytes.length;
  }

  /** All records that end in what was added end at or before `end`. */
  ended(end: number): void {
    this.lastEnd = Math.max(this.lastEnd, end);
    if (this.read - this.lastEnd > GAP_BYTES) this.foldGap();
  }

  /** Digest of the first `end` bytes; asked in ascending order, and only where records end. */
  upTo(end: number): Uint8Array {
    this.advance(end);
    return this.hash.copy().digest();
  }

  /** The state after the first `end` bytes, where a record ends. Digests before it may still be asked for. */
  stateAt(end: number): DigestState {
    const ahead = new ContentDigest({ at: this.at, hash: this.hash });
    ahead.pending = [...this.pending];
    ahead.advance(end);
    return { at: end, hash: ahead.hash };
  }

  private advance(end: number): void {
    for (let entry = this.pending[0]; this.at < end && entry !== undefined; entry = this.pending[0]) {
      if (!(entry instanceof Uint8Array)) {
        if (entry.at > end) break;
        this.hash = entry.hash.copy();
        this.at = entry.at;
        this.pending.shift();
        continue;
      }
      const part = entry.subarray(0, end - this.at);
      this.hash.update(part);
      this.at += part.length;
      if (part.length === entry.length) this.pending.shift();
      else this.pending[0] = entry.subarray(part.length);
    }
    if (this.at === end) return;
    throw new HeadwaterError(
      "Internal",
      `the digest of an input was asked at byte ${end}, not at ${this.at}`,
    );
  }

  /** Replaces the bytes after the last record by the state after them. */
  private foldGap(): void {
    const kept: Pending[] = [];
    let hash = this.hash.copy();
    let at = this.at;
    for (const entry of this.pending) {
      if (!(entry instanceof Uint8Array)) {
        if (entry.at <= this.lastEnd) kept.push(entry);
        hash = entry.hash.copy();
        at = entry.at;
        continue;
      }
      if (at < this.lastEnd) kept.push(entry.subarray(0, this.lastEnd - at));
      hash.update(entry);
      at += entry.length;
    }
    this.pending = [...kept, { at, hash }];
  }
}
