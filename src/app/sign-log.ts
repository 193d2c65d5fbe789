import { type Checkpoint, formatCheckpoint, originOf, parseCheckpoint } from "../core/checkpoint.ts";
import { equalBytes } from "../core/digest.ts";
import { HeadwaterError, isHeadwaterError } from "../core/errors.ts";
import { LIMITS } from "../core/limits.ts";
import { type NoteSigner, parseNote, parseSigner, signNote } from "../core/signed-note.ts";
import type { Clock } from "../ports/clock.ts";
import type { EventLog } from "../ports/event-log.ts";
import type { SmallFiles } from "../ports/small-files.ts";
import { MerkleReader } from "../runtime/merkle-reader.ts";
import { Sequencer, type SequencerOptions } from "../runtime/sequencer.ts";

/** A checkpoint that was signed. */
export interface SignedCheckpoint extends Checkpoint {
  /** The signed note. */
  readonly note: string;
  readonly verifierKey: string;
}

export interface SignOptions extends SequencerOptions {
  /** File for the note; an older checkpoint of this log that is in it is replaced, nothing else is. */
  readonly out?: string;
  /**
   * Told where `out` cannot be looked at or written: the log is signed all the same, and the note is only answered.
   * Without it that is thrown.
   */
  readonly onUnwritten?: (error: unknown) => void;
}

/**
 * Brings the Merkle tree up to the log as it is, and signs it. The note is kept in the log, too. Throws
 * `ForeignOutput` for an `out` that holds something else, and `LogDamaged` when the log does not go on from the
 * checkpoint that `out` holds.
 */
export async function signCheckpoint(
  log: EventLog,
  clock: Clock,
  files: SmallFiles,
  signer: NoteSigner,
  options: SignOptions,
): Promise<SignedCheckpoint> {
  const { out, onUnwritten } = options;
  const missed = (error: unknown) => {
    if (onUnwritten === undefined) throw error;
    onUnwritten(error);
    return undefined;
  };
  const before = out === undefined ? undefined : await mustBeReplaceable(files, out, log.id).catch(missed);
  const signed = await signLog(log, clock, signer, options, async (sequencer) => {
    if (before?.checkpoint !== undefined) await mustExtend(log, sequencer, before.checkpoint, out);
  });
  if (out !== undefined && before !== undefined) await files.replace(out, signed.note).catch(missed);
  return signed;
}

/** The key in a file. Throws `BadInput` for a file that holds none. */
export async function readSigner(files: SmallFiles, path: string): Promise<NoteSigner> {
  try {
    return parseSigner((await files.read(path)).trimEnd());
  } catch (error) {
    if (!(error instanceof HeadwaterError) || error.where !== undefined) throw error;
    const { hint } = error;
    throw new HeadwaterError(error.code, error.message, { where: path, ...(hint !== undefined && { hint }) });
  }
}

/**
 * The checkpoint in a file that is to be replaced, if there is such a file. Throws `ForeignOutput` for one that holds
 * something else, or a checkpoint of another log than `logId`, if that is given; `BadUsage` where there is no folder for
 * it, `BadInput`.
 */
export async function mustBeReplaceable(
  files: SmallFiles,
  path: string,
  logId?: string,
): Promise<{ readonly checkpoint?: Checkpoint }> {
  const text = await files.find(path);
  if (text === undefined) return {};
  let what = "the file holds something else than a checkpoint";
  try {
    const found = parseCheckpoint(parseNote(text).text);
    if (logId === undefined || found.origin === originOf(logId)) return { checkpoint: found };
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
