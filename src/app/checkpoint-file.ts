import { type Checkpoint, originOf, parseCheckpoint } from "../core/checkpoint.ts";
import { HeadwaterError } from "../core/errors.ts";
import { type NoteVerifier, verifyNote } from "../core/signed-note.ts";

/** A checkpoint whose signature is good. */
export interface SignedBy extends Checkpoint {
  readonly signer: NoteVerifier;
}

/**
 * The checkpoint of a note that one of `verifiers` has signed. Throws `BadInput` for one that none of them has, that was
 * changed, or that is of another log than `logId`.
 */
export function checkNote(
  note: string,
  where: string,
  verifiers: readonly NoteVerifier[],
  logId: string,
): SignedBy {
  const refuse = (message: string, hint: string) => new HeadwaterError("BadInput", message, { where, hint });
  try {
    const verdict = verifyNote(note, verifiers);
    if (verdict.kind === "forged") {
      throw refuse(
        `the checkpoint is not what ${verdict.by.name} has signed: it was changed`,
        "Get it again from where it is kept.",
      );
    }
    const [signer] = verdict.kind === "signed" ? verdict.by : [];
    if (verdict.kind === "unknown" || signer === undefined) {
      const names = verdict.kind === "unknown" ? verdict.names.join(", ") : "nobody";
      throw refuse(
        `none of the keys given has signed the checkpoint; it has signatures of ${names}`,
        "Give the signer's verifier key with --verifier.",
      );
    }
    const checkpoint = parseCheckpoint(verdict.text);
    if (checkpoint.origin !== originOf(logId)) {
      throw refuse(
        `the checkpoint is of another log: ${checkpoint.origin}`,
        `This log is ${originOf(logId)}.`,
      );
    }
    return { ...checkpoint, signer };
  } catch (error) {
    if (!(error instanceof HeadwaterError) || error.where !== undefined) throw error;
    throw refuse(error.message, error.hint ?? "");
  }
}
