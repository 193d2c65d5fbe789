import { type DigestStream, digestStream, toHex } from "../src/core/digest.ts";
import type { Chunk } from "../src/core/events.ts";
import { codeStream } from "../src/core/streams.ts";
import type { KeptStreams } from "./kept-streams.ts";

/** Code of which chunks are still to come. */
interface Open {
  chunks: number;
  readonly bytes: DigestStream;
}

/** What is known of code: whether it has the digest that its stream is named by. */
type Code = Open | "same" | "other";

/** The digests of deployed code, made chunk by chunk. */
export class CodeDigests {
  readonly #kept: KeptStreams;
  readonly #code = new Map<string, Code>();

  constructor(kept: KeptStreams) {
    this.#kept = kept;
  }

  /** A chunk of code. Answers whether the code is found by it not to be what its stream is named by. */
  add(stream: string, revision: number, { index, of, bytes }: Chunk): boolean {
    if (this.#kept.isCut(stream)) return false;
    const known = this.#code.get(stream) ?? { chunks: 0, bytes: digestStream() };
    if (known === "other") return false;
    if (known === "same" || index !== known.chunks || index !== revision) {
      this.#code.set(stream, "other");
      return true;
    }
    this.#code.set(stream, known);
    known.bytes.update(bytes);
    known.chunks++;
    if (known.chunks < of) return false;
    const isSame = stream === codeStream(toHex(known.bytes.digest()));
    this.#code.set(stream, isSame ? "same" : "other");
    return !isSame;
  }

  /** Whether all of the code that is named by `stream` is there, and as it is named. */
  look(stream: string): "same" | "other" | "missing" | "gone" {
    if (this.#kept.isCut(stream)) return "gone";
    const known = this.#code.get(stream) ?? "missing";
    return typeof known === "string" ? known : "missing";
  }
}
