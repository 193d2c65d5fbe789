import { emptyTally } from "../../projections/audit.ts";
import { assuranceOf } from "../core/assurance.ts";
import { HeadwaterError } from "../core/errors.ts";
import { forkOf, pipelineStream } from "../core/streams.ts";
import type { Bundler } from "../ports/bundler.ts";
import type { Clock } from "../ports/clock.ts";
import type { EventLog } from "../ports/event-log.ts";
import { DeploymentHistory } from "../runtime/deployment-history.ts";
import { reexecuteSample } from "../runtime/sampled-reexecution.ts";
import type { CheckReport } from "./audit-types.ts";

/** How a sample is run again. */
export interface ReexecutionOptions {
  readonly pipeline: string | undefined;
  readonly rate: number;
  /** The log's id if absent. */
  readonly seed: string | undefined;
  readonly signal: AbortSignal | undefined;
}

/**
 * A check of the audit: a sample of all inputs of partitions, run again, gives in every step what was recorded. Loads and
 * runs code from the log. Throws `BadUsage` for a rate that is none, `Stopped`.
 */
export async function reexecutionCheck(
  { clock, bundler }: { readonly clock: Clock; readonly bundler: Bundler },
  log: EventLog,
  { pipeline, rate, seed = log.id, signal = new AbortController().signal }: ReexecutionOptions,
): Promise<CheckReport> {
  if (!(rate > 0 && rate <= 1)) {
    throw new HeadwaterError("BadUsage", `not a share of all inputs: ${rate}`, {
      where: "--reexecute",
      hint: "Give a number above 0, and at most 1: 0.01 is one in a hundred.",
    });
  }
  const tally = emptyTally();
  let kept = 0;
  let tried = 0;
  for (const name of pipeline === undefined ? await pipelinesIn(log) : [pipeline]) {
    const history = await DeploymentHistory.read(log, bundler, name);
    if (history === undefined) continue;
    const sample = await reexecuteSample({ log, clock, history, rate, seed, signal }, tally);
    kept += sample.kept;
    tried += sample.tried;
    if (signal.aborted) throw new HeadwaterError("Stopped", "stopped while history was run again");
  }
  const { checked, unverifiable, failed, failures } = tally;
  const ok = failed === 0;
  // Those that cannot be run again are no random part: the sample says nothing of them, and shows how many they are.
  const of = Math.ceil((kept * checked) / Math.max(1, tried));
  const assurance = ok && checked > 0 ? { assurance: { ...assuranceOf(checked, of), of } } : {};
  return { name: "reexecution", ok, checked, unverifiable, failed, failures, ...assurance };
}

async function pipelinesIn(log: EventLog): Promise<string[]> {
  const prefix = pipelineStream("");
  const names: string[] = [];
  for await (const { stream } of log.streams({ prefixes: [prefix] })) {
    const name = stream.slice(prefix.length);
    if (forkOf(name) === undefined) names.push(name);
  }
  return names;
}
