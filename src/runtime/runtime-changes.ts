import { decodeEvent } from "../core/event-codec.ts";
import type { DeployedRuntime, PipelineDeployed } from "../core/events.ts";
import { pipelineStream } from "../core/streams.ts";
import type { Clock } from "../ports/clock.ts";
import type { EventLog } from "../ports/event-log.ts";
import { appendToPipeline } from "./pipeline-events.ts";

/** Whether the same code gives the same by two runtimes, in whatever it asks of dates, languages and names. */
export function sameRuntime(a: DeployedRuntime, b: DeployedRuntime): boolean {
  return a.v8 === b.v8 && a.icu === b.icu && a.timeZone === b.timeZone && a.locale === b.locale;
}

/** Writes down that a deployment goes on under another runtime than it had so far, if it does. */
export async function noteRuntime(
  {
    log,
    clock,
    runtime,
  }: { readonly log: EventLog; readonly clock: Clock; readonly runtime: DeployedRuntime },
  pipeline: string,
  { version, runtime: first }: PipelineDeployed,
  confirm: () => Promise<void>,
): Promise<void> {
  let before = first;
  for await (const recorded of log.read(pipelineStream(pipeline), { direction: "backwards" })) {
    const { type, data } = decodeEvent(recorded);
    if (type !== "RuntimeChanged" && type !== "PipelineDeployed") continue;
    before = data.runtime;
    break;
  }
  // Older logs do not say which locale it was.
  if (sameRuntime({ ...before, locale: before.locale ?? runtime.locale ?? "" }, { locale: "", ...runtime }))
    return;
  const event = { v: 1, wall: clock.now(), version, runtime } as const;
  await appendToPipeline(log, pipeline, { type: "RuntimeChanged", event }, confirm);
}
