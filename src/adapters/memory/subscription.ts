import type { Position } from "../../core/position.ts";
import type { RecordedEvent, SubscribeOptions, SubscriptionMessage } from "../../ports/event-log.ts";

/** What came since the last time. */
export interface News {
  readonly events: readonly RecordedEvent[];
  /** Events that a filter held back, and how far the log is. */
  readonly heldBack: number;
  readonly position?: Position;
}

export interface Following {
  /** Throws once the log is closed. */
  check(): void;
  listen(wake: () => void): () => void;
}

const MESSAGE_EVENTS = 512;
const PROGRESS_EVENTS = 1_024;

/** Yields what `news` has, and waits for more. The log keeps everything, so there is nothing to buffer. */
export async function* follow(
  following: Following,
  { signal }: SubscribeOptions,
  news: () => News,
): AsyncGenerator<SubscriptionMessage, void, undefined> {
  let wake = () => {};
  const forget = following.listen(() => wake());
  const onAbort = () => wake();
  signal?.addEventListener("abort", onAbort);
  let caughtUp = false;
  let heldBack = 0;
  try {
    for (;;) {
      if (signal?.aborted) return;
      following.check();
      const more = news();
      if (more.events.length === 0) {
        heldBack += more.heldBack;
        if (heldBack >= PROGRESS_EVENTS && more.position !== undefined) {
          heldBack = 0;
          yield { kind: "progress", position: more.position };
        } else if (!caughtUp) {
          caughtUp = true;
          yield { kind: "caught-up" };
        } else {
          await new Promise<void>((resolve) => {
            wake = resolve;
          });
        }
        continue;
      }
      heldBack = 0;
      for (let at = 0; at < more.events.length; at += MESSAGE_EVENTS) {
        yield { kind: "events", events: more.events.slice(at, at + MESSAGE_EVENTS) };
        if (signal?.aborted) return;
        following.check();
      }
    }
  } finally {
    forget();
    signal?.removeEventListener("abort", onAbort);
  }
}
