import { HeadwaterError } from "../core/errors.ts";
import { isThenable } from "../engine/promises.ts";
import { messageOf } from "../engine/thrown.ts";
import type { Files } from "../ports/files.ts";
import {
  type OutputBatch,
  type OutputRecord,
  type Preparation,
  type SinkTarget,
  type TargetPlace,
  toJson,
  type Waits,
} from "./sink-target.ts";

/** A target without content of its own: nothing to check, nothing to go on after. */
export abstract class StreamTarget implements SinkTarget {
  abstract readonly id: string;
  abstract readonly wantsRecords: boolean;
  readonly fills = false;
  readonly refills = false;
  #bytes = 0;

  hasContent(): Promise<boolean> {
    return Promise.resolve(false);
  }

  mustHold(): Promise<void> {
    return Promise.resolve();
  }

  open({ bytes }: TargetPlace): Promise<void> {
    this.#bytes = bytes;
    return Promise.resolve();
  }

  abstract write(batch: OutputBatch, signal: AbortSignal, waits: Waits): Promise<boolean>;

  flush(): Promise<{ bytes: number }> {
    return Promise.resolve({ bytes: this.#bytes });
  }

  close(): Promise<void> {
    return Promise.resolve();
  }
}

/** JSON lines to standard output; at least once. */
export class StdoutTarget extends StreamTarget {
  readonly id = "stdout:";
  readonly wantsRecords = true;
  readonly #files: Files;

  constructor(files: Files) {
    super();
    this.#files = files;
  }

  override async write({ records }: OutputBatch): Promise<boolean> {
    const lines = records.map((record) => `${toJson(record.value)}\n`).join("");
    await this.#files.writeStdout(Buffer.from(lines, "utf8"));
    return true;
  }
}

/** A function of the program; at least once, in order, one at a time. */
export class CallbackTarget extends StreamTarget {
  readonly id = "callback:";
  readonly wantsRecords = true;
  readonly #sink: string;
  readonly #callback: (record: OutputRecord) => void | Promise<void>;

  constructor(sink: string, callback: (record: OutputRecord) => void | Promise<void>) {
    super();
    this.#sink = sink;
    this.#callback = callback;
  }

  /** Throws `SinkFailed`. */
  override async write({ records }: OutputBatch): Promise<boolean> {
    for (const record of records) {
      try {
        const done = this.#callback(record);
        // A query builder does its work only when it is awaited; what has nothing to wait for need not cost a turn.
        if (isThenable(done)) await done;
      } catch (thrown) {
        throw sinkFailed(this.#sink, `record ${record.key}`, thrown);
      }
    }
    return true;
  }
}

/** A function of the program that takes many records at once; one that is called again gets the same ones. */
export class BatchCallbackTarget extends StreamTarget {
  readonly id = "callback:batches";
  readonly wantsRecords = true;
  readonly #sink: string;
  readonly #callback: (records: readonly OutputRecord[], key: string) => void | Promise<void>;

  constructor(
    sink: string,
    callback: (records: readonly OutputRecord[], key: string) => void | Promise<void>,
  ) {
    super();
    this.#sink = sink;
    this.#callback = callback;
  }

  prepare(): Promise<Preparation> {
    return Promise.resolve({});
  }

  /** Throws `SinkFailed`. */
  override async write({ records, key }: OutputBatch): Promise<boolean> {
    const batch = key(0, records.length);
    try {
      await this.#callback(records, batch);
    } catch (thrown) {
      throw sinkFailed(this.#sink, `batch ${batch}`, thrown);
    }
    return true;
  }
}

function sinkFailed(sink: string, what: string, thrown: unknown): HeadwaterError {
  return new HeadwaterError("SinkFailed", `the function of the sink ${sink} failed: ${messageOf(thrown)}`, {
    where: what,
    hint: "It is called again a few times, and then the pipeline ends. What it was given is in the log: the next start gives it again.",
    cause: thrown,
  });
}

/** Nobody wants the records; they stay in the log and are counted. */
export class CountTarget extends StreamTarget {
  readonly id = "count:";
  readonly wantsRecords = false;

  override write(): Promise<boolean> {
    return Promise.resolve(true);
  }
}
