import { decodeCanonical } from "../core/canonical.ts";
import { HeadwaterError } from "../core/errors.ts";
import { LIMITS } from "../core/limits.ts";
import { badEffect, type EffectCall, type EffectOptions, effectPlan } from "../pipeline/effects.ts";
import { effectKey, type RecordPlace } from "./effect-key.ts";
import {
  type EffectFailure,
  type EffectOutcome,
  type EffectRequest,
  type Outside,
  type WaitingPlace,
  WHOLE_RESULT,
} from "./outside.ts";

export interface StageEffectsOptions {
  readonly pipeline: string;
  readonly stage: string;
  readonly outside: Outside;
  /** N of a row's input, which of its rows at the stage it is, from 0, and its ordinal. */
  numberOf(row: number): { readonly n: number; readonly k: number; readonly ordinal: number };
  placeOf(row: number): RecordPlace;
}

/** What the effects of one record at one stage have come to, name by name: failures, and at last a value. */
type RowOutcomes = Map<string, EffectOutcome[]>;

/**
 * The effects of a stage's functions in one batch. It remembers what each row was given: when the stage is tried again
 * at a row, what it had a value from is not called again.
 */
export class StageEffects {
  readonly options: StageEffectsOptions;
  readonly #rows = new Map<number, RowOutcomes>();
  #failed: Promise<never> | undefined;
  #fail: (error: unknown) => void = () => {};
  #letGo: () => void = () => {};

  constructor(options: StageEffectsOptions) {
    this.options = options;
  }

