/** Commands of the user's, run by a shell. */
export interface Commands {
  /**
   * Runs `command` with `input` on its standard input; its output is discarded. Answers how it ended: an exit code,
   * the name of a signal, or what kept it from running, and the beginning of what it said on standard error. After
   * `mostMs` milliseconds it is ended.
   */
  run(
    command: string,
    input: string,
    mostMs: number,
  ): Promise<{ readonly code: number | string; readonly stderr: string }>;
}
