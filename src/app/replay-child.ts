/**
 * The process that a replay is run in where this one runs a pipeline. Started by `replay-apart.ts`, which hears of
 * everything.
 */
import { lowerPriority } from "../runtime/compose.ts";
import { workAsChild } from "./child.ts";
import { tellError } from "./child-errors.ts";
import { replay, whatIf } from "./replay.ts";
import type { FromReplay, ReplayTask } from "./replay-messages.ts";

/** Between two messages of how far it is. */
const PROGRESS_MS = 100;

workAsChild<ReplayTask, FromReplay>(async ({ kind, request }, { say, signal }) => {
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
});
