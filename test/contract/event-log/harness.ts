import { randomUUID } from "node:crypto";
import { expect, it } from "vitest";
import type { ErrorCode } from "../../../src/core/errors.ts";
import type { CancelTimer, Clock } from "../../../src/ports/clock.ts";
import type {
  EventLog,
  NewEvent,
  RecordedEvent,
  StreamFilter,
  SubscriptionMessage,
} from "../../../src/ports/event-log.ts";

/** One log to test, and what the tests do to it from outside. */
export interface Harness {
  readonly log: EventLog;
  /** Another handle on the same log, as another process has it. The harness closes it if the test does not. */
  openHandle(): Promise<EventLog>;
  /** Closes all handles and opens the log again. */
  reopen(): Promise<EventLog>;
  /** Moves the clock that the store takes its times from. */
  advance(ms: number): Promise<void>;
  /** Closes what is open and removes the log. */
  dispose(): Promise<void>;
}

export type Make = () => Promise<Harness>;

/** What an adapter may lack. */
export type Capability = "reopen" | "clock" | "scavenge" | "info" | "order-of-names";

export type Lacking = Partial<Record<Capability, string>>;

/** A real clock whose wall time can be moved. */
export class TestClock implements Clock {
  #offset = 0;

  now(): number {
    return Date.now() + this.#offset;
  }

  monotonic(): number {
    return performance.now();
  }

  setTimeout(callback: () => void, ms: number): CancelTimer {
    const timer = setTimeout(callback, ms);
    return () => clearTimeout(timer);
  }

  advance(ms: number): void {
    this.#offset += ms;
  }
}

/** What a test gets: a log, and names that no other test uses. */
export interface Scene extends Harness {
  /** The name of a stream; all of a test's share a prefix. */
  stream(name: string): string;
  /** Lets pass all of this test's streams, and only those. */
  readonly mine: StreamFilter;
}

/** Makes the function that registers one test, in which `make`'s log is disposed of whatever happens. */
export function scenes(make: Make, lacking: Lacking) {
  return (title: string, run: (scene: Scene) => Promise<void>, ...needs: readonly Capability[]): void => {
    const missing = needs.filter((need) => lacking[need] !== undefined);
    if (missing.length > 0) {
      it.skip(`${title} [skipped: ${missing.map((need) => lacking[need]).join("; ")}]`, () => {});
      return;
    }
    it(title, async () => {
      const harness = await make();
      const prefix = `t${randomUUID().slice(0, 8)}_`;
      const scene: Scene = {
        log: harness.log,
        openHandle: () => harness.openHandle(),
        reopen: () => harness.reopen(),
        advance: (ms) => harness.advance(ms),
        dispose: () => harness.dispose(),
        stream: (name) => prefix + name,
        mine: { prefixes: [prefix] },
      };
      try {
        await run(scene);
      } finally {
        await harness.dispose();
      }
    });
  };
}

/** A new event whose data says `text`. */
export function event(text = "data", id = randomUUID()): NewEvent {
  return {
    id,
    type: "Tested",
    data: Buffer.from(text),
    metadata: Buffer.from(`{"of":${JSON.stringify(text)}}`),
  };
}

/** New events whose data are the numbers from `from` to below `to`. */
export function eventRange(from: number, to: number): NewEvent[] {
  return Array.from({ length: to - from }, (_, i) => event(String(from + i)));
}

export function textOf({ data }: { readonly data: Uint8Array }): string {
  return Buffer.from(data).toString();
}

/** The numbers from `from` to below `to`, as the texts of {@link eventRange}. */
export function texts(from: number, to: number): string[] {
  return Array.from({ length: to - from }, (_, i) => String(from + i));
}

export async function collect<T>(items: AsyncIterable<T>): Promise<T[]> {
  const all: T[] = [];
  for await (const item of items) all.push(item);
  return all;
}

export async function readTexts(events: AsyncIterable<RecordedEvent>): Promise<string[]> {
  return (await collect(events)).map(textOf);
}

export async function expectCode(promise: Promise<unknown>, code: ErrorCode): Promise<void> {
  await expect(promise).rejects.toMatchObject({ name: "HeadwaterError", code });
}

/** A subscription that is read in the background as fast as it comes. */
export class Follower {
  readonly events: RecordedEvent[] = [];
  readonly messages: SubscriptionMessage[] = [];
  caughtUp = 0;
  /** What the iteration ended with; `undefined` while it goes on. */
  ended: { readonly error?: unknown } | undefined;
  readonly #abort = new AbortController();
  readonly #done: Promise<void>;
  #changed: () => void = () => {};

  constructor(
    subscribe: (signal: AbortSignal) => AsyncIterable<SubscriptionMessage>,
    /** Awaited after every message: a slow reader. */
    pause: () => Promise<void> = async () => {},
  ) {
    this.#done = this.#run(subscribe(this.#abort.signal), pause);
  }

  /** Resolves as soon as `condition` holds; fails if the subscription ends before. */
  async until(condition: (follower: this) => boolean): Promise<void> {
    while (!condition(this)) {
      if (this.ended !== undefined) throw this.ended.error ?? new Error("the subscription ended");
      await new Promise<void>((resolve) => {
        this.#changed = resolve;
      });
    }
  }

  untilEvents(count: number): Promise<void> {
    return this.until(({ events }) => events.length >= count);
  }

  /** Ends it as a caller does; fails if it ends with an error. */
  async stop(): Promise<void> {
    this.#abort.abort();
    await this.#done;
    if (this.ended?.error !== undefined) throw this.ended.error;
  }

  /** Resolves with what it ended with. */
  async end(): Promise<unknown> {
    await this.#done;
    return this.ended?.error;
  }

  texts(): string[] {
    return this.events.map(textOf);
  }

  async #run(messages: AsyncIterable<SubscriptionMessage>, pause: () => Promise<void>): Promise<void> {
    try {
      for await (const message of messages) {
        this.messages.push(message);
        if (message.kind === "events") this.events.push(...message.events);
        if (message.kind === "caught-up") this.caughtUp += 1;
        this.#changed();
        await pause();
      }
      this.ended = {};
    } catch (error) {
      this.ended = { error };
    }
    this.#changed();
  }
}

/** Lets timers and input have their turn. */
export function turn(): Promise<void> {
  return new Promise((resolve) => {
    setImmediate(resolve);
  });
}
