import { LIMITS } from "../core/limits.ts";
import { THROUGH_NOTHING } from "../core/ordinal.ts";
import { Pressure } from "./pressure.ts";

/** What the units of a process have done since it started; the only thing they share beside the log. */
export interface Totals {
  read: number;
  accepted: number;
  duplicate: number;
  rejected: number;
  quarantined: number;
  late: number;
  /** Put back from quarantine, into stages and through doors. */
  retried: number;
  steps: number;
}

/** What a door has accepted at once. */
export interface AcceptedBatch {
  readonly door: string;
  /** Of the last record. */
  readonly ordinal: number;
  readonly records: number;
  readonly bytes: number;
}

/**
 * How far each unit of a pipeline in this process is, by ordinal. Doors wait on it, so that what is in flight
 * stays bounded; the run ends by it.
 */
export class ProgressBoard {
  readonly totals: Totals = {
    read: 0,
    accepted: 0,
    duplicate: 0,
    rejected: 0,
    quarantined: 0,
    late: 0,
    retried: 0,
    steps: 0,
  };
  readonly outputs = new Map<string, number>();
  /** How many records came too late for each window or join: a part of `totals.late` each. */
  readonly late = new Map<string, number>();
  /** Called when a unit waits for somebody outside and says why. */
  onOutside: (unit: string, reason: string, why: string | undefined) => void = () => {};
  /** Who holds back whom. */
  readonly pressure = new Pressure(
    (unit) => {
      const through = this.#through.get(unit);
      return through !== undefined && through < this.doorsThrough;
    },
    (unit, reason, why) => this.onOutside(unit, reason, why),
  );
  readonly #through = new Map<string, number>();
  readonly #doors = new Map<string, number>();
  /** Up to which I each partition and door has taken what was asked to be put back. */
  readonly #retries = new Map<string, number>();
  #putBack = THROUGH_NOTHING;
  readonly #onPutBack = new Set<() => void>();
  #ending = false;
  /** Batches that may not be through, each with its last ordinal. */
  readonly #batches: AcceptedBatch[] = [];
  #waiting: (() => void)[] = [];

  /** Makes a unit count; until it reports, nothing is through it. */
  expect(unit: string): void {
    if (!this.#through.has(unit)) this.#through.set(unit, THROUGH_NOTHING);
  }

  report(unit: string, through: number): void {
    this.#through.set(unit, Math.max(through, this.#through.get(unit) ?? THROUGH_NOTHING));
    this.#changed();
  }

  /** Up to which ordinal everything is through a unit. */
  throughOf(unit: string): number {
    return this.#through.get(unit) ?? THROUGH_NOTHING;
  }

  cameLate(stage: string, records: number): void {
    if (records === 0) return;
    this.totals.late += records;
    this.late.set(stage, records + (this.late.get(stage) ?? 0));
  }

  accept(batch: AcceptedBatch): void {
    this.totals.accepted += batch.records;
    this.#batches.push(batch);
  }

  /**
   * Whether so much of a door's is in flight that it has to wait. Only its own counts: what another door has in
   * flight may wait for this one to go on.
   */
  crowded(door: string): boolean {
    const { records, bytes } = this.#inFlight(door);
    return records >= LIMITS.inFlightRecords || bytes >= LIMITS.inFlightBytes;
  }

  /** Accepted records that are not through all units yet. */
  get pending(): number {
    return this.#inFlight().records;
  }

  /** A door's highest ordinal or promise. */
  reportDoor(unit: string, through: number): void {
    this.#doors.set(unit, Math.max(through, this.#doors.get(unit) ?? THROUGH_NOTHING));
    this.#changed();
  }

  /** Makes a partition or door count that takes what is put back from quarantine. */
  expectRetries(unit: string): void {
    if (!this.#retries.has(unit)) this.#retries.set(unit, 0);
  }

  /** A unit has taken all of its records that were asked for below this I. */
  reportRetries(unit: string, taken: number): void {
    if (taken <= (this.#retries.get(unit) ?? -1)) return;
    this.#retries.set(unit, taken);
    this.#changed();
  }

  /** All units have taken what was asked for below this I. */
  get retriesTaken(): number {
    return Math.min(Number.MAX_SAFE_INTEGER, ...this.#retries.values());
  }

  /** A record has come back into a partition with this ordinal: doors have to promise it. */
  reportPutBack(ordinal: number): void {
    if (ordinal <= this.#putBack) return;
    this.#putBack = ordinal;
    for (const listener of this.#onPutBack) listener();
    this.#changed();
  }

  /** Calls `listener` at each {@link reportPutBack}, until the returned function is called. */
  onPutBack(listener: () => void): () => void {
    this.#onPutBack.add(listener);
    return () => this.#onPutBack.delete(listener);
  }

  /** The highest ordinal of what came back into partitions. */
  get putBack(): number {
    return this.#putBack;
  }

  /** Says that no door will take in more: from now on `doorsThrough` is where the run ends. */
  noMoreInput(): void {
    this.#ending = true;
    this.#changed();
  }

  /** Whether who is complete up to `through` has seen the last record of the run. */
  allTaken(through: number): boolean {
    return this.#ending && through >= this.doorsThrough;
  }

  /** The highest ordinal or promise of all doors, and of what came back into partitions. */
  get doorsThrough(): number {
    return Math.max(this.#putBack, ...this.#doors.values());
  }

  /** What every expected unit has completed. */
  get through(): number {
    let through = Number.MAX_SAFE_INTEGER;
    for (const value of this.#through.values()) through = Math.min(through, value);
    return through;
  }

  /** The expected units that are furthest behind `ordinal`. */
  behind(ordinal: number): readonly string[] {
    return [...this.#through].filter(([, through]) => through < ordinal).map(([unit]) => unit);
  }

  /** Wakes who waits for a change that is not a report. */
  touch(): void {
    this.#changed();
  }

  /** Resolves at the next report, or when `signal` aborts. */
  changed(signal: AbortSignal): Promise<void> {
    if (signal.aborted) return Promise.resolve();
    return new Promise((resolve) => {
      const done = () => {
        signal.removeEventListener("abort", done);
        resolve();
      };
      signal.addEventListener("abort", done);
      this.#waiting.push(done);
    });
  }

  #changed(): void {
    const waiting = this.#waiting;
    this.#waiting = [];
    for (const wake of waiting) wake();
  }

  #inFlight(door?: string): { records: number; bytes: number } {
    const { through } = this;
    let done = 0;
    while ((this.#batches[done]?.ordinal ?? Number.POSITIVE_INFINITY) <= through) done++;
    this.#batches.splice(0, done);
    const sum = { records: 0, bytes: 0 };
    for (const batch of this.#batches) {
      if (door !== undefined && batch.door !== door) continue;
      sum.records += batch.records;
      sum.bytes += batch.bytes;
    }
    return sum;
  }
}
