/**
 * The process that a replay is run in where this one runs a pipeline. Started by `replay-apart.ts`, which hears of
 * everything.
 */
import type { ToChild } from "../ports/children.ts";
import { lowerPriority } from "../runtime/compose.ts";
import { tellError } from "./child-errors.ts";
import { replay, whatIf } from "./replay.ts";
import type { FromReplay, ReplayTask } from "./replay-messages.ts";

/** Between two messages of how far it is. */
const PROGRESS_MS = 100;

const stop = new AbortController();

function say(message: FromReplay): Promise<void> {
  return new Promise((resolve) => {
    if (process.send === undefined) resolve();
    else process.send(message, undefined, undefined, () => resolve());
  });
}

async function work({ kind, request }: ReplayTask): Promise<void> {
  const { signal } = stop;
  let saidAt = Number.NEGATIVE_INFINITY;
  const onProgress = (progress: Extract<FromReplay, { readonly kind: "progress" }>["progress"]) => {
    const now = performance.now();
    if (now - saidAt < PROGRESS_MS) return;
    saidAt = now;
    void say({ kind: "progress", progress });
  };
  lowerPriority(kind === "verify" ? "reading" : "writing");
  try {
    const report =
      kind === "verify"
        ? await replay({ ...request, signal, onProgress })
        : await whatIf({ ...request, signal, onProgress });
    await say({ kind: "report", report });
  } catch (error) {
    await say({ kind: "error", error: tellError(error) });
  }
  process.disconnect();
}

process.on("message", (message: ToChild) => {
  if (message.kind === "begin") void work(message.request as ReplayTask);
  else stop.abort();
});
// Ctrl-C goes to both processes; the other one decides what it means.
process.on("SIGINT", () => {});
process.on("SIGTERM", () => {});
process.on("disconnect", () => process.exit());
