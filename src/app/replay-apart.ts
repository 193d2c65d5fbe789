import { describeThrown, HeadwaterError } from "../core/errors.ts";
import type { Children } from "../ports/children.ts";
import { createProofSurroundings } from "../runtime/compose.ts";
import { isAtWork } from "./at-work.ts";
import { toldError } from "./child-errors.ts";
import type { ResumeRequest } from "./forks-types.ts";
import type { Delivered, ForDelivery, FromReplay, ReplayTask } from "./replay-messages.ts";
import type { ReplayProgress, ReplayReport, ReplayRequest } from "./replay-types.ts";
import { given } from "./start-options.ts";
import type { BatchDelivery, Delivery, SinkBinding } from "./start-types.ts";
import type { ForkProgress, ForkRequest, WhatIfReport, WhatIfRequest } from "./what-if-types.ts";

/** Built beside this module. */
const CHILD = new URL("./replay-child.js", import.meta.url);

/** As `replay` in replay.ts; in a process of its own where this one runs a pipeline, which so keeps its pace. */
export async function replay(request: ReplayRequest): Promise<ReplayReport> {
  if (!goesApart(request)) {
    const app = await import("./replay.ts");
    return app.replay(request);
  }
  const { signal, onProgress, ...rest } = request;
  const tell = (progress: ReplayProgress | ForkProgress) => onProgress?.(progress as ReplayProgress);
  return (await replayIn(
    createProofSurroundings().children,
    { kind: "verify", request: rest },
    tell,
    signal,
  )) as ReplayReport;
}

/** As `whatIf` in what-if.ts; in a process of its own where this one runs a pipeline. */
export async function whatIf(request: WhatIfRequest): Promise<WhatIfReport> {
  if (!goesApart(request)) {
    const app = await import("./replay.ts");
    return app.whatIf(request);
  }
  const { signal, onProgress, sinks, ...rest } = request;
  const tell = (progress: ReplayProgress | ForkProgress) => onProgress?.(progress as ForkProgress);
  const { plain, functions } = parted(sinks);
  return (await replayIn(
    createProofSurroundings().children,
    { kind: "what-if", request: { ...rest, sinks: plain }, functions: Object.keys(functions) },
    tell,
    signal,
    functions,
  )) as WhatIfReport;
}

/** As `resumeReplay` in forks.ts; in a process of its own where this one runs a pipeline. */
export async function resumeReplay(request: ResumeRequest): Promise<WhatIfReport | ReplayReport> {
  if (!goesApart(request)) {
    const app = await import("./replay.ts");
    return app.resumeReplay(request);
  }
  const { signal, onProgress, onVerifyProgress, sinks, ...rest } = request;
  const { plain, functions } = parted(sinks);
  return replayIn(
    createProofSurroundings().children,
    { kind: "resume", request: { ...rest, sinks: plain }, functions: Object.keys(functions) },
    (progress) => {
      if ("steps" in progress) onVerifyProgress?.(progress);
      else onProgress?.(progress);
    },
    signal,
    functions,
  );
}

/** A log in memory, and standard output, are this process's alone. */
function goesApart({ log, outputs, diff }: Pick<ForkRequest, "log" | "outputs" | "diff">): boolean {
  return isAtWork() && log !== "memory:" && ![...(outputs?.values() ?? []), diff].includes("-");
}

/** The bindings that are functions, which no other process can have, and those that are not. */
function parted(sinks: ForkRequest["sinks"]): {
  readonly plain: Readonly<Record<string, SinkBinding>>;
  readonly functions: Readonly<Record<string, SinkBinding>>;
} {
  const isFunction = (binding: SinkBinding) => typeof binding === "function" || "batch" in Object(binding);
  const all = Object.entries(given(sinks, "sinks"));
  return {
    plain: Object.fromEntries(all.filter(([, binding]) => !isFunction(binding))),
    functions: Object.fromEntries(all.filter(([, binding]) => isFunction(binding))),
  };
}

/**
 * Runs a replay in one of `children`, which hands the records of sinks to `functions` of this process. Throws what it
 * throws there; `NodeLost` where it was ended from outside.
 */
export async function replayIn(
  children: Children,
  task: ReplayTask,
  onProgress: (progress: ReplayProgress | ForkProgress) => void,
  signal?: AbortSignal,
  functions: Readonly<Record<string, SinkBinding>> = {},
): Promise<ReplayReport | WhatIfReport> {
  let report: ReplayReport | WhatIfReport | undefined;
  let error: HeadwaterError | undefined;
  const hear = (message: FromReplay, answer: (to: Delivered) => void) => {
    if (message.kind === "report") report = message.report;
    else if (message.kind === "error") error = toldError(message.error);
    else if (message.kind === "deliver") void deliver(functions[message.sink], message).then(answer);
    else onProgress(message.progress);
  };
  const end = await children.run(
    CHILD,
    task,
    (message, answer) => hear(message as FromReplay, answer),
    signal,
  );
  if (error !== undefined) throw error;
  if (report !== undefined) return report;
  if (signal?.aborted) throw new HeadwaterError("Stopped", "stopped before the replay was through");
  throw new HeadwaterError("NodeLost", "the process in which the replay ran has ended", {
    where: end.signal ?? `exit code ${end.code}`,
    hint: "Nothing of the pipeline was touched. A what-if is in the log as far as it came: headwater replay resume.",
  });
}

/** Gives records to a function of this process, as its sink would do here. */
async function deliver(
  binding: SinkBinding | undefined,
  { number, records, delivery }: ForDelivery,
): Promise<Delivered> {
  try {
    if (typeof binding === "function") {
      const take = binding as (record: unknown, delivery: Delivery) => void | Promise<void>;
      for (const [at, record] of records.entries()) await take(record, delivery.records[at] as Delivery);
    } else if (binding !== undefined && "batch" in binding) {
      const take = binding.batch as (
        records: readonly unknown[],
        delivery: BatchDelivery,
      ) => void | Promise<void>;
      await take(records, delivery);
    }
    return { number };
  } catch (thrown) {
    return { number, failed: describeThrown(thrown) };
  }
}
