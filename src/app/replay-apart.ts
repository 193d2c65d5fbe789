import { HeadwaterError } from "../core/errors.ts";
import type { Children } from "../ports/children.ts";
import { createProofSurroundings } from "../runtime/compose.ts";
import { isAtWork } from "./at-work.ts";
import { toldError } from "./child-errors.ts";
import type { FromReplay, ReplayTask } from "./replay-messages.ts";
import type { ReplayProgress, ReplayReport, ReplayRequest } from "./replay-types.ts";
import type { ForkProgress, WhatIfReport, WhatIfRequest } from "./what-if-types.ts";

/** Built beside this module. */
const CHILD = new URL("./replay-child.js", import.meta.url);

/** As `replay` in replay.ts; in a process of its own where this one runs a pipeline, which so keeps its pace. */
export async function replay(request: ReplayRequest): Promise<ReplayReport> {
  if (!goesApart(request.log)) {
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
  if (!goesApart(request.log)) {
    const app = await import("./what-if.ts");
    return app.whatIf(request);
  }
  const { signal, onProgress, ...rest } = request;
  const tell = (progress: ReplayProgress | ForkProgress) => onProgress?.(progress as ForkProgress);
  return (await replayIn(
    createProofSurroundings().children,
    { kind: "what-if", request: rest },
    tell,
    signal,
  )) as WhatIfReport;
}

/** A log in memory is in this process alone. */
function goesApart(log: string): boolean {
  return isAtWork() && log !== "memory:";
}

/** Runs a replay in one of `children`. Throws what it throws there; `NodeLost` where it was ended from outside. */
export async function replayIn(
  children: Children,
  task: ReplayTask,
  onProgress: (progress: ReplayProgress | ForkProgress) => void,
  signal?: AbortSignal,
): Promise<ReplayReport | WhatIfReport> {
  let report: ReplayReport | WhatIfReport | undefined;
  let error: HeadwaterError | undefined;
  const hear = (message: FromReplay) => {
    if (message.kind === "report") report = message.report;
    else if (message.kind === "error") error = toldError(message.error);
    else onProgress(message.progress);
  };
  const end = await children.run(CHILD, task, (message) => hear(message as FromReplay), signal);
  if (error !== undefined) throw error;
  if (report !== undefined) return report;
  if (signal?.aborted) throw new HeadwaterError("Stopped", "stopped before the replay was through");
  throw new HeadwaterError("NodeLost", "the process in which the replay ran has ended", {
    where: end.signal ?? `exit code ${end.code}`,
    hint: "Nothing of the pipeline was touched. A what-if is in the log as far as it came: headwater replay resume.",
  });
}
