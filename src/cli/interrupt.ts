import { EXIT } from "./errors.ts";
import type { Io } from "./io.ts";

/** A signal that the first Ctrl-C aborts; the second one ends the process. */
export interface Interrupt {
  readonly signal: AbortSignal;
  /** Stops listening. */
  release(): void;
}

/** Listens for Ctrl-C. `message` tells at the first one what happens now; absent: nothing is said. */
export function listenForInterrupt(io: Io, message?: string): Interrupt {
  const controller = new AbortController();
  const release = io.onInterrupt(() => {
    if (controller.signal.aborted) {
      io.exit(EXIT.stopped);
      return;
    }
    controller.abort();
    if (message !== undefined) io.stderr.write(`headwater: ${message}\n`).catch(() => {});
  });
  return { signal: controller.signal, release };
}
