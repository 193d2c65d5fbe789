import { DIGEST_BYTES } from "./digest.ts";
import { HeadwaterError } from "./errors.ts";
import { fromBase64 } from "./signed-note.ts";

/** How far a log was, and what was in it: the text of a signed note (C2SP tlog-checkpoint). */
export interface Checkpoint {
  /** Which log: see {@link originOf}. */
  readonly origin: string;
  /** Leaves of the Merkle tree. */
  readonly size: number;
  /** Its root, 32 bytes. */
  readonly root: Uint8Array;
}

/** What checkpoints of the log with this id begin with. */
export function originOf(logId: string): string {
  return `headwater/${logId}`;
}

/** The note's text: three lines. */
export function formatCheckpoint({ origin, size, root }: Checkpoint): string {
  return `${origin}\n${size}\n${Buffer.from(root).toString("base64")}\n`;
}

/** Reads a note's text; lines after the third are left alone. Throws `BadInput`. */
export function parseCheckpoint(text: string): Checkpoint {
  const [origin = "", size = "", base64 = ""] = text.split("\n");
  const root = fromBase64(base64);
  const leaves = /^(?:0|[1-9]\d{0,15})$/.test(size) ? Number(size) : Number.NaN;
  if (origin !== "" && Number.isSafeInteger(leaves) && root?.length === DIGEST_BYTES) {
    return { origin, size: leaves, root };
  }
  throw new HeadwaterError("BadInput", "the note is not a checkpoint", {
    hint: "A checkpoint has the log's name, its size and its root in a line each.",
  });
}
