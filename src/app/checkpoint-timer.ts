import { describeThrown, HeadwaterError } from "../core/errors.ts";
import { LIMITS } from "../core/limits.ts";
import { type Duration, durationMs } from "../pipeline/duration.ts";
import { sleep } from "../ports/clock.ts";
import type { EventLog } from "../ports/event-log.ts";
import { createProofSurroundings, type ProofSurroundings } from "../runtime/compose.ts";
import type { CheckpointTimes } from "./checkpoint-types.ts";
import type { RunNotice } from "./run-types.ts";
import { readSigner, type SignedCheckpoint, signCheckpoint } from "./sign-log.ts";

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
 * Signs `log` every so often, and at the end. One that fails, or whose command does, is told and made up for by the
 * next: whatever is at work on the log goes on. Throws `BadInput` for a file without a key and `BadUsage` for a time
 * that is none, before anything is signed.
 */
export async function keepCheckpoints(
  log: EventLog,
  { clock, files, commands }: Pick<ProofSurroundings, "clock" | "files" | "commands">,
  { key, every, out, command, onSigned, onNotice }: CheckpointTimes & CheckpointNotices,
): Promise<CheckpointTimer> {
  const everyMs = interval(every);
  const signer = await readSigner(files, key);
  const stop = new AbortController();
  let signedSize = -1;
  const sign = async () => {
    try {
      const signed = await signCheckpoint(log, clock, files, signer, out === undefined ? {} : { out });
      // What has been told once need not be again.
      if (signed.size === signedSize) return;
      signedSize = signed.size;
      onSigned?.(signed);
      if (command === undefined) return;
      const { code, stderr } = await commands.run(command, signed.note, LIMITS.checkpointCommandMs);
      if (code !== 0) onNotice?.(`the command for checkpoints failed (${code}): ${stderr || command}`);
    } catch (error) {
      onNotice?.(`no checkpoint was signed: ${describeThrown(error)}`);
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

function interval(every: string): number {
  try {
    return durationMs(every as Duration, "the time between checkpoints", "--every", LIMITS.checkpointEveryMs);
  } catch (error) {
    if (!(error instanceof HeadwaterError)) throw error;
    const { message, hint = "" } = error;
    throw new HeadwaterError("BadUsage", message, { where: "--checkpoint-every", hint });
  }
}

/** The checkpoints of a run: none if it is not told to sign any. */
export async function checkpointsOfRun(
  log: EventLog,
  times: CheckpointTimes | undefined,
  onNotice: ((notice: RunNotice) => void) | undefined,
): Promise<CheckpointTimer | undefined> {
  if (times === undefined) return undefined;
  return keepCheckpoints(log, createProofSurroundings(), {
    ...times,
    onNotice: (message) => onNotice?.({ kind: "checkpoint", message }),
  });
}
