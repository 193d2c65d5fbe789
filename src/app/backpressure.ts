import type { Plan, Upstream } from "../pipeline/plan.ts";
import type { HoldUp } from "../runtime/pressure.ts";
import type { Backpressure } from "./run-types.ts";

const MS_PER_SECOND = 1_000;
/** Less of a run's time than this, or less than this altogether, is not worth a word. */
const LEAST_SHARE = 0.01;
const LEAST_MS = 500;
/** Looks at progress that are compared, and the share of the time between them that makes somebody the one to name. */
const LOOKS = 10;
const NAMED_SHARE = 0.5;
/** The share of the time for which somebody has to compute to be the one that holds back others in its thread. */
const COMPUTING_SHARE = 0.5;
const COMPUTES = "it computes, and nothing else in this thread does meanwhile; --executor threads parts them";

/** Who held back whom in a run of so many seconds. */
export function backpressureOf(plan: Plan, holdUps: readonly HoldUp[], seconds: number): Backpressure[] {
  return holdUps
    .map((holdUp) => ({ ...holdUp, ...heldBy(holdUp, seconds * MS_PER_SECOND) }))
    .filter(({ ms }) => ms >= LEAST_MS)
    .map(({ by, reason, ms }) => ({
      by: nameOf(plan, by),
      ...(reason !== undefined && { reason }),
      chain: chainOf(plan, by),
      seconds: ms / MS_PER_SECOND,
      share: ms / MS_PER_SECOND / seconds,
    }))
    .filter(({ share }) => share >= LEAST_SHARE);
}

/** Says of one look after the other who holds back the rest at the time. */
export class HeldBack {
  readonly #plan: Plan;
  #looks: { readonly at: number; readonly holdUps: readonly HoldUp[] }[] = [];

  constructor(plan: Plan) {
    this.#plan = plan;
  }

  /** `holdUps` are those of the run until `now`, in milliseconds by the monotonic clock. */
  look(now: number, holdUps: readonly HoldUp[]): Pick<Backpressure, "by" | "reason"> | undefined {
    this.#looks.push({ at: now, holdUps });
    if (this.#looks.length <= LOOKS) return undefined;
    const before = this.#looks.shift();
    const sinceMs = now - (before?.at ?? now);
    for (const holdUp of holdUps) {
      const { by } = holdUp;
      const then = before?.holdUps.find((other) => other.by === by);
      const since = {
        ...holdUp,
        ms: holdUp.ms - (then?.ms ?? 0),
        computedMs: holdUp.computedMs - (then?.computedMs ?? 0),
      };
      const { ms, reason } = heldBy(since, sinceMs);
      if (ms < NAMED_SHARE * sinceMs) continue;
      return { by: nameOf(this.#plan, by), ...(reason !== undefined && { reason }) };
    }
    return undefined;
  }
}

/** Whoever computes in the thread of all for most of the time holds back the rest by that. */
function heldBy({ ms, computedMs, reason }: HoldUp, ofMs: number): Pick<HoldUp, "ms" | "reason"> {
  if (computedMs < COMPUTING_SHARE * ofMs) return { ms, reason };
  return { ms: ms + computedMs, reason: reason ?? COMPUTES };
}

function nameOf(plan: Plan, by: string): string {
  const segment = plan.segments.find(({ name }) => by === `segment ${name}`);
  if (segment === undefined) return by;
  const stages = segment.stages.map(({ definition }) => definition.name);
  return `${stages.length === 1 ? "stage" : "stages"} ${stages.join(", ")}`;
}

/** From the one to blame up to the sources, each once. */
function chainOf(plan: Plan, by: string): string[] {
  const chain = [by];
  for (const name of chain)
    for (const above of aboveOf(plan, name)) if (!chain.includes(above)) chain.push(above);
  return chain.map((name) => nameOf(plan, name));
}

function aboveOf(plan: Plan, name: string): string[] {
  const sink = plan.sinks.find((other) => name === `sink ${other.name}`);
  if (sink !== undefined) return [nodeOf(sink.upstream)];
  return plan.segments.find((other) => name === `segment ${other.name}`)?.upstreams.map(nodeOf) ?? [];
}

function nodeOf({ from }: Upstream): string {
  return "source" in from ? `source ${from.source}` : `segment ${from.segment}`;
}
