import { ROUND_CONSTANTS } from "./sha256-constants.ts";
import { LAYOUT, sha256LanesModule } from "./sha256-lanes.ts";

/** What is used of the global WebAssembly, which the compiler's configuration does not know. */
interface WebAssemblyLike {
  readonly Module: new (bytes: Uint8Array) => object;
  readonly Instance: new (module: object) => { readonly exports: unknown };
}

/**
 * The SIMD hasher of a thread: takes messages into its memory until that is full, then hashes them all. The
 * memory has a fixed size, so that views of it never go stale; copying messages into it costs a hundredth of
 * hashing them.
 */
export class LaneHasher {
  /** The hasher, or undefined where WebAssembly or its SIMD is missing. */
  static create(): LaneHasher | undefined {
    const { WebAssembly: wasm } = globalThis as { WebAssembly?: WebAssemblyLike };
    if (wasm === undefined) return undefined;
    let module: object;
    try {
      module = new wasm.Module(sha256LanesModule());
    } catch {
      return undefined;
    }
    return new LaneHasher(new wasm.Instance(module).exports);
  }

  readonly #bytes: Uint8Array;
  readonly #offsets: Uint32Array;
  readonly #hash: (count: number) => void;
  #count = 0;
  #end: number = LAYOUT.input;

  private constructor(exports: unknown) {
    const { memory, hash } = exports as { memory: { buffer: ArrayBuffer }; hash: (count: number) => void };
    new Uint32Array(memory.buffer, LAYOUT.constants, ROUND_CONSTANTS.length).set(ROUND_CONSTANTS);
    this.#bytes = new Uint8Array(memory.buffer);
    this.#offsets = new Uint32Array(memory.buffer, LAYOUT.offsets, LAYOUT.messages + 1);
    this.#hash = hash;
  }

  /**
   * Takes messages from `first` on, message i being `bytes` from `offsets[i]` to `offsets[i + 1]`, as long as
   * they have at most `longest` bytes, are before `last`, and there is room. Returns the first one not taken.
   */
  take(bytes: Uint8Array, offsets: Uint32Array, first: number, last: number, longest: number): number {
    const start = offsets[first] ?? 0;
    const room = LAYOUT.input + LAYOUT.inputBytes - this.#end;
    const shift = this.#end - start;
    const until = Math.min(last, first + LAYOUT.messages - this.#count);
    const table = this.#offsets;
    let row = this.#count;
    let from = start;
    let message = first;
    for (; message < until; message++) {
      const to = offsets[message + 1] ?? 0;
      if (to - from > longest || to - start > room) break;
      table[row] = from + shift;
      row++;
      from = to;
    }
    table[row] = from + shift;
    this.#bytes.set(bytes.subarray(start, from), this.#end);
    this.#count = row;
    this.#end = from + shift;
    return message;
  }

  /** Hashes what was taken, and forgets it; the digests, in the order of taking, stay until the next call. */
  hash(): Uint8Array {
    const count = this.#count;
    this.#count = 0;
    this.#end = LAYOUT.input;
    if (count > 0) this.#hash(count);
    return this.#bytes.subarray(LAYOUT.digests, LAYOUT.digests + 32 * count);
  }
}
