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
}

/** Says of a `process.exit` in a stage that it was one, and a failure, until the returned function is called. */
export function refuseExit(io: Io): () => void {
  return io.refuseExit((code) => ({
    text: `headwater: the pipeline's code has ended this process: process.exit(${code}). What was accepted is kept, and the next run goes on with it.
Let the code throw instead; with --executor threads it would have ended its thread alone, and the record would be named.
`,
    code: code === EXIT.ok ? EXIT.failed : code,
  }));
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
