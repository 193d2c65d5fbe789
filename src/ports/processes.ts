/** The process that this is, and whether others live. */
export interface Processes {
  readonly host: string;
  readonly pid: number;
  /** Tells this process from every other that has or had its pid on this host. */
  readonly instance: string;
  /** `undefined`: it cannot be told from here, because it is on another host. */
  isAlive(process: {
    readonly host: string;
    readonly pid: number;
    readonly instance: string;
  }): boolean | undefined;
}
