import { noteSigner } from "../core/signed-note.ts";
import { createProofSurroundings, openLog } from "../runtime/compose.ts";
import { keepCheckpoints } from "./checkpoint-timer.ts";
import type { CheckpointTimes } from "./checkpoint-types.ts";
import { readSigner, type SignedCheckpoint, type SignOptions, signCheckpoint } from "./sign-log.ts";

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

export interface CheckpointRequest extends SignOptions {
  readonly log: string;
  /** File with the private key. */
  readonly key: string;
}

/** Signs the log as it is: see {@link signCheckpoint}, and `BadInput` for a file that holds no key. */
export async function checkpoint(request: CheckpointRequest): Promise<SignedCheckpoint> {
  const { clock, files } = createProofSurroundings();
  const signer = await readSigner(files, request.key);
  const log = await openLog(request.log, { create: false });
  try {
    return await signCheckpoint(log, clock, files, signer, request);
  } finally {
    await log.close();
  }
}

export interface CheckpointsRequest extends CheckpointTimes {
  readonly log: string;
  /** Told of each checkpoint, and of what went wrong with one, which does not end it. */
  readonly onSigned?: (signed: SignedCheckpoint) => void;
  readonly onNotice?: (message: string) => void;
  /** Aborting it ends it, after a last checkpoint. */
  readonly signal: AbortSignal;
}

/** Signs a log again and again, while others write to it, until `signal` aborts. */
export async function checkpoints(request: CheckpointsRequest): Promise<void> {
  const surroundings = createProofSurroundings();
  const log = await openLog(request.log, { create: false });
  try {
    const timer = await keepCheckpoints(log, surroundings, { ...request, everyOption: "--every" });
    await new Promise<void>((resolve) => {
      if (request.signal.aborted) resolve();
      else request.signal.addEventListener("abort", () => resolve());
    });
    await timer.stop();
  } finally {
    await log.close();
  }
}
