import { encodeCanonical } from "./canonical-encoder.ts";
import { sha256Batch } from "./digest.ts";
import { HeadwaterError } from "./errors.ts";
import { RecordWriter } from "./record-writer.ts";

/** A larger buffer is let go by `reset`, so that one large batch does not cost its memory for ever. */
const KEPT_BYTES = 4 * 1024 * 1024;
const FIRST_RECORDS = 1_024;

/**
 * A reused, growing buffer into which records are packed behind each other in canonical form, to be hashed and
 * stored from there. Owners may use an arena one after another, each beginning with `reset`. Views that it
 * hands out hold until the next `append`, `appendBytes` or `reset`.
 */
export class Arena {
  #writer = new RecordWriter();
  /** Record i lies from offset i to offset i + 1, in bytes. */
  #offsets = new Uint32Array(FIRST_RECORDS + 1);
  #count = 0;
  #writing = false;

  /** Forgets all records. */
  reset(): void {
    this.#checkIdle();
    this.#count = 0;
    if (this.#writer.limit > KEPT_BYTES) this.#writer = new RecordWriter();
    if (this.#offsets.byteLength > KEPT_BYTES) this.#offsets = new Uint32Array(FIRST_RECORDS + 1);
  }

  /** How many records there are. */
  get count(): number {
    return this.#count;
  }

  /**
   * Packs one record: the bytes of {@link encodeCanonical}, and its errors, after which the arena is as before.
   *
   * @throws HeadwaterError NotCanonical, RecordTooLarge.
   */
  append(value: unknown): void {
    this.#checkIdle();
    this.#writing = true;
    try {
      this.#close(this.#pack(value));
    } finally {
      this.#writing = false;
    }
  }

  /** Packs a record that is already canonical bytes; they are copied and not looked at. */
  appendBytes(bytes: Uint8Array): void {
    this.#checkIdle();
    this.#close(this.#put(bytes));
  }

  /** Forgets all records from `count` on. */
  truncate(count: number): void {
    this.#count = Math.min(this.#count, count);
  }

  /** Where record `index` begins in {@link all}, in bytes. */
  start(index: number): number {
    return this.#offsets[index] ?? 0;
  }

  /** Where record `index` ends, in bytes. */
  end(index: number): number {
    return this.#offsets[index + 1] ?? 0;
  }

  /** A view of record `index`. */
  bytes(index: number): Uint8Array {
    return this.#writer.u8.subarray(this.start(index), this.end(index));
  }

  /** A view of all records, without gaps. */
  all(): Uint8Array {
    return this.#writer.u8.subarray(0, this.end(this.#count - 1));
  }

  /** The records' SHA-256 digests: a fresh column of 32 bytes × `count`. */
  digests(): Uint8Array {
    return sha256Batch(this.#writer.u8, this.#offsets, this.#count);
  }

  /** Writes a record behind the others and returns its end. */
  #pack(value: unknown): number {
    try {
      return this.#writer.record(value, this.end(this.#count - 1));
    } catch {
      // The writer does not say what is wrong; the reference does. It may also find that nothing is, when an
      // accessor gave something else this time.
      return this.#put(encodeCanonical(value));
    }
  }

  #put(bytes: Uint8Array): number {
    const at = this.end(this.#count - 1);
    this.#writer.grow(at, bytes.length);
    this.#writer.u8.set(bytes, at);
    return at + bytes.length;
  }

  /** An accessor of a record could come back here while the record is packed. */
  #checkIdle(): void {
    if (!this.#writing) return;
    throw new HeadwaterError("BadUsage", "an arena packs one record at a time", {
      hint: "Do not use the arena from an accessor of a record.",
    });
  }

  #close(end: number): void {
    this.#count++;
    if (this.#count === this.#offsets.length) {
      const larger = new Uint32Array(2 * this.#offsets.length);
      larger.set(this.#offsets);
      this.#offsets = larger;
    }
    this.#offsets[this.#count] = end;
  }
}
