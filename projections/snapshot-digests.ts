import { type DigestStream, digestStream, equalBytes } from "../src/core/digest.ts";
import type { Chunk, SnapshotReference } from "../src/core/events.ts";
import { besideStream } from "../src/core/streams.ts";
import type { KeptStreams } from "./kept-streams.ts";

interface Snapshot {
  readonly revision: number;
  readonly chunks: number;
  readonly digest: Uint8Array;
}

/** A snapshot of which chunks are still to come. */
interface Open {
  readonly revision: number;
  chunks: number;
  readonly bytes: DigestStream;
}

/** The digests of the snapshots of partitions, made chunk by chunk. */
export class SnapshotDigests {
  readonly #kept: KeptStreams;
  readonly #open = new Map<string, Open>();
  /** Those that are not named yet, and the one that was named last. */
  readonly #whole = new Map<string, Snapshot[]>();

  constructor(kept: KeptStreams) {
    this.#kept = kept;
  }

  /** A chunk in a stream of snapshots. What does not follow the chunk before it belongs to none. */
  add(stream: string, revision: number, { index, of, bytes }: Chunk): void {
    let open = this.#open.get(stream);
    if (index === 0) {
      open = { revision, chunks: 0, bytes: digestStream() };
      this.#open.set(stream, open);
    }
    if (open === undefined || open.chunks !== index || open.revision + index !== revision) {
      this.#open.delete(stream);
      return;
    }
    open.bytes.update(bytes);
    open.chunks++;
    if (open.chunks < of) return;
    this.#open.delete(stream);
    const whole = { revision: open.revision, chunks: open.chunks, digest: open.bytes.digest() };
    this.#whole.set(stream, [...(this.#whole.get(stream) ?? []), whole]);
  }

  /** Whether the snapshot that an event of the partition `main` names is there, and as it says. */
  look(main: string, { revision, chunks, digest }: SnapshotReference): "same" | "other" | "missing" | "gone" {
    const stream = besideStream(main, "state");
    const whole = (this.#whole.get(stream) ?? []).filter((one) => one.revision >= revision);
    this.#whole.set(stream, whole);
    const [found] = whole;
    if (found?.revision !== revision) return this.#kept.isGone(stream, revision) ? "gone" : "missing";
    return found.chunks === chunks && equalBytes(found.digest, digest) ? "same" : "other";
  }
}