  /** Rejects when the batch cannot go on, whatever functions are waiting for. */
  get failed(): Promise<never> {
    if (this.#failed === undefined) {
      const { signal } = this.options.outside;
      this.#failed = new Promise<never>((_, reject) => {
        this.#fail = reject;
      });
      this.#failed.catch(() => {});
      const stopped = () => this.#fail(signal.reason);
      if (signal.aborted) stopped();
      signal.addEventListener("abort", stopped, { once: true });
      this.#letGo = () => signal.removeEventListener("abort", stopped);
    }
    return this.#failed;
  }

  /** A row's outcomes so far. */
  outcomesOf(row: number): RowOutcomes {
    let outcomes = this.#rows.get(row);
    if (outcomes === undefined) {
      outcomes = new Map();
      this.#rows.set(row, outcomes);
    }
    return outcomes;
  }

  /** Says for which row the stage waits; `undefined`: for none any more. */
  waitsFor(row: number | undefined): void {
    this.options.outside.waitsFor?.(row === undefined ? undefined : this.#waitingAt(row));
  }

  /** Waits before the stage is tried again at a row, where it failed with `error`. */
  waitToTryAgain(row: number, ms: number, error: unknown): Promise<void> {
    return this.options.outside.wait(ms, { place: this.#waitingAt(row), error });
  }

  #waitingAt(row: number): WaitingPlace {
    const { stage, numberOf } = this.options;
    return { stage, n: numberOf(row).n };
  }

  cannotGoOn(error: unknown): void {
    void this.failed;
    this.#fail(error);
  }

  /** Where the row is, and what tells its effect from all others, as text. */
  placeOf(row: number, name: string): Pick<EffectRequest, "at" | "key"> {
    const { pipeline, stage, placeOf } = this.options;
    const at = placeOf(row);
    return { at, key: effectKey(pipeline, at, stage, name) };
  }

  /** Lets go of the outside, until it is waited for again. */
  close(): void {
    this.#letGo();
    this.#failed = undefined;
  }
}

/** How many failures of each effect a row was given in the tries so far. */
export type Turns = Map<string, number>;

/** The effects that one call of a stage's function has begun. */
export class EffectTry {
  readonly #effects: StageEffects;
  readonly #row: number;
  readonly #turns: Turns;
  readonly #names = new Set<string>();
  readonly #pending = new Set<Promise<unknown>>();
  /** How effects were used wrongly: the record fails with it, whatever its function makes of it. */
  misuse: HeadwaterError | undefined;
  /** It was given a failure that was in the log: there is nothing to wait for. */
  servedFailure = false;
  #answered = false;

  constructor(effects: StageEffects, row: number, turns: Turns) {
    this.#effects = effects;
    this.#row = row;
    this.#turns = turns;
  }

  get pending(): boolean {
    return this.#pending.size > 0;
  }

  /** The function has answered: no effect can begin any more. */
  answered(): void {
    this.#answered = true;
  }

  /** Resolves when all effects that were begun have ended. */
  async ended(): Promise<void> {
    while (this.#pending.size > 0) await Promise.allSettled(this.#pending);
  }

  /** See `EffectContext.effect`. */
  begin(name: unknown, fn: unknown, options: EffectOptions | undefined): Promise<unknown> {
    const { stage } = this.#effects.options;
    if (this.#answered) {
      const late = Promise.reject(tooLate(name, stage));
      // Whoever calls it that late often waits for nothing any more: that must not end the process.
      late.catch(() => {});
      return late;
    }
    let outcome: Promise<unknown>;
    try {
      const checked = this.#claimName(name);
      if (typeof fn !== "function") {
        throw badEffect(
          `the effect ${checked} has no function`,
          `stage ${stage}`,
          'Give one that makes the call: ctx.effect("name", ({ key, signal }) => …).',
        );
      }
      const plan = effectPlan(options, `stage ${stage}, effect ${checked}`);
      outcome = this.#outcomeOf(checked, fn as (call: EffectCall) => unknown, plan);
    } catch (error) {
      this.misuse ??= error as HeadwaterError;
      outcome = Promise.reject(error);
    }
    this.#pending.add(outcome);
    const done = () => this.#pending.delete(outcome);
    // A function need not wait for what it has begun; what becomes of it is kept all the same.
    outcome.then(done, done);
    return outcome;
  }

  #claimName(name: unknown): string {
    const where = `stage ${this.#effects.options.stage}`;
    if (typeof name !== "string" || name === "") {
      throw badEffect(
        "an effect has no name",
        where,
        'Name it, so that its result can be found again: ctx.effect("name", …).',
      );
    }
    if (name.length > LIMITS.effectNameChars || !name.isWellFormed()) {
      throw badEffect(
        `an effect's name is no text of at most ${LIMITS.effectNameChars} characters: ${JSON.stringify(name.slice(0, LIMITS.nameChars))}`,
        where,
        "Name what is called; what it is called with belongs into the call.",
      );
    }
    if (this.#names.has(name)) {
      throw badEffect(
        `the effect ${name} is used twice by one record`,
        where,
        `Give each call a name of its own, such as ${name}-1 and ${name}-2, so that their results can be told apart.`,
      );
    }
    this.#names.add(name);
    return name;
  }

  async #outcomeOf(
    name: string,
    fn: (call: EffectCall) => unknown,
    plan: ReturnType<typeof effectPlan>,
  ): Promise<unknown> {
    const known = this.#effects.outcomesOf(this.#row);
    let outcomes = known.get(name);
    if (outcomes === undefined) {
      outcomes = [];
      known.set(name, outcomes);
    }
    const turn = this.#turns.get(name) ?? 0;
    let outcome = outcomes[turn];
    if (outcome === undefined) {
      const { options } = this.#effects;
      const { outside, stage, numberOf } = options;
      const callsBefore = outcomes.reduce((sum, { calls }) => sum + calls, 0);
      const place = this.#effects.placeOf(this.#row, name);
      const request = { ...numberOf(this.#row), ...place, stage, name, turn, callsBefore, plan, fn };
      try {
        outcome = await outside.effect(request);
      } catch (error) {
        this.#effects.cannotGoOn(error);
        throw error;
      }
      outcomes[turn] = outcome;
    }
    if (outcome.kind === "value") return decodeCanonical(outcome.bytes);
    if (outcome.kind === "nothing") return undefined;
    const failure = decodeCanonical(outcome.bytes) as unknown as EffectFailure;
    // One with a path has had its effect: another call would have it once more, and give no better result.
    if (failure.path === undefined) this.#turns.set(name, turn + 1);
    this.servedFailure ||= outcome.served;
    throw errorOf(name, outcome.kind, failure);
  }
}

/** What the function gets: the same whenever it is run again. */
function errorOf(name: string, kind: EffectOutcome["kind"], failure: EffectFailure): HeadwaterError {
  const { message, path, ...cause } = failure;
  const where = `effect ${name}${path === undefined || path === WHOLE_RESULT ? "" : `, ${path}`}`;
  return kind === "timedOut"
    ? new HeadwaterError("EffectTimedOut", `the effect ${name} had no answer ${message}`, { where })
    : new HeadwaterError("EffectFailed", `the effect ${name} failed: ${message}`, { where, cause });
}

function tooLate(name: unknown, stage: string): HeadwaterError {
  return badEffect(
    `the effect ${String(name)} was called after the function had answered, and is not made`,
    `stage ${stage}`,
    "Wait for everything that the function begins before it answers.",
  );
}
