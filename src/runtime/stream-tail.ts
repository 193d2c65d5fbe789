import { chainStart, digestInMetadata, type SealedEvent, sealEvent } from "../core/chain.ts";
import { equalBytes } from "../core/digest.ts";
import { HeadwaterError } from "../core/errors.ts";
import { decodeEvent } from "../core/event-codec.ts";
import type { EventType, EventTypes, TypedEvent } from "../core/events.ts";
import type { Append, Appended, EventLog, RecordedEvent } from "../ports/event-log.ts";

/** An event that is to be appended. */
export type Draft = { [T in EventType]: { readonly type: T; readonly event: EventTypes[T] } }[EventType];

/**
 * The end of one stream as its only writer knows it: the revision and digest that the next event follows.
 * Nothing is known of it that was not read or acknowledged.
 */
export class StreamTail {
  readonly stream: string;
  readonly #log: EventLog;
  #revision: number;
  #digest: Uint8Array;
  /** The last event, if it was read; an appended one is not kept. */
  readonly last: TypedEvent | undefined;

  private constructor(log: EventLog, stream: string, last: RecordedEvent | undefined) {
    this.#log = log;
    this.stream = stream;
    this.#revision = last?.revision ?? -1;
    this.last = last === undefined ? undefined : decodeEvent(last);
    const digest = last === undefined ? chainStart(log.id, stream) : digestInMetadata(last.metadata);
    if (digest === undefined) {
      throw new HeadwaterError("LogDamaged", "an event's metadata does not hold its digest", {
        where: `${stream}@${this.#revision}`,
        hint: "The event was not written by Headwater, or was changed after it.",
      });
    }
    this.#digest = digest;
  }

  /** Reads where the stream ends. Throws `LogDamaged` where that was let go of: nothing can be linked to it. */
  static async open(log: EventLog, stream: string): Promise<StreamTail> {
    const last = await lastEvent(log, stream);
    const info = last === undefined ? await log.streamInfo(stream) : undefined;
    if (info !== undefined && info.lastRevision >= 0) {
      // It may have been begun since it was looked at.
      const now = await lastEvent(log, stream);
      if (now !== undefined) return new StreamTail(log, stream, now);
      throw new HeadwaterError("LogDamaged", "the last event of a stream was let go of", {
        where: `${stream}@${info.lastRevision}`,
        hint: "Retention keeps the last event of each stream, so that the next one is linked to it. Go on from a copy of the log that has it.",
      });
    }
    return new StreamTail(log, stream, last);
  }

  /** Revision of the last event, −1 if there is none. */
  get revision(): number {
    return this.#revision;
  }

  /**
   * Links drafts to the end of the stream, or to `after`, which is appended before them. The end moves only with
   * {@link advance}.
   */
  seal(drafts: readonly Draft[], after?: SealedAppend): SealedAppend {
    const end = after?.revision ?? this.#revision;
    let revision = end;
    let previous = after?.digest ?? this.#digest;
    const events: SealedEvent[] = [];
    for (const draft of drafts) {
      revision++;
      const sealed = sealEvent(previous, { stream: this.stream, revision }, draft.type, draft.event);
      previous = sealed.digest;
      events.push(sealed);
    }
    const expected = end < 0 ? "no-stream" : end;
    return { tail: this, append: { stream: this.stream, expected, events }, revision, digest: previous };
  }

  /** Whether the stream ends with what was sealed. */
  isAfter({ revision, digest }: SealedAppend): boolean {
    return this.#revision === revision && equalBytes(this.#digest, digest);
  }

  /** Says that what was sealed has been appended. */
  advance(sealed: SealedAppend): void {
    this.#revision = sealed.revision;
    this.#digest = sealed.digest;
  }

  /** Appends drafts, all or none. Throws what {@link EventLog.append} throws. */
  async append(drafts: readonly Draft[]): Promise<Appended> {
    const sealed = this.seal(drafts);
    const appended = await this.#log.append(this.stream, sealed.append.expected, sealed.append.events);
    this.advance(sealed);
    return appended;
  }
}

/** Events linked to the end of a stream, not appended yet. */
export interface SealedAppend {
  readonly tail: StreamTail;
  readonly append: Append;
  readonly revision: number;
  readonly digest: Uint8Array;
}

/** The last readable event of a stream; `undefined` if there is none. */
export async function lastEvent(log: EventLog, stream: string): Promise<RecordedEvent | undefined> {
  try {
    for await (const event of log.read(stream, { direction: "backwards", limit: 1 })) return event;
  } catch (error) {
    if (!(error instanceof HeadwaterError && error.code === "StreamNotFound")) throw error;
  }
  return undefined;
}
