import type { EventRange, TypedEvent } from "../src/core/events.ts";
import { type Beside, besideStream } from "../src/core/streams.ts";
import type { KeptStreams } from "./kept-streams.ts";

/** The events of the streams beside sources and partitions that nothing has referred to yet. */
export class EventsBeside {
  readonly #waiting = new Map<string, { readonly revision: number; readonly typed: TypedEvent }[]>();
  readonly #kept: KeptStreams;

  constructor(kept: KeptStreams) {
    this.#kept = kept;
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
    beside: Beside,
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
    return this.#kept.isGone(stream, revision) ? "gone" : "missing";
  }
}
