import type { EventRange, TypedEvent } from "../src/core/events.ts";
import { besideStream } from "../src/core/streams.ts";

/** The events of the streams beside sources and partitions that nothing has referred to yet. */
export class EventsBeside {
  readonly #waiting = new Map<string, { readonly revision: number; readonly typed: TypedEvent }[]>();
  /** First revision that is kept, of streams that were let go of in part. */
  readonly #kept = new Map<string, number>();

  /** What is below `first` in `stream` was let go. */
  startAt(stream: string, first: number): void {
    if (first > 0) this.#kept.set(stream, first);
  }

  add(stream: string, revision: number, typed: TypedEvent): void {
    const waiting = this.#waiting.get(stream);
    if (waiting === undefined) this.#waiting.set(stream, [{ revision, typed }]);
    else waiting.push({ revision, typed });
  }

  /**
   * The events beside `main` that it refers to; they, and what a crash left before them, are let go of. `gone`: they
   * are not kept any more. `missing`: they should be there.
   */
  take(
    main: string,
    beside: "payload" | "transit" | "members" | "quarantine",
    { revision, events }: EventRange,
  ): readonly TypedEvent[] | "gone" | "missing" {
    const stream = besideStream(main, beside);
    const end = revision + events;
    const waiting = this.#waiting.get(stream) ?? [];
    const found = waiting.filter((one) => one.revision >= revision && one.revision < end);
    this.#waiting.set(
      stream,
      waiting.filter((one) => one.revision >= end),
    );
    if (found.length === events) return found.map(({ typed }) => typed);
    return revision < (this.#kept.get(stream) ?? 0) ? "gone" : "missing";
  }
}
