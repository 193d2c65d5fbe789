import { decodeEvent } from "../core/event-codec.ts";
import type { EventRange, TypedEvent } from "../core/events.ts";
import { besideStream } from "../core/streams.ts";
import type { EventLog, RecordedEvent, StreamRange } from "../ports/event-log.ts";
import { readInSteps } from "./seek.ts";

/** Streams of which the events of a main stream refer to ever later ranges. */
export type ReferredBeside = "payload" | "transit" | "members" | "effects";

/**
 * Which event beside a stream is the first that its events from a revision on refer to, or will refer to: what stands
 * beside comes before the event that refers to it.
 */
export class ReferredEvents {
  readonly #log: EventLog;
  /** Many partitions read one stream, most of them from the same place. */
  readonly #found = new Map<string, number>();
  /** Behind what the events before a revision refer to. */
  readonly #behind = new Map<string, { readonly before: number; readonly end: number }>();

  constructor(log: EventLog) {
    this.#log = log;
  }

  /** Forgets what may have changed since. */
  refresh(): void {
    this.#found.clear();
  }

  async first(stream: string, beside: ReferredBeside, from: number): Promise<number> {
    const name = besideStream(stream, beside);
    const key = `${name}@${from}`;
    const known = this.#found.get(key);
    if (known !== undefined) return known;
    const first = (await this.#at(stream, beside, from)) ?? (await this.#endBefore(stream, beside, from));
    this.#found.set(key, first);
    return first;
  }

  async #at(stream: string, beside: ReferredBeside, from: number): Promise<number | undefined> {
    if ((await this.#log.streamInfo(besideStream(stream, beside))) === undefined) return 0;
    for await (const recorded of readInSteps(this.#log, stream, from, "forwards")) {
      const range = rangeIn(decodeEvent(recorded), beside);
      if (range !== undefined) return range.revision;
    }
    return undefined;
  }

  async #endBefore(stream: string, beside: ReferredBeside, from: number): Promise<number> {
    const name = besideStream(stream, beside);
    const known = this.#behind.get(name) ?? { before: 0, end: 0 };
    let { end } = known;
    if (from - 1 >= known.before) {
      for await (const recorded of readInSteps(this.#log, stream, from - 1, "backwards")) {
        if (recorded.revision < known.before) break;
        const range = rangeIn(decodeEvent(recorded), beside);
        if (range === undefined) continue;
        end = range.revision + range.events;
        break;
      }
    } else if (from < known.before) return 0;
    this.#behind.set(name, { before: from, end });
    return end;
  }
}

/** Where the records are that an event of a source or partition refers to; none where it cannot be read. */
export function recordsReferredBy(event: RecordedEvent): readonly StreamRange[] {
  if (event.type !== "RecordsAccepted" && event.type !== "StepsRecorded") return [];
  let typed: TypedEvent;
  try {
    typed = decodeEvent(event);
  } catch {
    // Its reader says what is wrong with it.
    return [];
  }
  return (["payload", "transit"] as const).flatMap((beside) => {
    const range = rangeIn(typed, beside);
    if (range === undefined) return [];
    return { stream: besideStream(event.stream, beside), from: range.revision, count: range.events };
  });
}

function rangeIn({ type, data }: TypedEvent, beside: ReferredBeside): EventRange | undefined {
  if (beside === "members") return type === "StepsRecorded" ? data.stages?.[0]?.membersIn : undefined;
  return beside in data ? (data as { readonly [beside in ReferredBeside]?: EventRange })[beside] : undefined;
}
