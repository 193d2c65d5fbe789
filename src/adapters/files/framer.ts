import type { InputRecord } from "../../ports/files.ts";

/**
 * Cuts the bytes of an input into records. Bytes are given in chunks, cut anywhere; the records do not depend on
 * where. A chunk belongs to the framer once given: frames may be slices of it. Records that end at or before the
 * byte that a framer was made to begin `from` are counted but not read.
 */
export interface Framer {
  /** The records that end in `chunk`. */
  push(chunk: Uint8Array): readonly InputRecord[];
  /** What is left when the input has ended. */
  end(): readonly InputRecord[];
}

/** What a framer throws when nothing after this place can be understood; `earlier` were read before it. */
export class FramingError extends Error {
  readonly earlier: readonly InputRecord[];
  /** Whether nothing at all of the input could be understood: it is not of the kind that its name says. */
  readonly atStart: boolean;
  readonly hint: string;

  constructor(
    message: string,
    details: { readonly earlier: readonly InputRecord[]; readonly atStart: boolean; readonly hint: string },
  ) {
    super(message);
    this.earlier = details.earlier;
    this.atStart = details.atStart;
    this.hint = details.hint;
  }
}

/** Without the UTF-8 byte order mark that some programs begin a file with. */
export function withoutMark(bytes: Uint8Array): Uint8Array {
  return bytes[0] === 0xef && bytes[1] === 0xbb && bytes[2] === 0xbf ? bytes.subarray(3) : bytes;
}
