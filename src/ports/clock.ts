/** The only source of time. Simulations run the real system on a virtual one. */
export interface Clock {
  /** Wall time in milliseconds since 1970; may step back. */
  now(): number;
  /** Milliseconds from an arbitrary start; never steps back. */
  monotonic(): number;
  /** Calls `callback` once after `ms`. Cancel with what it returns. */
  setTimeout(callback: () => void, ms: number): CancelTimer;
}

export type CancelTimer = () => void;

/** Resolves after `ms` on `clock`; at once, without an error, when `signal` aborts. */
export function sleep(clock: Clock, ms: number, signal?: AbortSignal): Promise<void> {
  return new Promise((resolve) => {
    if (signal?.aborted) return resolve();
    const done = () => {
      cancel();
      signal?.removeEventListener("abort", done);
      resolve();
    };
    const cancel = clock.setTimeout(done, ms);
    signal?.addEventListener("abort", done);
  });
}
