import { type ErrorCode, isHeadwaterError } from "../core/errors.ts";
import { LIMITS } from "../core/limits.ts";
import { type FunctionStage, keepAnswer, TAKE, tooManyOutputs } from "./answers.ts";
import { backoffMs } from "./backoff.ts";
import { ANSWERED, type RowContext } from "./context.ts";
import { isThenable } from "./promises.ts";
import type { StageEffects } from "./stage-effects.ts";
import type { StageOutput } from "./stage-output.ts";

/** What a stage's function works on: the stage's inputs for one batch. */
export interface FunctionInput {
  readonly count: number;
  readonly records: readonly unknown[];
  /** A row's record as it came, for another call: the one before may have changed it. */
  recordAgain(row: number): unknown;
  /** Rows at which the stage fails because too much comes out of the segment's input that they descend from. */
  readonly refused: ReadonlySet<number> | undefined;
  readonly effects: StageEffects;
  /** Called before the function is for a row; throws why it is not to be. */
  enter(row: number): void;
  /** No function is being called any more, after one that was tried again. */
  leave(): void;
  /** The context of a call; `before` is that of the call before it, where the stage is tried again. */
  contextOf(row: number, before?: RowContext): RowContext;
}

/**
 * Calls the stage's function for every record and hands each answer to `output` before the next call, so that an
 * object that a function uses again is taken as it was. From the first record on that has to be waited for (its
 * function answered a promise, has begun effects, or is to be tried again), others go on meanwhile, a bounded number
 * at a time; the order of records stays.
 */
export function runFunction(
  definition: FunctionStage,
  input: FunctionInput,
  output: StageOutput,
): Promise<void> | undefined {
  const { kind, fn, retry } = definition;
  const take = TAKE[kind];
  const { records, refused } = input;
  for (let row = 0; row < input.count; row++) {
    const ctx = input.contextOf(row);
    let answer: unknown;
    try {
      input.enter(row);
      if (refused?.has(row)) throw tooManyOutputs();
      answer = fn(records[row], ctx);
      if (isThenable(answer))
        return new WaitingRows(definition, input, output).from(row, { ctx, promise: answer });
    } catch (error) {
      const begun = ctx[ANSWERED]();
      if (begun !== undefined || (retry !== undefined && mayBeOtherwise(error))) {
        return new WaitingRows(definition, input, output).from(row, { ctx, error });
      }
      output.fail(error, retry && 1);
      continue;
    }
    if (ctx[ANSWERED]() !== undefined) {
      return new WaitingRows(definition, input, output).from(row, kept(kind, ctx, answer));
    }
    take(answer, records[row], output, definition);
  }
  return undefined;
}

/** A call of the stage's function, begun. */
type Call = { readonly ctx: RowContext } & Outcome;
type Outcome =
  | { readonly promise: PromiseLike<unknown> }
  | { readonly value: unknown }
  | { readonly error: unknown };

/** What a record has come to. */
type Settled = { readonly value: unknown } | { readonly error: unknown; readonly attempts: number };

/** An answer that is taken later. */
function kept(kind: FunctionStage["kind"], ctx: RowContext, answer: unknown): Call {
  try {
    return { ctx, value: keepAnswer(kind, answer) };
  } catch (error) {
    return { ctx, error };
  }
}

/** The rest of a batch, from the first record on that has to be waited for. */
class WaitingRows {
  readonly #definition: FunctionStage;
  readonly #input: FunctionInput;
  readonly #output: StageOutput;

  constructor(definition: FunctionStage, input: FunctionInput, output: StageOutput) {
    this.#definition = definition;
    this.#input = input;
    this.#output = output;
  }

  /** `begun` is the call for the record `from`. */
  async from(from: number, begun: Call): Promise<void> {
    const { count, records } = this.#input;
    // Others use the arena while this waits.
    this.#output.leaveArena();
    const take = TAKE[this.#definition.kind];
    const started: (Settled | Promise<Settled> | undefined)[] = [this.#settle(from, begun)];
    for (let row = from; row < count; row++) {
      while (started.length < Math.min(count, row + LIMITS.waitingRecords) - from) {
        started.push(this.#start(from + started.length));
      }
      const one = started[row - from] as Settled | Promise<Settled>;
      started[row - from] = undefined;
      const settled = one instanceof Promise ? await this.#waited(row, one) : one;
      if ("error" in settled) {
        this.#output.fail(settled.error, this.#definition.retry && settled.attempts);
      } else {
        take(settled.value, records[row], this.#output, this.#definition);
      }
    }
  }

  async #waited(row: number, one: Promise<Settled>): Promise<Settled> {
    const { effects } = this.#input;
    effects.waitsFor(row);
    try {
      return await Promise.race([one, effects.failed]);
    } finally {
      effects.waitsFor(undefined);
    }
  }

  #start(row: number): Settled | Promise<Settled> {
    const call = this.#call(row, this.#input.contextOf(row), this.#input.records[row]);
    const { retry } = this.#definition;
    if ("promise" in call || call.ctx[ANSWERED]() !== undefined) return this.#settle(row, call);
    if ("value" in call) return call;
    if (retry !== undefined && mayBeOtherwise(call.error)) return this.#settle(row, call);
    return { error: call.error, attempts: 1 };
  }

  #call(row: number, ctx: RowContext, record: unknown): Call {
    const { kind, fn } = this.#definition;
    const { refused } = this.#input;
    try {
      this.#input.enter(row);
      if (refused?.has(row)) throw tooManyOutputs();
      const answer: unknown = fn(record, ctx);
      return isThenable(answer) ? { ctx, promise: answer } : kept(kind, ctx, answer);
    } catch (error) {
      return { ctx, error };
    }
  }

  /** Never rejects: what keeps the batch from going on is told to its effects. */
  async #settle(row: number, begun: Call): Promise<Settled> {
    const { contextOf, recordAgain, effects } = this.#input;
    const { retry } = this.#definition;
    for (let call = begun, attempt = 1; ; attempt++) {
      const outcome = "promise" in call ? await settledOf(call.promise) : call;
      const effectsBegun = call.ctx[ANSWERED]();
      await effectsBegun?.ended();
      const misuse = effectsBegun?.misuse;
      if (misuse !== undefined) return { error: misuse, attempts: attempt };
      if ("value" in outcome) return { value: outcome.value };
      const { error } = outcome;
      if (retry === undefined || attempt > retry.times || !mayBeOtherwise(error)) {
        return { error, attempts: attempt };
      }
      if (effectsBegun?.servedFailure !== true) {
        try {
          await effects.waitToTryAgain(row, backoffMs(retry, attempt, effects.placeOf(row, "").key), error);
        } catch (stopped) {
          effects.cannotGoOn(stopped);
          return { error, attempts: attempt };
        }
      }
      call = this.#call(row, contextOf(row, call.ctx), recordAgain(row));
      this.#input.leave();
    }
  }
}

async function settledOf(
  promise: PromiseLike<unknown>,
): Promise<{ readonly value: unknown } | { readonly error: unknown }> {
  try {
    return { value: await promise };
  } catch (error) {
    return { error };
  }
}

/** What the same function makes of the same record, whatever the world outside is like. */
const CERTAIN: ReadonlySet<ErrorCode> = new Set<ErrorCode>([
  "BadEffect",
  "NodeLost",
  "NotCanonical",
  "RecordTooLarge",
  "StageFailed",
  "Withdrawn",
]);

/** Whether another try may come to something else. */
function mayBeOtherwise(error: unknown): boolean {
  return !(isHeadwaterError(error) && CERTAIN.has(error.code));
}
