import { HeadwaterError } from "../core/errors.ts";
import { decodeEvidence, type Evidence } from "../core/evidence.ts";
import { parseVerifier } from "../core/signed-note.ts";
import { createEvidenceSurroundings } from "../runtime/compose.ts";
import { checkNote } from "./checkpoint-file.ts";
import { checkEvidence } from "./evidence-check.ts";
import type { VerifyReport, VerifyRequest } from "./evidence-types.ts";

/**
 * Checks a file of evidence without the log that it is of: that the checkpoint was signed with one of the keys, that
 * each event was in the log then, and that these events alone say what the record came from, and its digests. What is
 * wrong is in the report. Throws `BadInput` for a file that is no evidence, or was cut, and for a checkpoint that none
 * of the keys has signed.
 */
export async function verify(request: VerifyRequest): Promise<VerifyReport> {
  const { files, bundler } = createEvidenceSurroundings();
  const verifiers = request.verifiers.map(parseVerifier);
  const where = request.file === "-" ? "standard input" : request.file;
  const evidence = decodeAt(await files.readBytes(request.file), where);
  const { size, root, origin, signer } = checkNote(evidence.note, where, verifiers, evidence.log);
  const { records, edges, failures } = await checkEvidence(evidence, { size, root }, bundler);
  return {
    ok: failures.length === 0,
    record: evidence.record,
    log: evidence.log,
    checkpoint: { origin, size, signer: signer.verifierKey },
    events: evidence.events.length,
    values: evidence.records.length,
    records,
    edges,
    failures,
  };
}

function decodeAt(bytes: Uint8Array, where: string): Evidence {
  try {
    return decodeEvidence(bytes);
  } catch (error) {
    if (!(error instanceof HeadwaterError)) throw error;
    const { hint, cause } = error;
    throw new HeadwaterError(error.code, error.message, {
      where,
      ...(hint !== undefined && { hint }),
      cause,
    });
  }
}
