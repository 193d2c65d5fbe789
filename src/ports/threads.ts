import type { Append, Appended, EventLog, RecordedEvent, StreamRange } from "./event-log.ts";

/** What a thread gets to begin with. */
export interface ThreadRequest {
  /** For people who look at the process. */
  readonly name: string;
  /** The thread has it as its own {@link EventLog}, with the same guarantees. It is not closed with the thread. */
  readonly log: EventLog;
  /** What an event refers to that its reader wants, too. */
  referredBy(event: RecordedEvent): readonly StreamRange[];
  /** Plain data. */
  readonly seed: unknown;
  /** Seen by both sides at any moment, also while the thread answers nothing. */
  readonly shared: SharedArrayBuffer;
  /** Most of its JavaScript heap that the thread may use, in MiB. */
  readonly memoryMb: number;
  /** Plain data that the thread says. */
  onMessage(message: unknown): void;
  /** The thread has appended this, and it is durable; the thread itself hears of it later. */
  onAppended(appends: readonly Append[], answers: readonly Appended[]): void;
}

/** How a thread has ended. */
export type ThreadEnd =
  /** It was let go of. */
  | { readonly kind: "ended" }
  /** Its heap was full. */
  | { readonly kind: "memory" }
  /** Code in it has called `process.exit`. */
  | { readonly kind: "exit"; readonly code: number }
  /** An exception or rejection that nobody caught. */
  | { readonly kind: "error"; readonly error: unknown };

/** A thread at work. */
export interface Thread {
  /** Says plain data to the thread. */
  post(message: unknown): void;
  /** Resolves once, when nothing of it runs any more; what it had on its way to the log may still come there. */
  readonly ended: Promise<ThreadEnd>;
  /** Asks it to end by itself, and ends it where it is when it has not done so within `graceMs` milliseconds. */
  end(graceMs: number): Promise<void>;
}

/** Threads of this process that all run the same program. */
export interface Threads {
  /** How many can make progress at the same time. */
  readonly parallelism: number;
  start(request: ThreadRequest): Thread;
}
