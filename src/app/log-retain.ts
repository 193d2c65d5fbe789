import { HeadwaterError, isHeadwaterError } from "../core/errors.ts";
import type { RetentionPolicy, RetentionTier } from "../core/events.ts";
import { type RetentionOptions, retentionPolicy } from "../pipeline/retention.ts";
import type { EventLog } from "../ports/event-log.ts";
import { createSurroundings } from "../runtime/compose.ts";
import { currentDeployment } from "../runtime/deployment.ts";
import { RetentionSettings, setPolicy } from "../runtime/retention-policy.ts";
import { unfinishedReplays } from "../runtime/unfinished-replays.ts";
import { unknownPipeline } from "./pipeline-name.ts";

/** How long a pipeline's history is kept. */
export interface RetentionReport {
  readonly pipeline: string;
  /** What counts now: tiers that are not in it are kept for ever. */
  readonly inForce: RetentionPolicy;
  /** Who says so; `null` while nobody has said anything. */
  readonly by: "definition" | "command" | null;
  /** What the definition of the last run said. */
  readonly definition: RetentionPolicy;
  /** Replays that are neither through nor stopped: nothing is let go of before these times. */
  readonly held: readonly { readonly replay: string; readonly until: string }[];
}

/** What is to be changed: bounds for tiers (`age=7d,size=1GB,events=1000`), or that the definition counts again. */
export type RetentionChange =
  | { readonly kind: "bounds"; readonly bounds: ReadonlyMap<RetentionTier, string> }
  | { readonly kind: "forever" }
  | { readonly kind: "as-defined" };

/**
 * Answers how long a pipeline's history is kept, after a change, if there is one: it stands above what the definition
 * says. A run at work goes by it from its next look on. Throws `UnknownPipeline`, and `BadUsage` for bounds that mean
 * nothing.
 */
export async function retainLog(
  log: EventLog,
  pipeline: string,
  change?: RetentionChange,
): Promise<RetentionReport> {
  const { clock } = createSurroundings();
  const policy = change && policyOf(change);
  if ((await currentDeployment(log, pipeline)) === undefined) throw unknownPipeline(pipeline);
  if (change !== undefined) await setPolicy({ log, clock }, pipeline, policy);
  const settings = new RetentionSettings(log, pipeline);
  await settings.refresh();
  const { inForce, byCommand, byDefinition: definition } = settings;
  const defined = Object.keys(definition).length > 0;
  const by = byCommand !== undefined ? "command" : defined ? "definition" : null;
  const held: { replay: string; until: string }[] = [];
  for (const { name, until } of await unfinishedReplays(log, pipeline)) {
    if (clock.now() < until) held.push({ replay: name, until: new Date(until).toISOString() });
  }
  return { pipeline, inForce, by, definition, held };
}

function policyOf(change: RetentionChange): RetentionPolicy | undefined {
  if (change.kind === "as-defined") return undefined;
  if (change.kind === "forever") return {};
  const options = Object.fromEntries([...change.bounds].map(([tier, text]) => [tier, boundsIn(tier, text)]));
  try {
    return retentionPolicy(options as RetentionOptions, "");
  } catch (error) {
    if (!isHeadwaterError(error, "BadPipeline")) throw error;
    throw badBounds(error.message, error.where?.slice(1) ?? "");
  }
}

function boundsIn(tier: RetentionTier, text: string): Record<string, unknown> {
  const bounds: Record<string, unknown> = {};
  for (const part of text.split(",")) {
    const [, name = "", value = ""] = /^(age|size|events)=(.+)$/.exec(part) ?? [];
    if (name === "" || name in bounds) throw badBounds(`not a bound: ${JSON.stringify(part)}`, tier);
    bounds[name] = name === "events" || /^\d+$/.test(value) ? Number(value) : value;
  }
  return bounds;
}

function badBounds(message: string, tier: string): HeadwaterError {
  return new HeadwaterError("BadUsage", message, {
    where: `--${tier}`,
    hint: "Write it like age=7d, size=1GB, events=100000, or several of them with commas between.",
  });
}
