import { Arena } from "../core/arena.ts";
import type { QuarantinedFiring } from "../core/events.ts";
import { LIMITS } from "../core/limits.ts";
import { badAnswer, type FiringSubject, keptOfFiring, type StageFailure } from "./failures.ts";

/** What a result of a window or join is: see `kinds` in docs/format.md. */
export const RESULT_KINDS = ["on-time", "early", "late", "end"] as const;

/** What a window or join made of a batch: input row by input row, some of which are firings of its own. */
export interface TimedRows {
  readonly records: readonly unknown[];
  /** The results' canonical bytes. */
  readonly arena: Arena;
  /** How many results each input row gave. */
  readonly results: readonly number[];
  /** Index into {@link RESULT_KINDS} of each result. */
  readonly kinds: readonly number[];
  /** Of each result the encoded N's that it was made of. */
  readonly members: readonly Uint8Array[];
  /** Input rows that came too late. */
  readonly late: readonly number[];
  /** Input rows that are firings. */
  readonly firings: readonly number[];
  readonly failures: readonly StageFailure[];
}

/** Collects them. Results are packed at once: what they were made of may change with the next record. */
export class TimedOutput implements TimedRows {
  readonly arena = new Arena();
  readonly records: unknown[] = [];
  readonly results: number[] = [];
  readonly kinds: number[] = [];
  readonly members: Uint8Array[] = [];
  readonly late: number[] = [];
  readonly firings: number[] = [];
  readonly failures: StageFailure[] = [];
  #memberBytes = 0;
  /** Results that there were when the row at hand began. */
  #begun = 0;
  readonly #enterFiring: () => void;

  /** `enterFiring` is called before what makes a firing is; it throws why that is not to be. */
  constructor(enterFiring: () => void = () => {}) {
    this.#enterFiring = enterFiring;
  }

  /** Whether so much has come out that the batch should be closed. */
  get full(): boolean {
    return (
      this.records.length >= LIMITS.resultsPerBatch ||
      this.#memberBytes >= LIMITS.memberBytesPerBatch ||
      this.arena.all().length >= LIMITS.batchBytes
    );
  }

  /** A result of the row at hand. Throws for what is no record, or one too many. */
  result(value: unknown, kind: (typeof RESULT_KINDS)[number], members: Uint8Array): void {
    if (this.records.length - this.#begun === LIMITS.outputsPerInput) {
      throw badAnswer(
        `more than ${LIMITS.outputsPerInput} results came out of one record`,
        "Bound the time more narrowly, or choose a finer key.",
      );
    }
    this.arena.append(value);
    this.records.push(value);
    this.kinds.push(RESULT_KINDS.indexOf(kind));
    this.members.push(members);
    this.#memberBytes += members.length;
  }

  /** Throws `NotCanonical` or `RecordTooLarge` for a value that cannot be kept. */
  check(value: unknown): void {
    const packed = this.arena.count;
    this.arena.append(value);
    this.arena.truncate(packed);
  }

  /** The row at hand gives what `make` gives; if that throws, it has failed. */
  row(make: () => void): void {
    try {
      make();
      this.done();
    } catch (error) {
      this.fail(error);
    }
  }

  /** {@link row}, of a firing about what `subject` answers. */
  firing(make: () => void, subject: () => FiringSubject): void {
    this.firings.push(this.results.length);
    try {
      this.#enterFiring();
      make();
      this.done();
    } catch (error) {
      this.fail(error, keptOfFiring(subject()));
    }
  }

  /** The row at hand has given what it gives. */
  done(): void {
    this.results.push(this.records.length - this.#begun);
    this.#begun = this.records.length;
  }

  /** The row at hand came too late. */
  tooLate(): void {
    this.late.push(this.results.length);
    this.done();
  }

  /** The row at hand, a firing if that is given, failed: it gives nothing. */
  fail(error: unknown, firing?: QuarantinedFiring): void {
    this.failures.push({ row: this.results.length, error, ...(firing !== undefined && { firing }) });
    this.arena.truncate(this.#begun);
    for (const column of [this.records, this.kinds, this.members]) column.length = this.#begun;
    this.done();
  }
}
