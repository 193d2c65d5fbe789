import type { ToChild } from "../ports/children.ts";

/** What a process that another one has begun says to it, and when it is to stop. */
export interface ChildPlace<Message> {
  /** Resolves when it is said. */
  say(message: Message): Promise<void>;
  /** Calls `listener` with all that the other process answers. */
  onAnswer(listener: (answer: unknown) => void): void;
  readonly signal: AbortSignal;
}

/** Does the work that the process which has begun this one asks for, and then ends. */
export function workAsChild<Request, Message>(
  work: (request: Request, place: ChildPlace<Message>) => Promise<void>,
): void {
  const stop = new AbortController();
  const say = (message: Message) =>
    new Promise<void>((resolve) => {
      if (process.send === undefined) resolve();
      else process.send(message, undefined, undefined, () => resolve());
    });
  const listeners: ((answer: unknown) => void)[] = [];
  const place: ChildPlace<Message> = {
    say,
    onAnswer: (listener) => void listeners.push(listener),
    signal: stop.signal,
  };
  process.on("message", (message: ToChild) => {
    if (message.kind === "stop") stop.abort();
    else if (message.kind === "answer") for (const listener of listeners) listener(message.answer);
    else void work(message.request as Request, place).then(() => process.disconnect());
  });
  // Ctrl-C goes to both processes; the other one decides what it means.
  process.on("SIGINT", () => {});
  process.on("SIGTERM", () => {});
  process.on("disconnect", () => process.exit());
}
