import { type Checkpoint, formatCheckpoint, originOf, parseCheckpoint } from "../core/checkpoint.ts";
import { equalBytes } from "../core/digest.ts";
import { HeadwaterError, isHeadwaterError } from "../core/errors.ts";
import { LIMITS } from "../core/limits.ts";
import { type NoteSigner, noteSigner, parseNote, parseSigner, signNote } from "../core/signed-note.ts";
import type { Clock } from "../ports/clock.ts";
import type { EventLog } from "../ports/event-log.ts";
import type { SmallFiles } from "../ports/small-files.ts";
import { createProofSurroundings, openLog } from "../runtime/compose.ts";
import { MerkleReader } from "../runtime/merkle-reader.ts";
import { Sequencer, type SequencerOptions } from "../runtime/sequencer.ts";

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

export interface CheckpointRequest extends SequencerOptions {
  readonly log: string;
  /** File with the private key. */
  readonly key: string;
  /** File for the note; an older checkpoint of this log that is in it is replaced, nothing else is. */
  readonly out?: string;
}

/** A checkpoint that was signed. */
export interface SignedCheckpoint extends Checkpoint {
  /** The signed note. */
  readonly note: string;
  readonly verifierKey: string;
}

/**
 * Brings the Merkle tree up to the log as it is, and signs it. The note is kept in the log, too. Throws `BadInput` for
 * a file that holds no key, `ForeignOutput` for an `out` that holds something else, and `LogDamaged` when the log does
 * not go on from the checkpoint that `out` holds.
 */
export async function checkpoint(request: CheckpointRequest): Promise<SignedCheckpoint> {
  const { clock, files } = createProofSurroundings();
  const signer = await readSigner(files, request.key);
  const log = await openLog(request.log, { create: false });
  try {
    const before = request.out === undefined ? undefined : await replaceable(files, request.out, log.id);
    const signed = await signLog(log, clock, signer, request, async (sequencer) => {
      if (before !== undefined) await mustExtend(log, sequencer, before, request.out);
    });
    if (request.out !== undefined) await files.replace(request.out, signed.note);
    return signed;
  } finally {
    await log.close();
  }
}

async function readSigner(files: SmallFiles, path: string): Promise<NoteSigner> {
  try {
    return parseSigner((await files.read(path)).trimEnd());
  } catch (error) {
    if (!(error instanceof HeadwaterError) || error.where !== undefined) throw error;
    const { hint } = error;
    throw new HeadwaterError(error.code, error.message, { where: path, ...(hint !== undefined && { hint }) });
  }
}

/** The checkpoint in a file that is to be replaced; `undefined` if there is no such file. */
async function replaceable(files: SmallFiles, path: string, logId: string): Promise<Checkpoint | undefined> {
  const text = await files.find(path);
  if (text === undefined) return undefined;
  let what = "the file holds something else than a checkpoint";
  try {
    const found = parseCheckpoint(parseNote(text).text);
    if (found.origin === originOf(logId)) return found;
    what = "the file holds a checkpoint of another log";
  } catch (error) {
    if (!isHeadwaterError(error, "BadInput")) throw error;
  }
  throw new HeadwaterError("ForeignOutput", what, {
    where: path,
    hint: "It is not overwritten: name another place.",
  });
}

async function signLog(
  log: EventLog,
  clock: Clock,
  signer: NoteSigner,
  options: SequencerOptions,
  check: (sequencer: Sequencer) => Promise<void>,
): Promise<SignedCheckpoint> {
  for (let attempt = 1; ; attempt++) {
    const sequencer = await Sequencer.open(log, clock);
    try {
      await sequencer.catchUp(options);
      if (options.signal?.aborted)
        throw new HeadwaterError("Stopped", "stopped before the checkpoint was signed");
      await check(sequencer);
      const signed = { origin: originOf(log.id), size: sequencer.size, root: sequencer.root() };
      const note = signNote(formatCheckpoint(signed), [signer]);
      await sequencer.keepCheckpoint(note);
      return { ...signed, note, verifierKey: signer.verifier.verifierKey };
    } catch (error) {
      // Another process was faster; what it did need not be done again.
      if (!isHeadwaterError(error, "WrongExpectedRevision") || attempt >= LIMITS.sequencerAttempts)
        throw error;
    }
  }
}

async function mustExtend(
  log: EventLog,
  sequencer: Sequencer,
  before: Checkpoint,
  path: string | undefined,
): Promise<void> {
  const goesOn =
    before.size <= sequencer.size && equalBytes(await new MerkleReader(log).root(before.size), before.root);
  if (goesOn) return;
  throw new HeadwaterError(
    "LogDamaged",
    `the log does not go on from its checkpoint of ${before.size} events: it was rolled back, or changed`,
    {
      ...(path !== undefined && { where: path }),
      hint: `Keep that file; "headwater audit --checkpoint" says more. Nothing was signed.`,
    },
  );
}
