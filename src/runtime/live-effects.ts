import { describeThrown, HeadwaterError } from "../core/errors.ts";
import type { EffectRange } from "../core/events.ts";
import type { EffectOutcome, EffectRequest, Outside, TriedAgain, WaitingPlace } from "../engine/outside.ts";
import { cutReason } from "../engine/thrown.ts";
import { sleep } from "../ports/clock.ts";
import { type CallDelay, type CallResult, callEffect, type RecordedOutcomes } from "./effect-calls.ts";
import type { EffectGates } from "./effect-gates.ts";
import { EffectLog, type EffectLogOptions } from "./effect-log.ts";
import type { LongWaits } from "./long-waits.ts";

export interface LiveEffectsOptions extends EffectLogOptions {
  readonly gates: EffectGates;
  readonly waits: LongWaits;
  /** Where outcomes are looked for before anything is called. */
  readonly recorded?: RecordedOutcomes | undefined;
}

/**
 * The outside of a partition's owner: calls effects, and keeps what comes of them before a function gets it. What a
 * former owner has kept is not called again.
 */
export class LiveEffects implements Outside {
  readonly signal: AbortSignal;
  readonly #options: LiveEffectsOptions;
  readonly #log: EffectLog;
  /** Effects that a function waits for, and that are not on their way to the log yet. */
  #underWay = 0;

  constructor(options: LiveEffectsOptions) {
    this.#options = options;
    this.signal = options.signal;
    this.#log = new EffectLog(options);
  }

  async effect(request: EffectRequest): Promise<EffectOutcome> {
    this.#underWay++;
    let kept: { readonly outcome: EffectOutcome; readonly added: Promise<void> } | undefined;
    try {
      await this.#log.open();
      kept = await this.#become(request);
    } finally {
      this.#underWay--;
      if (this.#underWay === 0) this.#log.flush();
    }
    await kept.added;
    return kept.outcome;
  }

  waitsFor(place: WaitingPlace | undefined): void {
    this.#options.waits.waitsFor(place);
  }

  async wait(ms: number, before?: TriedAgain): Promise<void> {
    if (before !== undefined) {
      const { place, error } = before;
      const dueAt = this.#options.clock.monotonic() + ms;
      const because = cutReason(describeThrown(error));
      this.#options.waits.delayed(place, "", { kind: "again", what: "it", dueAt, because });
    }
    await sleep(this.#options.clock, ms, this.signal);
    if (this.signal.aborted) throw this.signal.reason;
  }

  /** See {@link EffectLog.rangeUpTo}. */
  rangeUpTo(from: number | undefined, next: number): EffectRange | undefined {
    return this.#log.rangeUpTo(from, next);
  }

  async #call(request: EffectRequest): Promise<CallResult> {
    const { clock, gates, waits } = this.#options;
    const what = `its effect ${request.name}`;
    const onDelay = (delay: CallDelay | undefined) =>
      waits.delayed(request, request.key, delay && { ...delay, what });
    try {
      return await callEffect(request, { clock, gates, signal: this.signal, onDelay });
    } finally {
      onDelay(undefined);
    }
  }

  async #become(request: EffectRequest) {
    const { n, k, stage, name, key, turn } = request;
    const left = this.#log.leftOf(n, key, turn);
    if (left !== undefined) {
      const { kind, bytes, millis } = await this.#log.events.rowAt(left.place);
      const outcome: EffectOutcome = { kind, bytes, calls: 0, served: true };
      // What was given after another try then is given at once now: it counts from here on.
      const again = { n, k, stage, name, key, turn, kind, bytes, calls: 0, millis };
      return { outcome, added: left.turn === turn ? DONE : this.#log.add(again) };
    }
    const recorded = await this.#options.recorded?.outcomeOf(request);
    const result = recorded ?? (await this.#call(request));
    const { kind, bytes, calls } = result;
    const added = this.#log.add({ n, k, stage, name, key, turn, ...result });
    const served = recorded !== undefined;
    return { outcome: { kind, bytes, calls, served } satisfies EffectOutcome, added };
  }
}

const DONE = Promise.resolve();

/** The reason with which a worker's signal aborts. */
export function letGo(where: string): HeadwaterError {
  return new HeadwaterError("Stopped", "let go of while a batch was under way", { where });
}
