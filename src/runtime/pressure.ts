/** What a unit of work is doing. */
export type Activity =
  /** There is nothing for it to do. */
  | { readonly kind: "waiting" }
  | { readonly kind: "working" }
  /** Its append is on the way. */
  | { readonly kind: "log" }
  /** It waits for somebody outside: where its output goes. `reason`: what keeps it waiting. */
  | { readonly kind: "outside"; readonly reason?: string }
  /** A door waits until less is in flight. */
  | { readonly kind: "held" };

/** For how long something kept doors from taking in more. */
export interface HoldUp {
  /** `segment G`, `sink K`, or `log`. */
  readonly by: string;
  /** What it waited for last, if that was outside. */
  readonly reason: string | undefined;
  readonly ms: number;
}

/**
 * Who holds back whom. While a door waits for room, those are to blame that still have to do with what is in flight
 * and are not waiting for it themselves: the time is parted among them.
 */
export class Pressure {
  readonly #isBehind: (unit: string) => boolean;
  readonly #onOutside: (unit: string, reason: string) => void;
  readonly #now = new Map<string, Activity>();
  readonly #held = new Set<string>();
  readonly #ms = new Map<string, number>();
  readonly #reasons = new Map<string, string>();
  #accountedAt = 0;

  /**
   * `isBehind`: whether there is something in flight that is not through a unit yet. `onOutside` is called when a unit
   * waits for somebody outside and says why.
   */
  constructor(
    isBehind: (unit: string) => boolean,
    onOutside: (unit: string, reason: string) => void = () => {},
  ) {
    this.#isBehind = isBehind;
    this.#onOutside = onOutside;
  }

  /** A unit does something else from now on, by the monotonic clock. */
  enters(unit: string, activity: Activity, now: number): void {
    this.#account(now);
    this.#now.set(unit, activity);
    if (activity.kind === "held") this.#held.add(unit);
    else this.#held.delete(unit);
    if (activity.kind === "outside" && activity.reason !== undefined) {
      this.#reasons.set(groupOf(unit, activity), activity.reason);
      this.#onOutside(unit, activity.reason);
    }
  }

  /** A unit is let go of. */
  leaves(unit: string, now: number): void {
    this.#account(now);
    this.#now.delete(unit);
    this.#held.delete(unit);
  }

  /** Who held doors back until `now`, and how long; the worst first. */
  holdUps(now: number): readonly HoldUp[] {
    this.#account(now);
    return [...this.#ms]
      .map(([by, ms]) => ({ by, ms, reason: this.#reasons.get(by) }))
      .sort((a, b) => b.ms - a.ms);
  }

  #account(now: number): void {
    const ms = now - this.#accountedAt;
    this.#accountedAt = now;
    if (this.#held.size === 0 || ms <= 0) return;
    const guilty = new Set<string>();
    for (const [unit, activity] of this.#now) {
      const busy = activity.kind !== "waiting" && activity.kind !== "held";
      if (busy && this.#isBehind(unit)) guilty.add(groupOf(unit, activity));
    }
    for (const group of guilty) this.#ms.set(group, (this.#ms.get(group) ?? 0) + ms / guilty.size);
  }
}

function groupOf(unit: string, { kind }: Activity): string {
  if (kind === "log") return "log";
  const at = unit.indexOf(":");
  const name = unit.slice(at + 1);
  return unit.startsWith("partition:") ? `segment ${name.slice(0, name.lastIndexOf("."))}` : `sink ${name}`;
}
