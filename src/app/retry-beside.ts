import { equalBytes } from "../core/digest.ts";
import { HeadwaterError } from "../core/errors.ts";
import type { EventLog } from "../ports/event-log.ts";
import { currentDeployment } from "../runtime/deployment.ts";
import type { RetryReport, RetryRequest } from "./quarantine-types.ts";

/** Throws `BadUsage` for what is said of a run where another process puts the records back, as it is. */
export async function mustHaveEffect(
  log: EventLog,
  pipeline: string,
  request: RetryRequest,
  code: Uint8Array | undefined,
  { host, pid }: NonNullable<RetryReport["process"]>,
): Promise<void> {
  const by = `process ${pid} on ${host} runs the pipeline, and puts the records back as it is there`;
  mustSayNothingOfRun(request, by);
  const current = await currentDeployment(log, pipeline);
  if (code === undefined || current?.code === undefined || equalBytes(code, current.code)) return;
  throw new HeadwaterError("BadUsage", `${by}: by another version of the pipeline than this module is`, {
    where: request.pipeline,
    hint: `Nothing was asked for. Name the pipeline ${pipeline} to have them put back by the version that runs; or stop that process, and do this again.`,
  });
}

/** What only a run of this command itself would heed. */
export function mustSayNothingOfRun({ run }: RetryRequest, by: string): void {
  const given: (readonly [option: string, isGiven: boolean])[] = [
    ["--set", (run.parameterTexts?.size ?? 0) > 0],
    ["--output", run.outputs.size > 0],
    ["--rotate", (run.rotations?.size ?? 0) > 0],
    ["--executor", run.executor === "threads"],
    ["--nodes", run.nodes !== undefined],
    ["--hang-after", run.hangAfterMs !== undefined],
    ["--thread-memory", run.threadMemoryMb !== undefined],
  ];
  const option = given.find(([, isGiven]) => isGiven)?.[0];
  if (option === undefined) return;
  throw new HeadwaterError("BadUsage", `${option} has no effect: ${by}`, {
    where: "command line",
    hint: `Nothing was asked for. Leave ${option} out, or give it where the pipeline is run.`,
  });
}
