import type { InputProgress } from "../core/events.ts";
import type { Input } from "../ports/files.ts";
import {
  asSteps,
  type Intake,
  type IntakeStep,
  isRefusedAlready,
  type Known,
  type Located,
} from "./intake.ts";
import type { IntakeRecord } from "./intake-record.ts";
import { KeptRecords } from "./kept-records.ts";
import { isChanged, type LocatedNotice, locateInput, mustBegin } from "./located-input.ts";
import { sameProgress } from "./other-inputs.ts";

export interface FileIntakeOptions {
  readonly open: () => Promise<Input>;
  /** Take in again what was taken before. */
  readonly again: boolean;
  /** Whether there is a file with a name under which an input is known. */
  readonly isThere: (name: string) => Promise<boolean>;
  onFile(notice: LocatedNotice): void;
}

/** One file, identified by the digest of what was taken of it; or standard input, which nothing identifies. */
export class FileIntake implements Intake {
  readonly name: string;
  readonly #options: FileIntakeOptions;
  #input: Input;
  /** For an input that can be read only once. */
  #once: KeptRecords | undefined;
  #told = false;

  private constructor(input: Input, options: FileIntakeOptions) {
    this.#input = input;
    this.#options = options;
    this.name = input.name;
  }

  /** Throws `BadInput` for what cannot be begun: also for content of another kind than the name says. */
  static async open(options: FileIntakeOptions): Promise<FileIntake> {
    const input = await options.open();
    if (input.repeatable) await mustBegin(input);
    return new FileIntake(input, options);
  }

  async locate(known: readonly InputProgress[]): Promise<Located> {
    if (!this.#input.repeatable) return { taken: 0 };
    // Whoever stood by since it was opened finds more in it, and that another process has taken that.
    this.#input = await this.#options.open();
    const { identity: _ofAFile, ...input } = await locateInput(this.#input, known, this.#options.again);
    if (isChanged(this.name, input, known) && !this.#told) {
      this.#told = true;
      this.#options.onFile({ event: "changed", file: this.name });
    }
    // One that was moved goes on with what is known under the name that it had; a copy is an input of its own.
    const isCopy = input.name !== this.name && (await this.#options.isThere(input.name));
    return { input: isCopy ? { ...input, name: this.name } : input, taken: input.read };
  }

  async exhausted(known: readonly InputProgress[], signal: AbortSignal): Promise<number | undefined> {
    const { input, taken } = await this.locate(known);
    if (input === undefined || !input.ended) return undefined;
    // A copy has to become known: what it is known by does not stay when the other grows.
    if (input.bytes > 0 && !known.some((other) => sameProgress(other, input))) return undefined;
    for await (const records of this.#input.read({ from: input.bytes, signal })) {
      if (records.some((record) => !isRefusedAlready(record, input))) return undefined;
    }
    return taken;
  }

  steps(from: InputProgress | undefined, _known: Known, signal: AbortSignal): AsyncIterable<IntakeStep> {
    return asSteps(this.#read(from, signal));
  }

  taken(records: number): void {
    this.#once?.taken(records);
  }

  digestUpTo(end: number): Uint8Array {
    return this.#input.digestUpTo(end);
  }

  extent() {
    return { bytes: this.#input.bytes, read: this.#input.bytesRead() };
  }

  #read(from: InputProgress | undefined, signal: AbortSignal): AsyncIterable<readonly IntakeRecord[]> {
    if (this.#input.repeatable) return this.#input.read({ from: from?.bytes ?? 0, signal });
    this.#once ??= new KeptRecords(this.#input.read());
    return this.#once.read(signal);
  }
}
