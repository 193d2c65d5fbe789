/** What a unit of work is doing. */
export type Activity =
  /** There is nothing for it to do. */
  | { readonly kind: "waiting" }
  | { readonly kind: "working" }
  /** Its append is on the way. */
  | { readonly kind: "log" }
  /** It waits for somebody outside: where its output goes. `reason`: what keeps it waiting; `why`: why that does. */
  | { readonly kind: "outside"; readonly reason?: string; readonly why?: string }
  /** A door waits until less is in flight. */
  | { readonly kind: "held" }
  /** A door's input is through: it waits for what is in flight to come to its end. */
  | { readonly kind: "ended" };

/** For how long something kept doors from taking in more, or what they had taken in from coming to its end. */
export interface HoldUp {
  /** `segment G`, `sink K`, or `log`. */
  readonly by: string;
  /** What it waited for last, if that was outside. */
  readonly reason: string | undefined;
  readonly ms: number;
  /** For how long it has let nothing else in this thread do anything meanwhile, beside that. */
  readonly computedMs: number;
}

/**
 * Who holds back whom. While a door waits for room, or all inputs are through, those are to blame that still have to do
 * with what is in flight and are not waiting for it themselves: the time is parted among them.
 */
export class Pressure {
  readonly #isBehind: (unit: string) => boolean;
  readonly #onOutside: (unit: string, reason: string, why: string | undefined) => void;
  readonly #now = new Map<string, Activity>();
  /** Doors that wait for room. */
  readonly #held = new Set<string>();
  /** Doors that work, or wait for their inputs. */
  readonly #open = new Set<string>();
  /** Doors whose input is through. */
  readonly #ended = new Set<string>();
  readonly #ms = new Map<string, number>();
  readonly #computedMs = new Map<string, number>();
  readonly #reasons = new Map<string, string>();
  #accountedAt = 0;

  /**
   * `isBehind`: whether there is something in flight that is not through a unit yet. `onOutside` is called when a unit
   * waits for somebody outside and says why.
   */
  constructor(
    isBehind: (unit: string) => boolean,
    onOutside: (unit: string, reason: string, why: string | undefined) => void = () => {},
  ) {
    this.#isBehind = isBehind;
    this.#onOutside = onOutside;
  }

  /** A unit does something else from now on, by the monotonic clock. */
  enters(unit: string, activity: Activity, now: number): void {
    this.#account(now);
    this.#now.set(unit, activity);
    if (unit.startsWith(DOOR)) this.#entersDoor(unit, activity);
    if (activity.kind === "outside" && activity.reason !== undefined) {
      this.#reasons.set(groupOf(unit, activity), activity.reason);
      this.#onOutside(unit, activity.reason, activity.why);
    }
  }

  /** The log has answered a unit that may not have heard of it yet. */
  answered(unit: string, now: number): void {
    if (this.#now.get(unit)?.kind === "log") this.enters(unit, { kind: "waiting" }, now);
  }

  /**
   * A unit has kept this thread for itself until `now`. Doors in it took nothing in for all that time, though none of
   * them had to wait for room.
   */
  computed(unit: string, from: number, now: number): void {
    this.#account(from);
    this.#accountedAt = now;
    const group = groupOf(unit, { kind: "working" });
    const total = this.#isHolding ? this.#ms : this.#computedMs;
    total.set(group, (total.get(group) ?? 0) + now - from);
  }

  /** A unit is let go of. */
  leaves(unit: string, now: number): void {
    this.#account(now);
    this.#now.delete(unit);
    this.#held.delete(unit);
    this.#open.delete(unit);
    this.#ended.delete(unit);
  }

  #entersDoor(unit: string, { kind }: Activity): void {
    if (kind === "held") this.#held.add(unit);
    else this.#held.delete(unit);
    if (kind === "ended") this.#ended.add(unit);
    else this.#ended.delete(unit);
    if (kind === "held" || kind === "ended") this.#open.delete(unit);
    else this.#open.add(unit);
  }

  /** Who held doors back until `now`, and how long; the worst first. */
  holdUps(now: number): readonly HoldUp[] {
    this.#account(now);
    return [...new Set([...this.#ms.keys(), ...this.#computedMs.keys()])]
      .map((by) => ({
        by,
        ms: this.#ms.get(by) ?? 0,
        computedMs: this.#computedMs.get(by) ?? 0,
        reason: this.#reasons.get(by),
      }))
      .sort((a, b) => b.ms + b.computedMs - a.ms - a.computedMs);
  }

  /** Whether a door waits for room, or all inputs are through. */
  get #isHolding(): boolean {
    return this.#held.size > 0 || (this.#ended.size > 0 && this.#open.size === 0);
  }

  #account(now: number): void {
    const ms = now - this.#accountedAt;
    this.#accountedAt = now;
    if (!this.#isHolding || ms <= 0) return;
    const guilty = new Set<string>();
    for (const [unit, activity] of this.#now) {
      const busy = activity.kind !== "waiting" && !unit.startsWith(DOOR);
      if (busy && this.#isBehind(unit)) guilty.add(groupOf(unit, activity));
    }
    for (const group of guilty) this.#ms.set(group, (this.#ms.get(group) ?? 0) + ms / guilty.size);
  }
}

const DOOR = "door:";

function groupOf(unit: string, { kind }: Activity): string {
  if (kind === "log") return "log";
  const at = unit.indexOf(":");
  const name = unit.slice(at + 1);
  return unit.startsWith("partition:") ? `segment ${name.slice(0, name.lastIndexOf("."))}` : `sink ${name}`;
}
