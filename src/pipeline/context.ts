import type { EffectCall, EffectOptions } from "./effects.ts";
import type { NoParameters } from "./parameters.ts";

/**
 * What a stage's function gets beside the record. All of it follows from the record's place in history, so
 * that running the function again, anywhere, gives the same. Valid until the function has answered.
 *
 * `Values` are the stage's parameters: a function of its own takes a `StageContext<{ least: number }>`.
 */
export interface StageContext<Values = NoParameters> {
  /** The values of the stage's parameters, read-only; the same in all of a deployment. */
  readonly parameters: Values;
  /** Event time of the record in milliseconds since 1970; `undefined` if its source declares none. */
  readonly eventTime: number | undefined;
  /** The logical time of the record: see {@link ordinalToTime}. */
  readonly ordinal: number;
  /** Name of the source that the record descends from. */
  readonly source: string;
  /** Address of the record at its source, such as `source_orders.web@1234`. */
  readonly root: string;
  /** A number in [0, 1), the next of a sequence seeded by root, path and stage. */
  random(): number;
  /** A UUID, the next of the same sequence. */
  uuid(): string;
  /**
   * The record's logical time in milliseconds since 1970: that of its ordinal, when its door took it in. The same
   * whenever the function is run again, where `Date.now()` is not.
   */
  now(): number;
}

/** The context of a map, filter, flatMap or route: its function may wait, and so call the outside. */
export interface EffectContext<Values = NoParameters> extends StageContext<Values> {
  /**
   * Calls the outside, and keeps what became of it in the log: it is called once, and when the function is run again,
   * after a crash or in a replay, it is given the same without a call. Only a call whose result was not kept yet when
   * the process died is made again, with the same `key`.
   *
   * `name` tells the effect from others of the same record in the same stage: 1 to 128 characters. The result has to
   * be a value that a record may hold, or `undefined`; what comes back is a copy of it. Whatever is begun belongs to
   * the record: it is through when the function has answered and all its effects have ended.
   *
   * Rejects with `EffectFailed` when the call failed, or its result is no such value, `EffectTimedOut` when it did not
   * answer in time; both after the last try. The function may catch these: they are kept, too. Used wrongly
   * (`BadEffect`: without a name, twice under one name, after the function has answered) it fails the record.
   *
   * ```ts
   * .map("enriched", async (order, ctx) => {
   *   const customer = await ctx.effect("customer", ({ signal }) => fetchCustomer(order.customer, signal), {
   *     timeout: "2s",
   *     retry: { times: 3 },
   *   });
   *   return { ...order, customer };
   * })
   * ```
   */
  effect<T>(name: string, fn: (call: EffectCall) => T | Promise<T>, options?: EffectOptions): Promise<T>;
}
