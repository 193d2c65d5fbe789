/**
 * The process that an audit reads the log in: a damaged page of a log's file may end whoever reads it. Started by
 * `audit-apart.ts`, which hears of everything, and of such an end, too.
 */
import type { ToChild } from "../ports/children.ts";
import { audit } from "./audit.ts";
import type { ChildRequest, FromChild } from "./audit-messages.ts";
import { tellError } from "./child-errors.ts";

const stop = new AbortController();

function say(message: FromChild): Promise<void> {
  return new Promise((resolve) => {
    if (process.send === undefined) resolve();
    else process.send(message, undefined, undefined, () => resolve());
  });
}

async function work(request: ChildRequest): Promise<void> {
  try {
    const onProgress = (events: number, of: number) => void say({ kind: "progress", events, of });
    await say({ kind: "report", report: await audit({ ...request, signal: stop.signal, onProgress }) });
  } catch (error) {
    await say({ kind: "error", error: tellError(error) });
  }
  process.disconnect();
}

process.on("message", (message: ToChild) => {
  if (message.kind === "begin") void work(message.request as ChildRequest);
  else stop.abort();
});
// Ctrl-C goes to both processes; the other one decides what it means.
process.on("SIGINT", () => {});
process.on("SIGTERM", () => {});
process.on("disconnect", () => process.exit());
