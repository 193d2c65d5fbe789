/** Room for so many things of so many bytes at once; who comes when there is none waits in line. */
export class Slots {
  #count: number;
  #bytes: number;
  readonly #line: { readonly bytes: number; readonly enter: () => void }[] = [];

  constructor(count: number, bytes: number) {
    this.#count = count;
    this.#bytes = bytes;
  }

  /** Resolves when there is room, with what gives it back. What is larger than all of it has it alone. */
  take(bytes: number): Promise<() => void> {
    return new Promise((resolve) => {
      const enter = () => {
        this.#count -= 1;
        this.#bytes -= bytes;
        resolve(() => this.#giveBack(bytes));
      };
      this.#line.push({ bytes, enter });
      this.#admit();
    });
  }

  #giveBack(bytes: number): void {
    this.#count += 1;
    this.#bytes += bytes;
    this.#admit();
  }

  #admit(): void {
    for (
      let next = this.#line[0];
      next !== undefined && this.#count > 0 && this.#bytes > 0;
      next = this.#line[0]
    ) {
      this.#line.shift();
      next.enter();
    }
  }
}
