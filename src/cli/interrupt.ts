import { EXIT } from "./errors.ts";
import type { Io } from "./io.ts";

/** A signal that the first Ctrl-C aborts; the second one ends the process. */
export interface Interrupt {
  readonly signal: AbortSignal;
  /** Stops listening. */
  release(): void;
}

/** What is done at the first Ctrl-C, beside the abort, and before the end at the second one. */
export interface InterruptSteps {
  first?(): void;
  second?(): void;
  /** Whether a thread of this process waits for what may never come, so that an exit would, too. */
  stuck?(): boolean;
}

/** Listens for Ctrl-C. */
export function listenForInterrupt(io: Io, steps: InterruptSteps = {}): Interrupt {
  const controller = new AbortController();
  const release = io.onInterrupt(() => {
    if (controller.signal.aborted) {
      steps.second?.();
      if (steps.stuck?.()) io.die();
      else io.exit(EXIT.stopped);
      return;
    }
    controller.abort();
    steps.first?.();
  });
  return { signal: controller.signal, release };
}
