/** How a process has ended. */
export interface ChildEnd {
  /** `undefined`: a signal ended it. */
  readonly code: number | undefined;
  /** `undefined`: it ended by itself. */
  readonly signal: string | undefined;
  /** It ended because it had no memory left. */
  readonly outOfMemory?: true;
}

/** Processes of our own, for work that may end the process that does it, or that others are not to wait for. */
export interface Children {
  /**
   * Runs the module at `entry` in a process of its own, gives it `request`, and calls `onMessage` with all that it
   * says, and with how it is answered. When `signal` aborts it is told so, once. It ends with this process at the latest.
   * Messages are copied as `structuredClone` does.
   */
  run(
    entry: URL,
    request: unknown,
    onMessage: (message: unknown, answer: (to: unknown) => void) => void,
    signal?: AbortSignal,
  ): Promise<ChildEnd>;
}

/** What a child hears. */
export type ToChild =
  | { readonly kind: "begin"; readonly request: unknown }
  | { readonly kind: "answer"; readonly answer: unknown }
  | { readonly kind: "stop" };
