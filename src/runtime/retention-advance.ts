import { RETENTION_TIERS, type RetentionPolicy, type RetentionTier } from "../core/events.ts";
import { LIMITS } from "../core/limits.ts";

/** A stream that may be let go of in part. */
export interface KeptStream {
  readonly stream: string;
  /** The first and the last revision that can be read. */
  readonly first: number;
  readonly last: number;
  /** Data and metadata of the events that can be read. */
  readonly bytes: number;
}

/** What a policy wants of one stream; each bound lets go of what is beyond it. */
export interface StreamBounds {
  /** Events before this time, in milliseconds since 1970. */
  readonly olderThan?: number;
  /** All but the last so many bytes. */
  readonly bytes?: number;
  /** All but the last so many events. */
  readonly events?: number;
}

/** What the names of the streams of each tier begin with. */
export const TIER_KINDS = {
  payload: ["payload"],
  steps: ["source", "steps", "sink", "supervisor"],
  effects: ["effects"],
  state: ["state"],
} as const satisfies Record<RetentionTier, readonly string[]>;

/** The tier of a stream; `undefined` for those that no policy is about. */
export function tierOf(stream: string): RetentionTier | undefined {
  const kind = stream.slice(0, stream.indexOf("_"));
  return RETENTION_TIERS.find((tier) => (TIER_KINDS[tier] as readonly string[]).includes(kind));
}

/**
 * What a policy wants of each stream: bounds of a tier are parted by what each of its streams has, so that all of them
 * are let go of at the same pace. Those of which it wants nothing are not there.
 */
export function boundsOf(
  policy: RetentionPolicy,
  streams: readonly KeptStream[],
  now: number,
): ReadonlyMap<string, StreamBounds> {
  const bounds = new Map<string, StreamBounds>();
  for (const tier of RETENTION_TIERS) {
    const rule = policy[tier];
    if (rule === undefined) continue;
    const members = streams.filter(({ stream }) => tierOf(stream) === tier);
    const bytes = members.reduce((sum, one) => sum + one.bytes, 0);
    const events = members.reduce((sum, one) => sum + countOf(one), 0);
    for (const member of members) {
      const wanted: StreamBounds = {
        ...(rule.ageMs !== undefined && { olderThan: now - rule.ageMs }),
        ...(rule.bytes !== undefined &&
          bytes > rule.bytes && { bytes: Math.floor((rule.bytes * member.bytes) / bytes) }),
        ...(rule.events !== undefined &&
          events > rule.events && { events: Math.floor((rule.events * countOf(member)) / events) }),
      };
      if (Object.keys(wanted).length > 0) bounds.set(member.stream, wanted);
    }
  }
  return bounds;
}

/** How much of a stream has to be beyond what is to be kept: what one is let go of for, or what goes along with it. */
export type AdvancePart = "due" | "along";

const PARTS = { due: LIMITS.retentionPart, along: LIMITS.retentionAlongPart } as const satisfies Record<
  AdvancePart,
  number
>;

/**
 * The revision below which a stream is let go of, given below which it is `wanted` and from which on it is `needed`.
 * `undefined`: nothing is, or too little. The last event stays: the next one is linked to it.
 */
export function advanceOf(
  { first, last }: Pick<KeptStream, "first" | "last">,
  wanted: number,
  needed: number = Number.POSITIVE_INFINITY,
  part: AdvancePart = "due",
): number | undefined {
  const before = Math.min(wanted, needed, last);
  const least = Math.max(1, Math.ceil((last - first + 1) * PARTS[part]));
  return before - first >= least ? before : undefined;
}

export function countOf({ first, last }: Pick<KeptStream, "first" | "last">): number {
  return Math.max(0, last - first + 1);
}
