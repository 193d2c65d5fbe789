import { HeadwaterError } from "../core/errors.ts";
import {
  RETENTION_TIERS,
  type RetentionPolicy,
  type RetentionRule,
  type RetentionTier,
} from "../core/events.ts";
import { type Duration, durationMs } from "./duration.ts";
import { type Size, sizeBytes } from "./size.ts";

/** How much of a tier is kept. Each bound lets go of what is beyond it; one has to be given. */
export interface RetentionBounds {
  /** What is older is let go of. */
  readonly age?: Duration;
  /** Of all streams of the tier together. */
  readonly size?: Size;
  /** Events of all streams of the tier together. An event has many records when there are many. */
  readonly events?: number;
}

/**
 * How long history is kept, a tier each; without bounds for ever. `payload`: the records that are kept. `steps`: what
 * happened to them, with all that it refers to. `effects`: results of effects. `state`: snapshots. Nothing is let go of that a partition, a sink, or the Merkle tree still needs.
 */
export type RetentionOptions = { readonly [Tier in RetentionTier]?: RetentionBounds };

const BOUNDS: readonly string[] = ["age", "size", "events"] satisfies (keyof RetentionBounds)[];

/** Options as a policy. Throws `BadPipeline` for what means nothing. */
export function retentionPolicy(options: RetentionOptions, where: string): RetentionPolicy {
  const policy: { [Tier in RetentionTier]?: RetentionRule } = {};
  for (const [tier, bounds] of Object.entries(options ?? {})) {
    if (!isTier(tier)) {
      const hint = `There are ${RETENTION_TIERS.join(", ")}.`;
      throw new HeadwaterError("BadPipeline", `there is no tier ${JSON.stringify(tier)}`, { where, hint });
    }
    if (bounds !== undefined) policy[tier] = ruleOf(bounds, `${where}.${tier}`);
  }
  return policy;
}

function isTier(text: string): text is RetentionTier {
  return (RETENTION_TIERS as readonly string[]).includes(text);
}

function ruleOf(bounds: RetentionBounds, where: string): RetentionRule {
  const { age, size, events } = bounds;
  const unknown = Object.keys(bounds).find((name) => !BOUNDS.includes(name));
  const none = age === undefined && size === undefined && events === undefined;
  if (unknown !== undefined || none) {
    const message =
      unknown === undefined ? "a tier has no bound" : `a tier has no bound ${JSON.stringify(unknown)}`;
    throw new HeadwaterError("BadPipeline", message, {
      where,
      hint: `It has ${BOUNDS.join(", ")}; leave the tier out to keep it for ever.`,
    });
  }
  if (events !== undefined && !(Number.isSafeInteger(events) && events >= 1)) {
    throw new HeadwaterError(
      "BadPipeline",
      `events has to be a whole number from 1 on, not ${String(events)}`,
      { where },
    );
  }
  return {
    ...(age !== undefined && { ageMs: durationMs(age, "the age", where, 1) }),
    ...(size !== undefined && { bytes: sizeBytes(size, where) }),
    ...(events !== undefined && { events }),
  };
}
