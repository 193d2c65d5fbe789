import { noteSigner } from "../core/signed-note.ts";
import { createProofSurroundings } from "../runtime/compose.ts";

/** A key that was made. */
export interface MadeKey {
  readonly name: string;
  /** First four bytes of a digest of name and key, hex. */
  readonly keyId: string;
  /** What others need to check signatures: `name+keyId+base64`. */
  readonly verifierKey: string;
  /** The file with the private key. */
  readonly file: string;
}

/** Bytes of an Ed25519 key. */
const SEED_BYTES = 32;

/**
 * Makes a signing key and keeps it in a file of `folder` that only its owner can read, named after the key. Throws
 * `BadName`, `ForeignOutput` when there is such a file, and `OutputFailed`.
 */
export async function keygen(name: string, folder = "."): Promise<MadeKey> {
  const { files, secrets } = createProofSurroundings();
  const { verifier, privateKey } = noteSigner(name, secrets.bytes(SEED_BYTES));
  const file = `${folder}/${name.replace(/[^A-Za-z0-9._-]/g, "-")}.key`;
  await files.create(file, `${privateKey}\n`, { secret: true });
  return { name, keyId: verifier.keyId, verifierKey: verifier.verifierKey, file };
}
