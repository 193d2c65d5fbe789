/** A record on its way to a door. */
export interface IntakeRecord {
  readonly value?: unknown;
  readonly problem?: { readonly message: string; readonly field?: string };
  readonly line: number;
  readonly frame?: Uint8Array;
  /** See `InputRecord.unfinished`. */
  readonly unfinished?: true;
  /** See `InputRecord.end`; absent for what is not identified. */
  readonly end?: number;
  /** An ordinal given from outside: for tests and for copies of other logs. Has to be above all before it. */
  readonly ordinal?: number;
  /** It was rejected before and is put back: its I, and the name of the input that it came from. */
  readonly retried?: { readonly item: number; readonly input: string };
  /** Called when the record is durable, or was refused. */
  settle?(outcome: IntakeOutcome): void;
}

export type IntakeOutcome =
  | { readonly kind: "accepted"; readonly address: string }
  | { readonly kind: "duplicate" }
  | { readonly kind: "rejected"; readonly error: Error }
  | { readonly kind: "failed"; readonly error: unknown };
