import { HeadwaterError, isHeadwaterError } from "../core/errors.ts";
import { createSurroundings } from "../runtime/compose.ts";
import { type Chosen, type Decisions, decide, readDecisions } from "../runtime/retry-requests.ts";
import { processAtWork } from "../runtime/supervision.ts";
import { choose, type OpenPipeline, obstacleOf, placesOf, withPipeline } from "./quarantine.ts";
import type { RetryReport, RetryRequest } from "./quarantine-types.ts";
import { mustHaveEffect, mustSayNothingOfRun } from "./retry-beside.ts";
import { run } from "./run.ts";
import { mustRotateAll } from "./run-outputs.ts";

/** Where it is asked, and what there is. */
type Place = Pick<OpenPipeline, "log" | "pipeline" | "there">;

/** Records that were asked for, and those of the selection that cannot be put back. */
type Asked = Pick<RetryReport, "asked" | "impossible">;

/**
 * Asks for refused records to be put back, and runs the pipeline, unless another process does. Throws `NotQuarantined`
 * for a record that is not in quarantine, was asked for before, or is discarded, and `NotRetryable` for one of which
 * too little is kept; and what running throws. Nothing is asked for before the run has begun, or where it is clear
 * that another process does not put them back as it is said.
 */
export async function retryRefused(request: RetryRequest): Promise<RetryReport> {
  for (;;) {
    const report = (await askBeside(request)) ?? (await askAndRun(request));
    if (report !== undefined) return report;
  }
}

/** Asks, if the records are not put back here; else only finds out whether they can be asked for. */
function askBeside(request: RetryRequest): Promise<RetryReport | undefined> {
  return withPipeline(request, "change", async ({ log, pipeline, there, code }) => {
    const place = { log, pipeline, there };
    const atWork = () => processAtWork({ ...createSurroundings(), log, pipeline });
    let process = await atWork();
    if (process === undefined && request.later !== true) {
      await mustRotateAll(createSurroundings().files, log, pipeline, request.run);
      await choosePossible(request, place, await readDecisions(log, pipeline));
      return undefined;
    }
    if (process === undefined)
      mustSayNothingOfRun(request, "the next run puts the records back as it is told to");
    const asked = await ask(request, place, async () => {
      // As late as it can be: whoever puts them back has to be whom the request is meant for.
      if (process !== undefined) process = await atWork();
      if (process !== undefined) await mustHaveEffect(log, pipeline, request, code, process);
      return process !== undefined || request.later === true;
    });
    if (asked === undefined) return undefined;
    const by = process === undefined ? "the next run" : "another process";
    return { pipeline, ...asked, by, process: process ?? null, run: null };
  });
}

/**
 * Runs the pipeline, and asks when it is sure that this process is the one that puts the records back. `undefined`:
 * another process has come first, and nothing was asked for.
 */
async function askAndRun(request: RetryRequest): Promise<RetryReport | undefined> {
  let asked: Asked | undefined;
  let pipeline = request.pipeline;
  try {
    const ran = await run({
      ...request.run,
      pipeline: request.pipeline,
      log: request.log,
      inputs: new Map(),
      beforeWork: async (log, plan) => {
        pipeline = plan.definition.name;
        asked = await ask(request, { log, pipeline, there: placesOf(plan) });
      },
    });
    return { pipeline, asked: 0, impossible: 0, ...asked, by: "this run", process: null, run: ran };
  } catch (error) {
    if (asked === undefined && isHeadwaterError(error, "OwnershipLost")) return undefined;
    throw error;
  }
}

/** `undefined`: nothing was asked for, because `confirm` said so in the end. */
async function ask(
  request: RetryRequest,
  place: Place,
  confirm: () => Promise<boolean> = () => Promise.resolve(true),
): Promise<Asked | undefined> {
  const { log, pipeline } = place;
  let impossible = 0;
  let confirmed = false;
  const asked = await decide({ ...createSurroundings(), log, pipeline }, async (before) => {
    const chosen = await choosePossible(request, place, before);
    impossible = chosen.impossible;
    confirmed = await confirm();
    return confirmed ? chosen.possible : [];
  });
  return confirmed ? { asked, impossible } : undefined;
}

/** Those that are meant and can be put back, and how many cannot. Throws `NotRetryable` where those are named. */
async function choosePossible(
  request: RetryRequest,
  { log, pipeline, there }: Place,
  before: Decisions,
): Promise<{ readonly possible: readonly Chosen[]; readonly impossible: number }> {
  const chosen = await choose(log, pipeline, request, before);
  const obstacles = chosen.map((refused) => obstacleOf(refused, there));
  const at = obstacles.findIndex((obstacle) => obstacle !== undefined);
  if (request.records !== undefined && at >= 0) {
    throw new HeadwaterError("NotRetryable", `it cannot be put back: ${obstacles[at]}`, {
      where: chosen[at]?.address ?? "",
      hint: 'Nothing was asked for. "headwater quarantine discard" says that it is not to be put back.',
    });
  }
  const possible = chosen.filter((_, index) => obstacles[index] === undefined);
  return { possible, impossible: chosen.length - possible.length };
}
