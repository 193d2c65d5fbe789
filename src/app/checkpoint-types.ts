/** When checkpoints are signed, and where they go. */
export interface CheckpointTimes {
  /** File with the private key. */
  readonly key: string;
  /** Such as `"1m"`. */
  readonly every: string;
  /** File that holds the latest note. */
  readonly out?: string;
  /** A shell command that gets each note on its standard input: to keep it where nobody can change it. */
  readonly command?: string;
}
