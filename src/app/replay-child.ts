/**
 * The process that a replay is run in where this one runs a pipeline. Started by `replay-apart.ts`, which hears of
 * everything.
 */
import { lowerPriority } from "../runtime/compose.ts";
import { type ChildPlace, workAsChild } from "./child.ts";
import { tellError } from "./child-errors.ts";
import { replay, resumeReplay, whatIf } from "./replay.ts";
import type { Delivered, FromReplay, ReplayTask } from "./replay-messages.ts";
import type { SinkBinding } from "./start-types.ts";

/** Between two messages of how far it is. */
const PROGRESS_MS = 100;

workAsChild<ReplayTask, FromReplay>(async (task, place) => {
  const { say, signal } = place;
  let saidAt = Number.NEGATIVE_INFINITY;
  const onProgress = (progress: Extract<FromReplay, { readonly kind: "progress" }>["progress"]) => {
    const now = performance.now();
    if (now - saidAt < PROGRESS_MS) return;
    saidAt = now;
    void say({ kind: "progress", progress });
  };
  lowerPriority(task.kind === "verify" ? "reading" : "writing");
  try {
    const report = await run(task, { signal, onProgress }, place);
    await say({ kind: "report", report });
  } catch (error) {
    await say({ kind: "error", error: tellError(error) });
  }
});

function run(
  task: ReplayTask,
  more: {
    readonly signal: AbortSignal;
    onProgress(progress: Extract<FromReplay, { readonly kind: "progress" }>["progress"]): void;
  },
  place: ChildPlace<FromReplay>,
) {
  if (task.kind === "verify") return replay({ ...task.request, ...more });
  const { functions = [] } = task;
  const sinks = { ...task.request.sinks, ...sinksOf(functions, place) };
  if (task.kind === "what-if") return whatIf({ ...task.request, ...more, sinks });
  return resumeReplay({ ...task.request, ...more, onVerifyProgress: more.onProgress, sinks });
}

/** Bindings that hand records over to the process which has the functions. */
function sinksOf(
  functions: readonly string[],
  { say, onAnswer }: ChildPlace<FromReplay>,
): Readonly<Record<string, SinkBinding>> {
  const waiting = new Map<number, (delivered: Delivered) => void>();
  let last = 0;
  onAnswer((answer) => {
    const delivered = answer as Delivered;
    waiting.get(delivered.number)?.(delivered);
    waiting.delete(delivered.number);
  });
  return Object.fromEntries(
    functions.map((sink): [string, SinkBinding] => [
      sink,
      {
        batch: async (records, delivery) => {
          last++;
          const number = last;
          const delivered = new Promise<Delivered>((resolve) => waiting.set(number, resolve));
          await say({ kind: "deliver", number, sink, records, delivery });
          const { failed } = await delivered;
          if (failed !== undefined) throw new Error(failed);
        },
      },
    ]),
  );
}
