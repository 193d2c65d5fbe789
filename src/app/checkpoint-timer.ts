import { describeThrown, HeadwaterError } from "../core/errors.ts";
import { LIMITS } from "../core/limits.ts";
import { type Duration, durationMs } from "../pipeline/duration.ts";
import { sleep } from "../ports/clock.ts";
import type { EventLog } from "../ports/event-log.ts";
import type { SmallFiles } from "../ports/small-files.ts";
import { createProofSurroundings, type ProofSurroundings } from "../runtime/compose.ts";
import type { CheckpointTimes } from "./checkpoint-types.ts";
import type { RunNotice } from "./run-types.ts";
import { mustBeReplaceable, readSigner, type SignedCheckpoint, signCheckpoint } from "./sign-log.ts";

export interface CheckpointNotices {
  readonly onSigned?: (signed: SignedCheckpoint) => void;
  readonly onNotice?: (message: string) => void;
}

/** Checkpoints that are being signed. */
export interface CheckpointTimer {
  /** Signs once more, and ends. */
  stop(): Promise<void>;
}

/**
 * Signs `log` every so often, and at the end. One that fails, or whose file or command does, is told and made up for by
 * the next: whatever is at work on the log goes on. Throws what {@link mustBeTimes} throws, and `ForeignOutput` for an
 * `out` with a checkpoint of another log, before anything is signed.
 */
export async function keepCheckpoints(
  log: EventLog,
  { clock, files, commands }: Pick<ProofSurroundings, "clock" | "files" | "commands">,
  {
    key,
    every,
    out,
    command,
    everyOption,
    onSigned,
    onNotice,
  }: CheckpointTimes & CheckpointNotices & NamedOptions,
): Promise<CheckpointTimer> {
  const everyMs = interval(every, everyOption);
  const signer = await readSigner(files, key);
  if (out !== undefined) await mustBeReplaceable(files, out, log.id);
  const failed = (what: string, error: unknown) => {
    const where = error instanceof HeadwaterError && error.where ? `: ${error.where}` : "";
    onNotice?.(`${what}: ${describeThrown(error)}${where}`);
  };
  const stop = new AbortController();
  let signedSize = -1;
  const sign = async () => {
    try {
      const onUnwritten = (error: unknown) => failed("the checkpoint was signed, and not kept", error);
      const signed = await signCheckpoint(log, clock, files, signer, {
        ...(out !== undefined && { out }),
        onUnwritten,
      });
      // What has been told once need not be again.
      if (signed.size === signedSize) return;
      signedSize = signed.size;
      onSigned?.(signed);
      if (command === undefined) return;
      const { code, stderr } = await commands.run(command, signed.note, LIMITS.checkpointCommandMs);
      if (code !== 0) onNotice?.(`the command for checkpoints failed (${code}): ${stderr || command}`);
    } catch (error) {
      failed("no checkpoint was signed", error);
    }
  };
  const working = (async () => {
    while (!stop.signal.aborted) {
      await sleep(clock, everyMs, stop.signal);
      if (!stop.signal.aborted) await sign();
    }
    // What was signed when it was told to stop may have begun before the last event.
    await sign();
  })();
  return {
    stop: () => {
      stop.abort();
      return working;
    },
  };
}

/**
 * Throws `BadUsage` for a time between checkpoints that is none, or an `out` that has no folder, `BadInput` for a file
 * without a key, and `ForeignOutput` for an `out` with something else than a checkpoint: all that can be known before
 * there is a log.
 */
export async function mustBeTimes(
  times: CheckpointTimes | undefined,
  everyOption: string,
  files: SmallFiles = createProofSurroundings().files,
): Promise<void> {
  if (times === undefined) return;
  interval(times.every, everyOption);
  await readSigner(files, times.key);
  if (times.out !== undefined) await mustBeReplaceable(files, times.out);
}

/** How options are called where they are given. */
interface NamedOptions {
  readonly everyOption: string;
}

function interval(every: string, option: string): number {
  try {
    return durationMs(every as Duration, "the time between checkpoints", option, LIMITS.checkpointEveryMs);
  } catch (error) {
    if (!(error instanceof HeadwaterError)) throw error;
    const { message, hint = "" } = error;
    throw new HeadwaterError("BadUsage", message, { where: option, hint });
  }
}

/** The checkpoints of a run: none if it is not told to sign any. */
export async function checkpointsOfRun(
  log: EventLog,
  times: CheckpointTimes | undefined,
  everyOption: string,
  onNotice: ((notice: RunNotice) => void) | undefined,
): Promise<CheckpointTimer | undefined> {
  if (times === undefined) return undefined;
  return keepCheckpoints(log, createProofSurroundings(), {
    ...times,
    everyOption,
    onNotice: (message) => onNotice?.({ kind: "checkpoint", message }),
  });
}
