import { randomUUID } from "node:crypto";
import type { Clock } from "../../src/ports/clock.ts";

export interface Offered {
  readonly id: string;
  readonly type: string;
  readonly json: boolean;
  readonly data: Uint8Array;
  readonly metadata: Uint8Array;
}

export interface Stored extends Offered {
  readonly stream: string;
  readonly revision: bigint;
  /** Where it is in the server's file. */
  readonly position: bigint;
  /** Milliseconds since 1970. */
  readonly created: number;
}

export type Expected = bigint | "any" | "no-stream" | "stream-exists";

/** What a write comes to. `position` is missing if a repeated write's last event is not readable any more. */
export type Written =
  | { readonly kind: "done"; readonly revision: bigint; readonly position: bigint | undefined }
  | { readonly kind: "conflict"; readonly current: bigint }
  | { readonly kind: "ended" };

export interface Read {
  readonly events: readonly Stored[];
  readonly lastRevision: bigint;
}

interface Stream {
  readonly events: Map<bigint, Stored>;
  lastRevision: bigint;
  ended: boolean;
}

/** The number that stands for "for ever": the revision of a tombstone, and the truncation of a deleted stream. */
export const FOR_EVER = 2n ** 63n - 1n;
const ABOUT_FOR_EVER = Number.MAX_SAFE_INTEGER;
/** What a record takes in the file beside its data and metadata. */
const RECORD_BYTES = 128;

/**
 * What an EventStoreDB 24.6 keeps, in memory, and by the rules that it has been seen to follow: settings of a stream are
 * events of a stream of their own, a deletion is a setting and any other setting ends it, a repeated write is found at its exact place alone.
 */
export class Store {
  readonly all: Stored[] = [];
  readonly #clock: Clock;
  readonly #streams = new Map<string, Stream>();
  readonly #listeners = new Set<() => void>();
  #end = 0n;

  constructor(clock: Clock) {
    this.#clock = clock;
  }

  /** Calls `listener` after every write; call what it returns to be forgotten. */
  listen(listener: () => void): () => void {
    this.#listeners.add(listener);
    return () => this.#listeners.delete(listener);
  }

