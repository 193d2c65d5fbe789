import { errorTold } from "../../core/told-error.ts";
import type { RecordedEvent } from "../../ports/event-log.ts";
import type { FromLog } from "./protocol.ts";

/** A frame, the events that it announced, and what it costs while it is on its way. */
export interface IncomingFrame {
  readonly frame: FromLog;
  readonly events: readonly RecordedEvent[];
  readonly cost: number;
}

/** The frames that were said of one opening and are not used yet. Whoever says them keeps their number bounded. */
export class Incoming {
  readonly #frames: IncomingFrame[] = [];
  #wake: (() => void) | undefined;
  #ended = false;
  #failure: { readonly error: unknown } | undefined;
  #said = false;

  /** Whether the other side has said all there is. */
  get said(): boolean {
    return this.#said;
  }

  put(frame: FromLog, events: readonly RecordedEvent[], cost: number): void {
    if (frame.kind === "end" || frame.kind === "failed") {
      this.#said = true;
      if (frame.kind === "failed") this.#failure ??= { error: errorTold(frame.error) };
      this.#ended = true;
    } else this.#frames.push({ frame, events, cost });
    this.#wakeUp();
  }

  /** Gives out nothing more. */
  end(): void {
    this.#frames.length = 0;
    this.#ended = true;
    this.#wakeUp();
  }

  /** Ends at once with an error. */
  fail(error: unknown): void {
    this.#failure = { error };
    this.end();
  }

  /** The next frame, if it is there. */
  take(): IncomingFrame | undefined {
    return this.#frames.shift();
  }

  /** The next frame; `undefined` at the end. Throws what the other side failed with. */
  async next(): Promise<IncomingFrame | undefined> {
    for (;;) {
      const frame = this.#frames.shift();
      if (frame !== undefined) return frame;
      if (this.#failure !== undefined) throw this.#failure.error;
      if (this.#ended) return undefined;
      await new Promise<void>((resolve) => {
        this.#wake = resolve;
      });
    }
  }

  #wakeUp(): void {
    const wake = this.#wake;
    this.#wake = undefined;
    wake?.();
  }
}
