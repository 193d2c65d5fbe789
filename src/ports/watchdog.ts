/** What a watchdog is begun with. */
export interface WatchdogRequest {
  /** Plain data for its program. */
  readonly seed: unknown;
  /** Where whoever is watched says what it is at. */
  readonly shared: SharedArrayBuffer;
}

/** A program beside this thread, which goes on while functions of the pipeline let nothing else here do so. */
export interface Watchdog {
  /** Answers how to end it. */
  start(request: WatchdogRequest): () => void;
}