  append(name: string, expected: Expected, offered: readonly Offered[]): Written {
    const stream = this.#streams.get(name);
    const last = stream?.lastRevision ?? -1n;
    if (this.#hasEnded(name)) return { kind: "ended" };
    const deleted = this.#isDeleted(name);
    if (expected === "stream-exists" && deleted) return { kind: "ended" };
    if (expected === "stream-exists" && last < 0n && !this.#streams.has(`$$${name}`)) {
      return { kind: "conflict", current: last };
    }
    if (expected === "no-stream" || typeof expected === "bigint") {
      const exact = expected === "no-stream" ? -1n : expected;
      if (exact > last) return { kind: "conflict", current: last };
      if (exact < last) {
        const same = offered.findIndex(({ id }, i) => stream?.events.get(exact + 1n + BigInt(i))?.id !== id);
        if (same === -1) return this.#repeated(name, exact + BigInt(offered.length));
        if (!(same === 0 && expected === "no-stream" && deleted)) return { kind: "conflict", current: last };
      }
    }
    const original = name.startsWith("$$") ? name.slice(2) : "";
    const revives = original !== "" && this.#isDeleted(original);
    const written = this.#write(name, offered);
    if (deleted) this.#setting(name, { $tb: Number(last + 1n) });
    if (revives) {
      const end = (this.#streams.get(original)?.lastRevision ?? -1n) + 1n;
      this.#setting(original, { $tb: Number(end) });
    }
    this.#notify();
    return { kind: "done", revision: written.revision, position: written.position };
  }

  /** Hides a stream, or ends it for ever. */
  remove(name: string, expected: Expected, forEver: boolean): Written {
    if (this.#hasEnded(name)) return { kind: "ended" };
    const last = this.#streams.get(name)?.lastRevision ?? -1n;
    if (expected === "stream-exists" && this.#isDeleted(name)) return { kind: "ended" };
    if (expected === "no-stream" ? last >= 0n : typeof expected === "bigint" && expected !== last) {
      return { kind: "conflict", current: last };
    }
    if (forEver) {
      const stream = this.#streamOrNew(name);
      stream.ended = true;
      const tombstone = {
        id: randomUUID(),
        type: "$streamDeleted",
        json: false,
        data: NOTHING,
        metadata: NOTHING,
      };
      const stored = this.#record(name, FOR_EVER, tombstone);
      this.#notify();
      return { kind: "done", revision: last, position: stored.position };
    }
    if (last < 0n && !this.#streams.has(`$$${name}`)) return { kind: "conflict", current: -1n };
    const written = this.#write(`$$${name}`, [settingsEvent(`{"$tb":${FOR_EVER}}`)]);
    this.#notify();
    return { kind: "done", revision: last, position: written.position };
  }

  /** What of a stream can be read, in order. */
  read(name: string): Read | "not-found" | "ended" {
    if (this.#hasEnded(name)) return "ended";
    const stream = this.#streams.get(name);
    if (stream === undefined || stream.lastRevision < 0n || this.#isDeleted(name)) return "not-found";
    const first = this.#firstReadable(name, stream);
    const events = [...stream.events.values()].filter(({ revision }) => revision >= first);
    return { events, lastRevision: stream.lastRevision };
  }

  /** Lets go of what cannot be read, but for each stream's last event; answers how many bytes that were. */
  scavenge(): number {
    let saved = 0;
    for (const [name, stream] of this.#streams) {
      const first = stream.ended || this.#isDeleted(name) ? FOR_EVER : this.#firstReadable(name, stream);
      for (const event of stream.events.values()) {
        if (event.revision >= first || (!stream.ended && event.revision === stream.lastRevision)) continue;
        stream.events.delete(event.revision);
        this.all.splice(this.all.indexOf(event), 1);
        saved += event.data.length + event.metadata.length + RECORD_BYTES;
      }
    }
    return saved;
  }

  #repeated(name: string, revision: bigint): Written {
    const read = this.read(name);
    const position =
      typeof read === "string" ? undefined : read.events.find((one) => one.revision === revision)?.position;
    return { kind: "done", revision, position };
  }

  #write(name: string, offered: readonly Offered[]): Stored {
    const stream = this.#streamOrNew(name);
    let written: Stored | undefined;
    for (const one of offered) {
      stream.lastRevision += 1n;
      written = this.#record(name, stream.lastRevision, one);
      stream.events.set(written.revision, written);
    }
    if (written === undefined) throw new Error("a write without events");
    return written;
  }

  #record(stream: string, revision: bigint, offered: Offered): Stored {
    const position = this.#end;
    this.#end += BigInt(RECORD_BYTES + offered.data.length + offered.metadata.length);
    const stored = { ...offered, stream, revision, position, created: this.#clock.now() };
    this.all.push(stored);
    return stored;
  }

  #setting(name: string, changed: Readonly<Record<string, number>>): void {
    this.#write(`$$${name}`, [settingsEvent(JSON.stringify({ ...this.#settings(name), ...changed }))]);
  }

  #settings(name: string): Readonly<Record<string, unknown>> {
    const stream = this.#streams.get(`$$${name}`);
    const event = stream?.events.get(stream.lastRevision);
    return event === undefined ? {} : JSON.parse(Buffer.from(event.data).toString());
  }

  #isDeleted(name: string): boolean {
    return !name.startsWith("$$") && Number(this.#settings(name)["$tb"] ?? 0) >= ABOUT_FOR_EVER;
  }

  #hasEnded(name: string): boolean {
    const original = name.startsWith("$$") ? name.slice(2) : name;
    return this.#streams.get(original)?.ended ?? false;
  }

  #firstReadable(name: string, stream: Stream): bigint {
    const end = stream.lastRevision + 1n;
    const settings: Readonly<Record<string, unknown>> = name.startsWith("$$")
      ? { $maxCount: 1 }
      : this.#settings(name);
    const { $tb = 0, $maxCount, $maxAge } = settings;
    let first = BigInt(Number($tb));
    if ($maxCount !== undefined) first = max(first, end - BigInt(Number($maxCount)));
    if ($maxAge !== undefined) {
      const since = this.#clock.now() - Number($maxAge) * 1_000;
      const young = [...stream.events.values()].find(({ created }) => created >= since);
      first = max(first, young?.revision ?? end);
    }
    return first;
  }

  #streamOrNew(name: string): Stream {
    let stream = this.#streams.get(name);
    if (stream === undefined) {
      stream = { events: new Map(), lastRevision: -1n, ended: false };
      this.#streams.set(name, stream);
    }
    return stream;
  }

  #notify(): void {
    for (const listener of this.#listeners) listener();
  }
}

const NOTHING = new Uint8Array(0);

function settingsEvent(text: string): Offered {
  return { id: randomUUID(), type: "$metadata", json: true, data: Buffer.from(text), metadata: NOTHING };
}

function max(a: bigint, b: bigint): bigint {
  return a > b ? a : b;
}
