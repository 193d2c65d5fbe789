/** Whether this process runs a pipeline: what takes long is then done in another one. */
let running = 0;

/** A pipeline runs from now on, until what this answers is called. */
export function beginWork(): () => void {
  running++;
  let ended = false;
  return () => {
    if (!ended) running--;
    ended = true;
  };
}

export function isAtWork(): boolean {
  return running > 0;
}
