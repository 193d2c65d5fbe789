import { HeadwaterError } from "../core/errors.ts";
import type { EffectCall, EffectPlan } from "../pipeline/effects.ts";
import type { RecordPlace } from "./effect-key.ts";

/** An effect that a stage's function wants the outcome of. */
export interface EffectRequest {
  /** N of the input, and which of its rows at the stage, from 0. */
  readonly n: number;
  readonly k: number;
  /** Of the record. */
  readonly ordinal: number;
  readonly stage: string;
  readonly name: string;
  /** Where the record is at the stage, as `key` has it. */
  readonly at: RecordPlace;
  /** See "effects_" in docs/format.md. */
  readonly key: string;
  /** How many failures of this effect the record was given before. */
  readonly turn: number;
  /** How many calls it took until then. */
  readonly callsBefore: number;
  readonly plan: EffectPlan;
  readonly fn: (call: EffectCall) => unknown;
}

/** What became of an effect, as it is kept. */
export interface EffectOutcome {
  readonly kind: "value" | "nothing" | "failed" | "timedOut";
  /** Canonical bytes: of the value, or of an {@link EffectFailure}; empty for nothing. */
  readonly bytes: Uint8Array;
  /** How often it was called for this outcome. */
  readonly calls: number;
  /** It was in the log already: nobody has waited for the outside. */
  readonly served: boolean;
}

/** Why an effect failed, as it is kept: plain data, so that whoever catches it gets the same when it is run again. */
export interface EffectFailure {
  readonly message: string;
  /** The class of what was thrown. */
  readonly name?: string;
  readonly code?: string | number;
  /** Where its result had no canonical form; of a call that came to its end, which is so not made again. */
  readonly path?: string;
}

/** The path of a result as a whole. */
export const WHOLE_RESULT = "$";

/** A stage, and the N of the input whose function it waits for. */
export interface WaitingPlace {
  readonly stage: string;
  readonly n: number;
}

/** What failed, and is tried again. */
export interface TriedAgain {
  readonly place: WaitingPlace;
  readonly error: unknown;
}

/**
 * The world outside of an engine, as its owner lets it be reached. One owner calls, and records; another, who runs
 * again what was recorded, serves from the log. It decides nothing: the same outcomes give the same rows.
 */
export interface Outside {
  /** Aborted when the batch is not wanted any more, with the reason. */
  readonly signal: AbortSignal;
  /**
   * What became of an effect, once it is certain to be found again. Of those of one record, outcomes are given in the
   * order in which they are kept. Rejects when the batch cannot go on: `Stopped`, `EffectMissing`, what the log throws.
   */
  effect(request: EffectRequest): Promise<EffectOutcome>;
  /** Resolves after `ms`; `before`: a stage is tried again then. */
  wait(ms: number, before?: TriedAgain): Promise<void>;
  /** Is told what is waited for, and with `undefined` that it is not any more. */
  waitsFor?(place: WaitingPlace | undefined): void;
}

/** Of an engine that runs where nothing outside can be reached. */
export const NO_OUTSIDE: Outside = {
  signal: new AbortController().signal,
  effect: () => Promise.reject(unreachable()),
  wait: () => Promise.reject(unreachable()),
};

function unreachable(): HeadwaterError {
  return new HeadwaterError("Internal", "an engine without an outside was asked to reach it");
}
