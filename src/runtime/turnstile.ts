/** Lets work go on side by side, or one piece of it alone, in the order in which it comes. */
export class Turnstile {
  readonly #waiting: { readonly alone: boolean; readonly go: () => void }[] = [];
  #inside = 0;
  #alone = false;

  /** Resolves when the work may begin, with what has to be called when it is over. */
  async enter(alone: boolean): Promise<() => void> {
    if (this.#waiting.length > 0 || !this.#admits(alone)) {
      await new Promise<void>((go) => {
        this.#waiting.push({ alone, go });
      });
    } else this.#admit(alone);
    return () => this.#leave();
  }

  #admits(alone: boolean): boolean {
    return alone ? this.#inside === 0 : !this.#alone;
  }

  #admit(alone: boolean): void {
    this.#inside++;
    this.#alone = alone;
  }

  #leave(): void {
    this.#inside--;
    this.#alone = false;
    for (
      let next = this.#waiting[0];
      next !== undefined && this.#admits(next.alone);
      next = this.#waiting[0]
    ) {
      this.#waiting.shift();
      this.#admit(next.alone);
      next.go();
    }
  }
}
