import { EXIT, stackOf } from "./errors.ts";
import { asLines, stackLines } from "./format.ts";
import type { ForeignEnd, Io } from "./io.ts";

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

/**
 * Says of a `process.exit` in a stage, and of an exception or rejection that nobody caught, that it was one, and a
 * failure, until the returned function is called.
 */
export function refuseExit(io: Io, { json }: { readonly json: boolean }): () => void {
  return io.refuseExit((how) => {
    const { what, hint } = endingOf(how);
    const message = `the pipeline's code has ended this process: ${what}`;
    const code = how.kind === "exit" && how.code !== EXIT.ok ? how.code : EXIT.failed;
    if (!json) {
      // A stack has lines of its own.
      return { text: asLines([...stackLines(`headwater: ${message}`), KEPT, hint]), code };
    }
    const error = { code: "StageFailed", message, hint: `${KEPT} ${hint}`, where: null };
    return { text: `${JSON.stringify({ error })}\n`, code };
  });
}

const KEPT = "What was accepted is kept, and the next run goes on with it.";
const IN_THREADS =
  "with --executor threads it would have ended its thread alone, and the record would be named.";

function endingOf(how: ForeignEnd): { readonly what: string; readonly hint: string } {
  if (how.kind === "exit") {
    return { what: `process.exit(${how.code})`, hint: `Let the code throw instead; ${IN_THREADS}` };
  }
  return {
    what: `nobody caught: ${stackOf(how.error)}`,
    hint: `Await promises, and catch what is thrown in callbacks; ${IN_THREADS}`,
  };
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
