import { LIMITS } from "../core/limits.ts";
import type { WatchedFile } from "./watched-file.ts";

/** Of the files that are followed, those that are open: only so many are, and the others rest until they change. */
export class OpenFiles {
  /** The one that was used last comes last. */
  readonly #open = new Set<WatchedFile>();
  readonly #most: number;

  constructor(most: number = LIMITS.openFiles) {
    this.#most = most;
  }

  /** It was used. Those come to rest that were not for longest, as far as they can. */
  async used(file: WatchedFile): Promise<void> {
    this.#open.delete(file);
    this.#open.add(file);
    if (this.#open.size <= this.#most) return;
    for (const oldest of this.#open) {
      if (this.#open.size <= this.#most) return;
      if (oldest !== file && (await oldest.rest())) this.#open.delete(oldest);
    }
  }

  /** It is not followed any more. */
  forget(file: WatchedFile): void {
    this.#open.delete(file);
  }
}
