import type { NoParameters } from "./parameters.ts";

/**
 * What a stage's function gets beside the record. All of it follows from the record's place in history, so
 * that running the function again, anywhere, gives the same. Valid only during the call it was handed to, up to
 * its first `await`.
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
}
