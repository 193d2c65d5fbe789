import type { AuditItem } from "../../projections/audit.ts";
import { HeadwaterError, isHeadwaterError } from "../core/errors.ts";
import { decodeEvent } from "../core/event-codec.ts";
import { pipelineStream } from "../core/streams.ts";
import type { EventLog, StreamFilter } from "../ports/event-log.ts";

type StreamItem = Extract<AuditItem, { readonly kind: "stream" }>;

/** What is said is said before it is done: who hears nothing twice in a row has heard of all that was done before. */
const QUIET_LOOKS = 2;

/**
 * From which revision on each stream of a log is kept, while others may let go of more: what they are about to let go of
 * they say before. Whoever has read something, and then looks again, knows whether what was missing was let go of.
 */
export class KeptNow {
  readonly #log: EventLog;
  readonly #streams = new Map<string, StreamItem>();
  /** Of each pipeline's stream, the revision up to which it was looked at for what is let go of. */
  readonly #seen = new Map<string, number>();
  /** Streams of which it was said, and where they are to begin; until they do. */
  readonly #announced = new Map<string, number>();
  /** Of each stream, up to where it is said most that it is let go of. */
  readonly #said = new Map<string, number>();
  #news: StreamItem[] = [];

  private constructor(log: EventLog) {
    this.#log = log;
  }

  /** The streams that pass the filter as they are now. */
  static async of(
    log: EventLog,
    filter: StreamFilter,
    isWanted: (stream: string) => boolean,
  ): Promise<KeptNow> {
    const kept = new KeptNow(log);
    const prefixes = [pipelineStream("")];
    for await (const { stream, lastRevision } of log.streams({ prefixes }))
      await kept.#begin(stream, lastRevision);
    for await (const { stream, firstRevision: first, lastRevision: last } of log.streams(filter)) {
      if (!isWanted(stream)) continue;
      const item = { kind: "stream", stream, first, last } as const;
      kept.#streams.set(stream, await kept.#withNext(item));
    }
    return kept;
  }

  /** All streams, as they were last looked at. */
  streams(): Iterable<StreamItem> {
    return [...this.#streams.values()].map((item) => this.#withSaid(item));
  }

  /** The first revision that is kept; 0 of a stream that is not known. */
  firstOf(stream: string): number {
    return this.#streams.get(stream)?.first ?? 0;
  }

  /** Looks again, until what is gone is what was heard of, or there is nothing more to hear. */
  async look(): Promise<void> {
    for (let quiet = 0; quiet < QUIET_LOOKS; ) {
      const heard = await this.#hearMore();
      quiet = heard ? 0 : quiet + 1;
      await this.#lookAtStreams();
      const isSaid = ({ stream, first }: StreamItem) => first <= (this.#said.get(stream) ?? 0);
      if (this.#news.every(isSaid)) return;
    }
  }

  /** Whether there was more to hear. */
  async #hearMore(): Promise<boolean> {
    let heard = false;
    for (const [stream, seen] of this.#seen) {
      const last = (await this.#log.streamInfo(stream))?.lastRevision ?? seen;
      if (last <= seen) continue;
      heard = true;
      this.#seen.set(stream, last);
      await this.#hear(stream, seen + 1);
    }
    return heard;
  }

  async #lookAtStreams(): Promise<void> {
    for (const [stream, before] of this.#announced) {
      const known = this.#streams.get(stream);
      const first = known && (await this.#log.streamInfo(stream))?.firstRevision;
      if (known === undefined || first === undefined) {
        this.#announced.delete(stream);
        continue;
      }
      if (first >= before) this.#announced.delete(stream);
      if (first <= known.first) continue;
      const item = await this.#withNext({ ...known, first });
      this.#streams.set(stream, item);
      this.#news.push(item);
    }
  }

  /** The streams that have been found to begin later since this was asked for last. */
  takeNews(): StreamItem[] {
    const news = this.#news;
    this.#news = [];
    return news.map((item) => this.#withSaid(item));
  }

  #withSaid(item: StreamItem): StreamItem {
    const said = this.#said.get(item.stream);
    return said === undefined ? item : { ...item, said };
  }

  /** What was said last may not have been done yet. */
  async #begin(stream: string, last: number): Promise<void> {
    this.#seen.set(stream, last);
    try {
      for await (const { type, revision } of this.#log.read(stream, { direction: "backwards" })) {
        if (type !== "RetentionAdvanced") continue;
        await this.#hear(stream, revision, 1);
        return;
      }
    } catch (error) {
      if (!isStreamGone(error)) throw error;
    }
  }

  async #hear(stream: string, from: number, limit?: number): Promise<void> {
    try {
      for await (const recorded of this.#log.read(stream, { from, ...(limit !== undefined && { limit }) })) {
        const { type, data } = decodeEvent(recorded);
        if (type !== "RetentionAdvanced") continue;
        for (const { stream: cut, before } of data.streams) {
          this.#announced.set(cut, before);
          this.#said.set(cut, Math.max(before, this.#said.get(cut) ?? 0));
        }
      }
    } catch (error) {
      // What is wrong with an event is told when it has its turn.
      if (!(error instanceof HeadwaterError)) throw error;
    }
  }

  /** With the N that a source or partition has come to at its first event that is there. */
  async #withNext({ next: _, ...item }: StreamItem): Promise<StreamItem> {
    const { stream, first } = item;
    if (first === 0 || (!stream.startsWith("source_") && !stream.startsWith("steps_"))) return item;
    try {
      for await (const recorded of this.#log.read(stream, { from: first, limit: 1 })) {
        const { data } = decodeEvent(recorded);
        return "first" in data ? { ...item, next: data.first } : item;
      }
    } catch (error) {
      if (!(error instanceof HeadwaterError)) throw error;
    }
    return item;
  }
}

/** Whether a stream was deleted as a whole: nothing of the kind is done to a log by what keeps it. */
export function isStreamGone(error: unknown): boolean {
  return isHeadwaterError(error, "StreamNotFound") || isHeadwaterError(error, "StreamTombstoned");
}
