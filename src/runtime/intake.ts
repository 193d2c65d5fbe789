import { equalBytes, sha256 } from "../core/digest.ts";
import { isHeadwaterError } from "../core/errors.ts";
import type { InputProgress } from "../core/events.ts";
import { type Clock, sleep } from "../ports/clock.ts";
import type { Input } from "../ports/files.ts";
import type { IntakeRecord } from "./intake-record.ts";
import { KeptRecords } from "./kept-records.ts";

/** What feeds a door. */
export interface Intake {
  /** For messages: the file's name, `standard input`, `the program`. */
  readonly name: string;
  /** Whether its records can be read a second time. */
  readonly repeatable: boolean;
  /** Whether its records have ordinals: then the door may promise nothing before it has seen them. */
  readonly givesOrdinals?: boolean;
  /** Finds out how much of the input was taken before. `undefined`: it is not identified. */
  locate(known: readonly InputProgress[]): Promise<InputProgress | undefined>;
  /** The records from `from` on. Ends when there will be no more. */
  records(from: InputProgress | undefined, signal: AbortSignal): AsyncIterable<readonly IntakeRecord[]>;
  /** The first `records` of those that were given and not said to be taken are durable, or refused for good. */
  taken(records: number): void;
  /** Digest of the content up to a record's `end`; only for an identified input. */
  digestUpTo(end: number): Uint8Array;
}

const NO_BYTES = new Uint8Array(0);

export interface FileIntakeOptions {
  readonly open: () => Promise<Input>;
  readonly clock: Clock;
  /** Take in again what was taken before. */
  readonly again: boolean;
  /** Wait for the file to grow when its end is reached. */
  readonly follow: boolean;
  onOpened?(input: Input): void;
}

/** How often a followed file is looked at, in milliseconds. */
const FOLLOW_MS = 200;

/** An input from outside, identified by the digest of what was taken of it. */
export class FileIntake implements Intake {
  readonly name: string;
  readonly #options: FileIntakeOptions;
  #input: Input;
  /** For an input that can be read only once. */
  #once: KeptRecords | undefined;
  #reached: { readonly end: number; readonly digest: Uint8Array } | undefined;

  private constructor(input: Input, options: FileIntakeOptions) {
    this.#input = input;
    this.#options = options;
    this.name = input.name;
  }

  /** Throws `BadInput` for what cannot be begun: also for content of another kind than the name says. */
  static async open(options: FileIntakeOptions): Promise<FileIntake> {
    const input = await options.open();
    if (input.repeatable) await mustBegin(input);
    options.onOpened?.(input);
    return new FileIntake(input, options);
  }

  get repeatable(): boolean {
    return this.#input.repeatable;
  }

  async locate(known: readonly InputProgress[]): Promise<InputProgress | undefined> {
    if (!this.#input.repeatable) return undefined;
    // Whoever stood by since it was opened finds more in it, and that another process has taken that.
    this.#input = await this.#options.open();
    const taken = known
      .filter((progress) => progress.bytes > 0)
      .sort((a, b) => a.bytes - b.bytes || a.round - b.round);
    const digests = await this.#input.digestsAt(taken.map((progress) => progress.bytes));
    const matching = taken.filter((progress, index) => {
      const digest = digests[index];
      return digest !== undefined && equalBytes(digest, progress.digest);
    });
    const longest = matching.at(-1);
    const round = Math.max(0, ...matching.map((progress) => progress.round));
    if (longest !== undefined && !this.#options.again) {
      // The latest round may be the one that was cut short.
      return matching.findLast((progress) => progress.round === round);
    }
    return {
      name: this.name,
      bytes: 0,
      digest: NO_BYTES,
      read: 0,
      accepted: 0,
      duplicate: 0,
      rejected: 0,
      round: longest === undefined ? 0 : round + 1,
      // An input without a record has no content to be known by; that it ended is all that is known.
      ended: longest === undefined && known.some((progress) => progress.bytes === 0 && progress.ended),
    };
  }

  records(from: InputProgress | undefined, signal: AbortSignal): AsyncIterable<readonly IntakeRecord[]> {
    if (this.#input.repeatable) return this.#readFrom(from, signal);
    this.#once ??= new KeptRecords(this.#input.read());
    return this.#once.read(signal);
  }

  taken(records: number): void {
    this.#once?.taken(records);
  }

  async *#readFrom(
    from: InputProgress | undefined,
    signal: AbortSignal,
  ): AsyncIterable<readonly IntakeRecord[]> {
    let end = from?.bytes ?? 0;
    for (;;) {
      for await (const records of this.#input.read({ from: end, growing: this.#options.follow, signal })) {
        yield records;
        end = records.at(-1)?.end ?? end;
      }
      if (!this.#options.follow || signal.aborted) return;
      // A door may still hold records of the old content in an open batch.
      if (end > 0) this.#reached = { end, digest: this.digestUpTo(end) };
      const grown = await this.#untilGrown(signal);
      if (grown === undefined) return;
      this.#input = grown;
    }
  }

  /** The input, opened anew once it has another size than it had; `undefined` when `signal` aborts. */
  async #untilGrown(signal: AbortSignal): Promise<Input | undefined> {
    const { bytes } = this.#input;
    while (!signal.aborted) {
      await sleep(this.#options.clock, FOLLOW_MS, signal);
      const input = await this.#options.open();
      if (bytes === undefined || input.bytes !== bytes) return input;
    }
    return undefined;
  }

  digestUpTo(end: number): Uint8Array {
    return end === this.#reached?.end ? this.#reached.digest : this.#input.digestUpTo(end);
  }
}

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

async function mustBegin(input: Input): Promise<void> {
  try {
    for await (const _records of input.read()) return;
  } catch (error) {
    // What breaks off later is told when it is come to, after what is before it was taken.
    if (isHeadwaterError(error, "BadInput")) throw error;
  }
}

/** Records from a program. They have no identity of their own: each is new unless the source declares ids. */
export class ProgramIntake implements Intake {
  readonly name = "the program";
  readonly repeatable = false;
  readonly givesOrdinals: boolean;
  readonly #records: KeptRecords;

  constructor(batches: AsyncIterable<readonly IntakeRecord[]>, givesOrdinals = false) {
    this.#records = new KeptRecords(batches);
    this.givesOrdinals = givesOrdinals;
  }

  locate(): Promise<undefined> {
    return Promise.resolve(undefined);
  }

  records(_from: undefined, signal: AbortSignal): AsyncIterable<readonly IntakeRecord[]> {
    return this.#records.read(signal);
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
}
