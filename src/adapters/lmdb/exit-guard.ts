import { writeSync } from "node:fs";
import { inspect } from "node:util";
import { isMainThread } from "node:worker_threads";

/**
 * The end of a process in the middle of write transactions. An exit joins LMDB's thread, which may wait for this one to
 * say what is to be written: it would wait for ever, and keep the log locked for everybody else. Nothing of such a
 * transaction was acknowledged, so that the process can end by a signal just as well.
 */
class ExitGuard {
  #underWay = 0;
  #installed = false;
  /** What nobody caught: Node would print it when it is too late. */
  #uncaught: { readonly error: unknown } | undefined;

  /** A write transaction begins. */
  enter(): void {
    this.#underWay++;
    // The end of a worker thread is not that of the process.
    if (this.#installed || !isMainThread) return;
    this.#installed = true;
    process.on("uncaughtExceptionMonitor", (error) => {
      // Who listens has told it by then.
      if (process.listenerCount("uncaughtException") === 0) this.#uncaught = { error };
    });
    process.on("exit", () => {
      if (this.#underWay > 0) this.#end();
    });
  }

  /** It has ended. */
  leave(): void {
    this.#underWay--;
  }

  #end(): void {
    if (this.#uncaught !== undefined) writeSync(process.stderr.fd, `${inspect(this.#uncaught.error)}\n`);
    process.kill(process.pid, "SIGKILL");
  }
}

export const exitGuard = new ExitGuard();
