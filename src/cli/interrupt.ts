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
}

/** Listens for Ctrl-C. */
export function listenForInterrupt(io: Io, steps: InterruptSteps = {}): Interrupt {
  const controller = new AbortController();
  const release = io.onInterrupt(() => {
    if (controller.signal.aborted) {
      steps.second?.();
      io.die();
      return;
    }
    controller.abort();
    steps.first?.();
  });
  return { signal: controller.signal, release };
}
