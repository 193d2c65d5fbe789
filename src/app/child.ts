import type { ToChild } from "../ports/children.ts";

/** What a process that another one has begun says to it, and when it is to stop. */
export interface ChildPlace<Message> {
  /** Resolves when it is said. */
  say(message: Message): Promise<void>;
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
  process.on("message", (message: ToChild) => {
    if (message.kind !== "begin") stop.abort();
    else void work(message.request as Request, { say, signal: stop.signal }).then(() => process.disconnect());
  });
  // Ctrl-C goes to both processes; the other one decides what it means.
  process.on("SIGINT", () => {});
  process.on("SIGTERM", () => {});
  process.on("disconnect", () => process.exit());
}
