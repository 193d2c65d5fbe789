import { createActor, fromPromise, waitFor } from "xstate";
import { type VerificationEnd, verificationMachine } from "../../actors/verification.ts";
import { HeadwaterError } from "../core/errors.ts";
import type { Clock } from "../ports/clock.ts";
import type { EventLog } from "../ports/event-log.ts";
import type { Ids } from "../ports/ids.ts";
import type { Processes } from "../ports/processes.ts";
import { Supervision } from "./supervision.ts";

/** A verification, and how it is gone about. */
export interface VerificationRun {
  readonly log: EventLog;
  readonly clock: Clock;
  readonly ids: Ids;
  readonly processes: Processes;
  /** `PIPELINE~ID`. */
  readonly name: string;
  /** Aborts when it is to halt. */
  readonly signal: AbortSignal;
  /** Finds how far it is. */
  restore(): Promise<void>;
  /**
   * Compares from there on. When `signal` aborts it writes down how far it is, and answers `halted`. `confirm` throws
   * where another process is at it now.
   */
  work(signal: AbortSignal, confirm: () => Promise<void>): Promise<VerificationEnd>;
}

/**
 * Is the actor of a verification: see `verificationMachine`. One process at a time is at it. Throws `Stopped` when it
 * was told to halt, `OwnershipLost` where another process has taken it for dead.
 */
export async function operateVerification(run: VerificationRun): Promise<void> {
  const { log, clock, ids, processes, name, signal } = run;
  let supervision: Supervision | undefined;
  const halt = new AbortController();
  const lost = new AbortController();
  const machine = verificationMachine.provide({
    actors: {
      claim: fromPromise(async () => {
        const process = ids.uuid();
        const own = { log, clock, processes, pipeline: name, process, onStandBy: () => {} };
        supervision = await Supervision.claim(own, signal);
        supervision.beat((error) => lost.abort(error));
      }),
      restore: fromPromise(() => run.restore()),
      work: fromPromise(async () => {
        const end = await run.work(AbortSignal.any([halt.signal, lost.signal]), async () => {
          await supervision?.confirm();
        });
        lost.signal.throwIfAborted();
        return end;
      }),
    },
    actions: { halt: () => halt.abort(), dispose: () => supervision?.abandon() },
  });
  const actor = createActor(machine);
  const stop = () => actor.send({ type: "HALT" });
  actor.start();
  signal.addEventListener("abort", stop);
  if (signal.aborted) stop();
  try {
    const ended = await waitFor(actor, ({ status }) => status === "done", {
      timeout: Number.POSITIVE_INFINITY,
    });
    // Nobody has to find out that it is let go of.
    if (!lost.signal.aborted) await supervision?.release();
    if (ended.matches("failed")) throw ended.context.error;
    if (ended.matches("halted")) {
      throw new HeadwaterError("Stopped", "stopped before the replay was through", { where: name });
    }
  } finally {
    signal.removeEventListener("abort", stop);
    supervision?.abandon();
  }
}
