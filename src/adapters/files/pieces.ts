import { LIMITS } from "../../core/limits.ts";

/** Bytes of one record as an input writes it; text takes more room than its canonical form. */
export const FRAME_BYTES = LIMITS.recordBytes * 4;

/** Of a frame that is too long: one more than is kept of a refused record, which shows that it was cut. */
const HEAD_BYTES = LIMITS.rejectedFrameBytes + 1;

/** A record's bytes, or the first ones of a record that is too long. */
export interface Frame {
  readonly bytes: Uint8Array;
  /** Whether it has more than {@link FRAME_BYTES}. */
  readonly tooLong: boolean;
}

/** A frame whose bytes are all at hand. Says the same of them as {@link Pieces}, however they came in. */
export function frameOf(bytes: Uint8Array): Frame {
  if (bytes.length <= FRAME_BYTES) return { bytes, tooLong: false };
  return { bytes: bytes.slice(0, HEAD_BYTES), tooLong: true };
}

/**
 * The beginning of a record whose end is in a chunk still to come. Holds at most {@link FRAME_BYTES}: of what is
 * longer only the head is kept, so that a file without line ends cannot fill the memory.
 */
export class Pieces {
  private pieces: Uint8Array[] = [];
  private head: Uint8Array | undefined;
  /** Bytes that came in. */
  length = 0;

  /** Keeps `piece` itself, not a copy. */
  add(piece: Uint8Array): void {
    if (piece.length === 0) return;
    this.length += piece.length;
    if (this.head !== undefined) return;
    this.pieces.push(piece);
    if (this.length <= FRAME_BYTES) return;
    this.head = Buffer.concat(this.pieces, HEAD_BYTES);
    this.pieces = [];
  }

  /** All that was added, as one frame; empty afterwards. */
  take(): Frame {
    const { pieces, head } = this;
    this.pieces = [];
    this.head = undefined;
    this.length = 0;
    if (head !== undefined) return { bytes: head, tooLong: true };
    const only = pieces.length === 1 ? pieces[0] : undefined;
    return { bytes: only ?? Buffer.concat(pieces), tooLong: false };
  }
}

/** Text for a record that is {@link Frame.tooLong}. */
export const TOO_LONG = `longer than ${FRAME_BYTES / (1024 * 1024)} MiB, which no record may be`;
