import { decodeEvent } from "../core/event-codec.ts";
import type { PipelineDeployed } from "../core/events.ts";
import { LIMITS } from "../core/limits.ts";
import { pipelineStream, supervisorStream } from "../core/streams.ts";
import type { EventLog } from "../ports/event-log.ts";
import { lastThrough } from "./completed.ts";
import { structureOf } from "./deployed-plan.ts";
import { currentDeployment } from "./deployment.ts";
import { stepsStreamOf } from "./routes.ts";
import { lastEvent } from "./stream-tail.ts";
import { askIn, readVerification } from "./verification.ts";

/** A replay that is neither through nor stopped, so that it may be gone on with. */
export interface UnfinishedReplay {
  /** `PIPELINE~ID`. */
  readonly name: string;
  /** Until when history is kept for it, unless it says more by then; in milliseconds since 1970. */
  readonly until: number;
}

/**
 * The replays of a pipeline's history that are neither through nor stopped. Names of others are put into `finished`, and
 * those that are in it are not looked at: they stay so.
 */
export async function unfinishedReplays(
  log: EventLog,
  pipeline: string,
  finished = new Set<string>(),
): Promise<readonly UnfinishedReplay[]> {
  const prefix = pipelineStream("");
  const found: UnfinishedReplay[] = [];
  for await (const { stream, deleted, tombstoned } of log.streams({ prefixes: [prefix] })) {
    const name = stream.slice(prefix.length);
    if (!name.startsWith(`${pipeline}~`) || deleted || tombstoned || finished.has(name)) continue;
    if (await isUnfinished(log, name)) found.push({ name, until: await heldUntil(log, name) });
    else finished.add(name);
  }
  return found;
}

/** Until when history is kept for an unfinished replay: see {@link LIMITS.replayHoldsMs}. */
export async function heldUntil(log: EventLog, name: string): Promise<number> {
  let heard = 0;
  for (const stream of [pipelineStream(name), supervisorStream(name)]) {
    const last = await lastEvent(log, stream);
    if (last !== undefined) heard = Math.max(heard, decodeEvent(last).data.wall);
  }
  return heard + LIMITS.replayHoldsMs;
}

async function isUnfinished(log: EventLog, name: string): Promise<boolean> {
  const last = await lastEvent(log, pipelineStream(name));
  if (last === undefined || askIn(decodeEvent(last)) === "stop") return false;
  const verification = await readVerification(log, name);
  if (verification !== undefined) return verification.report === undefined;
  const deployed = await currentDeployment(log, name);
  return deployed?.fork !== undefined && (await forkThrough(log, name, deployed)) < deployed.fork.to;
}

/** How far all partitions of a fork are. */
export async function forkThrough(log: EventLog, name: string, deployed: PipelineDeployed): Promise<number> {
  const plan = structureOf(deployed, name);
  let through = Number.MAX_SAFE_INTEGER;
  for (const segment of plan.segments) {
    for (let partition = 0; partition < deployed.partitions; partition++) {
      through = Math.min(through, await lastThrough(log, stepsStreamOf(plan, segment, partition)));
    }
  }
  return through;
}
