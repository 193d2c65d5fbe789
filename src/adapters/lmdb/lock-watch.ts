import { type CancelTimer, type Clock, sleep } from "../../ports/clock.ts";
import type { LogNotice } from "../../ports/event-log.ts";
import { BOUNDS } from "./bounds.ts";
import { type LockHolder, lockHolder } from "./lock-holder.ts";

export interface LockWatchOptions {
  readonly dir: string;
  readonly clock: Clock;
  readonly onNotice: (notice: LogNotice) => void;
}

/** Tells people when a writer waits for LMDB's lock for so long that something is wrong. */
export class LockWatch {
  readonly #options: LockWatchOptions;
  #timer: CancelTimer | undefined;
  #told = false;

  constructor(options: LockWatchOptions) {
    this.#options = options;
  }

  /** A write transaction has been asked for. */
  waiting(): void {
    const { dir, clock } = this.#options;
    this.#timer = clock.setTimeout(() => this.#tell(lockHolder(dir, true)), BOUNDS.lockPatienceMs);
  }

  /** It has begun, or cannot begin. */
  over(): void {
    this.#timer?.();
    this.#timer = undefined;
    if (!this.#told) return;
    this.#told = false;
    this.#options.onNotice({ waiting: false, message: `the log goes on: ${this.#options.dir}` });
  }

  /**
   * Waits while the lock is held by a process that was stopped. To be called before LMDB is opened for writing: that
   * takes the lock in this process's only thread, which could then not even say what it waits for.
   */
  async untilNotStopped(): Promise<void> {
    const { dir, clock } = this.#options;
    for (;;) {
      const holder = lockHolder(dir, false);
      if (holder?.stopped !== true) break;
      if (!this.#told) this.#tell(holder);
      await sleep(clock, BOUNDS.lockLookMs);
    }
    this.over();
  }

  #tell(holder: LockHolder | undefined): void {
    this.#told = true;
    this.#options.onNotice({ waiting: true, message: describeWait(this.#options.dir, holder) });
  }
}

function describeWait(dir: string, holder: LockHolder | undefined): string {
  if (holder === undefined) return `the log waits for another process that holds its lock: ${dir}`;
  const { pid, stopped } = holder;
  if (!stopped) return `the log waits for process ${pid}, which holds its lock: ${dir}`;
  const advice = `let it go on with "kill -CONT ${pid}", or end it with "kill -KILL ${pid}"`;
  return `the log waits for process ${pid}, which was stopped while it held the lock: ${dir}; ${advice}`;
}
