import { equalBytes, sha256 } from "../core/digest.ts";
import type { InputProgress } from "../core/events.ts";
import type { IntakeRecord } from "./intake-record.ts";
import { KeptRecords } from "./kept-records.ts";

/** What an intake gives to its door, one after the other. */
export type IntakeStep =
  | { readonly kind: "records"; readonly records: readonly IntakeRecord[] }
  /**
   * All that the input has now was given. What was given has to be known before the next step is asked
   * for. `final`: nothing will follow, but for what another run may find that is added to it.
   */
  | { readonly kind: "left"; readonly final: boolean }
  /** Records from here on are of this input, and come after what was taken of it. */
  | { readonly kind: "input"; readonly input: InputProgress }
  /** Inputs that came, and have to be known from now on, whatever is taken of which of them first; *left* came ahead. */
  | { readonly kind: "found"; readonly inputs: readonly InputProgress[] };

/** How much of which inputs a door has taken, of each the latest that is in the log, or comes into it before what follows. */
export interface Known {
  all(): readonly InputProgress[];
  /** That of the one that is read. */
  latest(): InputProgress | undefined;
}

/** What an intake finds out when a door begins. */
export interface Located {
  /** The input that records will be of; absent: an {@link IntakeStep} will say, or it is not identified. */
  readonly input?: InputProgress;
  /** All inputs that there are, where that may be several: they have to be known before anything is taken of one. */
  readonly inputs?: readonly InputProgress[];
  /** How many records of its inputs were taken before. */
  readonly taken: number;
}

/** A batch that a door has on its way to the log. */
export interface UnderWay {
  /** The epoch of the door, and where in its stream the event of the batch is to be: no other door writes that there. */
  readonly epoch: number;
  readonly revision: number;
  /** To be called once it is known to be there. */
  accepted(): void;
}

/** What feeds a door. */
export interface Intake {
  /** For messages: the file's name, `standard input`, `the program`. */
  readonly name: string;
  /** Whether its records have ordinals: then the door may promise nothing before it has seen them. */
  readonly givesOrdinals?: boolean;
  /** Finds out how much of its inputs was taken before. */
  locate(known: readonly InputProgress[]): Promise<Located>;
  /**
   * How many records were taken of its inputs, if there are no more in them, and will be none; `undefined` if there
   * are, or if that cannot be told.
   */
  exhausted(known: readonly InputProgress[], signal: AbortSignal): Promise<number | undefined>;
  /** What comes after `from`, the input that {@link locate} has found. Ends when there will be no more. */
  steps(from: InputProgress | undefined, known: Known, signal: AbortSignal): AsyncIterable<IntakeStep>;
  /**
   * Of records that nothing identifies: the batch of them of which the last door did not hear whether it was appended.
   * The next door in this process finds out, so that they are not taken twice.
   */
  underWay?: UnderWay | undefined;
  /** The first `records` of those that were given and not said to be taken are durable, or refused for good. */
  taken(records: number): void;
  /** Digest of the content of the input that is being read, up to a record's `end`; only for an identified one. */
  digestUpTo(end: number): Uint8Array;
  /** Bytes of its inputs, and how many were read; `undefined` if not known. For a progress bar. */
  extent(): { readonly bytes: number | undefined; readonly read: number };
  /** Lets go of what it has open. */
  close?(): Promise<void>;
}

export const NO_BYTES = new Uint8Array(0);

/** Whether a record is the last line of an input that was refused as it is before, and has not grown since. */
export function isRefusedAlready(record: IntakeRecord, input: InputProgress | undefined): boolean {
  const { unfinished, frame } = record;
  return (
    unfinished === true &&
    frame !== undefined &&
    input?.unfinished !== undefined &&
    equalBytes(sha256(frame), input.unfinished)
  );
}

/** Records as steps. */
export async function* asSteps(batches: AsyncIterable<readonly IntakeRecord[]>): AsyncIterable<IntakeStep> {
  for await (const records of batches) yield { kind: "records", records };
}

/** Records from a program. They have no identity of their own: each is new unless the source declares ids. */
export class ProgramIntake implements Intake {
  readonly name = "the program";
  readonly givesOrdinals: boolean;
  readonly #records: KeptRecords;

  constructor(batches: AsyncIterable<readonly IntakeRecord[]>, givesOrdinals = false) {
    this.#records = new KeptRecords(batches);
    this.givesOrdinals = givesOrdinals;
  }

  locate(): Promise<Located> {
    return Promise.resolve({ taken: 0 });
  }

  exhausted(): Promise<undefined> {
    return Promise.resolve(undefined);
  }

  steps(_from: undefined, _known: Known, signal: AbortSignal): AsyncIterable<IntakeStep> {
    return asSteps(this.#records.read(signal));
  }

  taken(records: number): void {
    this.#records.taken(records);
  }

  /** The pipeline has ended: who waits for an answer gets this one. */
  abandon(error: unknown): void {
    this.#records.abandon(error);
  }

  digestUpTo(): Uint8Array {
    return NO_BYTES;
  }

  extent() {
    return { bytes: undefined, read: 0 };
  }
}
