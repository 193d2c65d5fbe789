/** Randomness that nobody can guess. */
export interface Secrets {
  /** `count` random bytes. */
  bytes(count: number): Uint8Array;
}
