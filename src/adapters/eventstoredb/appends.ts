import { HeadwaterError } from "../../core/errors.ts";
import { START } from "../../core/position.ts";
import type { Append, Appended, ExpectedRevision, NewEvent, StreamMetadata } from "../../ports/event-log.ts";
import { appendBytes } from "../../ports/event-log-rules.ts";
import { type Accepted, AppendCall } from "./append-call.ts";
import { BOUNDS } from "./bounds.ts";
import type { Connection, Node } from "./connection.ts";
import { CallFailure, toHeadwaterError } from "./failures.ts";
import type { Names } from "./names.ts";
import type { Reads } from "./reads.ts";
import { batchAppend, SETTINGS_TYPE } from "./requests.ts";
import { type StreamSettings, settingsStream, writeSettings } from "./settings.ts";
import { Slots } from "./slots.ts";

/** The revision that an append is made after. Only these can be repeated without being made twice. */
type Exact = number | "no-stream";

/**
 * Appends. Those to one stream are made one after the other, in the order of the calls, each repeated under the same
 * ids until its outcome is known. As only appends that expect an exact revision can be repeated, others are made
 * into such: they are tried after the revision that the stream has, and again when that has moved.
 */
export class Appends {
  readonly #connection: Connection;
  readonly #names: Names;
  readonly #reads: Reads;
  readonly #slots = new Slots(BOUNDS.appendsInFlight, BOUNDS.appendBytesInFlight);
  /** The last append to each stream that has one under way. */
  readonly #last = new Map<string, Promise<unknown>>();
  /** Where streams ended by the last append from here, to try first. */
  readonly #ends = new Map<string, number>();
  readonly #calls = new WeakMap<Node, Promise<AppendCall>>();

  constructor(connection: Connection, names: Names, reads: Reads) {
    this.#connection = connection;
    this.#names = names;
    this.#reads = reads;
  }

  /** Resolves when nothing is under way any more. */
  async settled(): Promise<void> {
    while (this.#last.size > 0) await Promise.allSettled(this.#last.values());
  }

  /** Throws an error for people. */
  append(append: Append): Promise<Appended> {
    const { stream } = append;
    const before = this.#last.get(stream);
    const made = before === undefined ? this.#make(append) : before.then(() => this.#make(append));
    // The next one waits for this one, however it ends.
    const ended = made.then(
      () => {},
      () => {},
    );
    this.#last.set(stream, ended);
    ended.then(() => {
      if (this.#last.get(stream) === ended) this.#last.delete(stream);
    });
    return made;
  }

  /**
   * Replaces a stream's settings if they still are `now`. Throws a {@link CallFailure} of kind `conflict` if not, and
   * an error for people.
   */
  async settings(stream: string, now: StreamSettings, metadata: StreamMetadata): Promise<void> {
    const event = {
      id: this.#connection.ids.uuid(),
      type: SETTINGS_TYPE,
      data: writeSettings(now, metadata),
      metadata: new Uint8Array(0),
    };
    const name = settingsStream(this.#names.toServer(stream));
    await this.#send(name, [event], now.revision < 0 ? "no-stream" : now.revision);
  }

  async #make(append: Append): Promise<Appended> {
    const release = await this.#slots.take(appendBytes(append));
    try {
      const { expected } = append;
      if (expected === "any" || expected === "stream-exists")
        return await this.#appendAtEnd(append, expected);
      return await this.#appendAfter(append, expected);
    } catch (error) {
      throw toHeadwaterError(error, append.stream);
    } finally {
      release();
    }
  }

  async #appendAfter(append: Append, expected: Exact): Promise<Appended> {
    try {
      return await this.#complete(append, await this.#sendAppend(append, expected));
    } catch (error) {
      if (!(error instanceof CallFailure && error.kind === "conflict")) throw error;
      const repeated = expected === "no-stream" ? await this.#madeAfterDeletion(append) : undefined;
      if (repeated !== undefined) return repeated;
      throw conflict(append.stream, expected, error.currentRevision);
    }
  }

  async #appendAtEnd(append: Append, expected: "any" | "stream-exists"): Promise<Appended> {
    let end =
      expected === "any" ? (this.#ends.get(append.stream) ?? -1) : await this.#endOfExisting(append.stream);
    for (;;) {
      try {
        return await this.#complete(append, await this.#sendAppend(append, end < 0 ? "no-stream" : end));
      } catch (error) {
        if (!(error instanceof CallFailure && error.kind === "conflict")) throw error;
        end =
          expected === "any" && error.currentRevision !== undefined
            ? error.currentRevision
            : await this.#endOfExisting(append.stream);
      }
    }
  }

  /** The last revision of a stream that has to exist, and not to be deleted. */
  async #endOfExisting(stream: string): Promise<number> {
    const end = await this.#reads.end(stream);
    if (end === undefined) throw conflict(stream, "stream-exists", undefined);
    return end.lastRevision;
  }

  #sendAppend({ stream, events }: Append, expected: Exact): Promise<Accepted> {
    return this.#send(this.#names.toServer(stream), events, expected);
  }

  /** Sends an append until its outcome is known. */
  #send(serverStream: string, events: readonly NewEvent[], expected: Exact): Promise<Accepted> {
    const { ids } = this.#connection;
    return this.#connection.attempt(async (node) => {
      const call = await this.#call(node);
      const correlation = ids.uuid();
      return call.append(correlation, batchAppend(correlation, serverStream, expected, events));
    });
  }

  async #call(node: Node): Promise<AppendCall> {
    const known = this.#calls.get(node);
    if (known !== undefined && !(await known).over) return known;
    // Another one may have opened a new call meanwhile.
    const now = this.#calls.get(node);
    if (now !== undefined && now !== known) return now;
    const opened = AppendCall.open(node, this.#connection.clock);
    this.#calls.set(node, opened);
    return opened;
  }

  async #complete({ stream }: Append, { revision, position }: Accepted): Promise<Appended> {
    this.#ends.delete(stream);
    this.#ends.set(stream, revision);
    const [oldest] = this.#ends.keys();
    if (oldest !== undefined && this.#ends.size > BOUNDS.knownEnds) this.#ends.delete(oldest);
    if (position !== undefined) return { revision, position };
    const event = await this.#reads.find(stream, revision);
    return { revision, position: event?.position ?? START };
  }

  /** The server finds a repeated `no-stream` only at the stream's very beginning, not where it was begun again. */
  async #madeAfterDeletion({ stream, events }: Append): Promise<Appended | undefined> {
    const { truncateBefore = 0 } = await this.#reads.settings(stream);
    if (truncateBefore === 0) return undefined;
    const made = await this.#reads.some(stream, truncateBefore, events.length);
    const last = made.at(-1);
    const same = made.length === events.length && events.every(({ id }, i) => made[i]?.id === id);
    return same && last !== undefined ? { revision: last.revision, position: last.position } : undefined;
  }
}

function conflict(stream: string, expected: ExpectedRevision, current: number | undefined): HeadwaterError {
  const is =
    current === undefined
      ? "the stream does not exist"
      : current < 0
        ? "the stream was never written"
        : `its last event has revision ${current}`;
  return new HeadwaterError("WrongExpectedRevision", `expected revision ${expected}, but ${is}`, {
    hint: "Someone else has written. Read the stream's end and decide again.",
    where: stream,
  });
}
