import type { QuarantinedRecord } from "../core/events.ts";
import { LIMITS } from "../core/limits.ts";
import { retryStream, stepsStream } from "../core/streams.ts";
import type { RowsBuilder } from "../engine/rows.ts";
import type { SegmentEngine } from "../engine/segment-engine.ts";
import { loadRetried, type RetriedContext } from "./retried-inputs.ts";
import { RetryReader } from "./retry-reader.ts";

/** Records that come in at one stage, in one go. */
export interface ComingBack {
  readonly entry: string;
  readonly rows: RowsBuilder;
  /** What each was quarantined as. */
  readonly quarantined: readonly QuarantinedRecord[];
  /** It is only one, and it is not to be put back after all, for this reason: its stage is not called. */
  readonly withdrawn?: string;
  /** The I from which on nothing has been taken when they have been. */
  readonly next: number;
}

/** The quarantined records of a partition that are to be put back. */
export class PartitionRetries {
  /** The stream that asks for them. */
  readonly stream: string;
  readonly #context: RetriedContext;
  readonly #reader: RetryReader;

  /** Those below the I `next` have been taken. `changed` is called when there is more. */
  constructor(context: RetriedContext, next: number, changed: () => void) {
    const { log, plan, segment, partition } = context;
    const { name } = plan.definition;
    this.#context = context;
    this.stream = retryStream(name);
    const unit = stepsStream(name, segment.name, partition);
    this.#reader = new RetryReader({ log, stream: this.stream, unit, next, changed });
    this.#reader.start();
  }

  /** Resolves when what had been asked for before is known. */
  caughtUp(): Promise<void> {
    return this.#reader.caughtUp();
  }

  stop(): void {
    this.#reader.stop();
  }

  get waiting(): boolean {
    return this.#reader.items.length > 0;
  }

  /** All that were asked for below this I are taken, as far as is known. */
  get taken(): number {
    return this.#reader.taken;
  }

  /** The next ones, at most `most`, with the ordinal `ordinal`. They count as taken with {@link take}. */
  async next(most: number, ordinal: number): Promise<ComingBack | undefined> {
    const { items } = this.#reader;
    const [first] = items;
    const entry = first?.stage;
    if (first === undefined || entry === undefined) return undefined;
    const withdrawn = this.#reader.whyWithdrawn(first.item);
    if (withdrawn !== undefined) {
      const loaded = await loadRetried(this.#context, [first], ordinal);
      return { entry, ...loaded, withdrawn, next: first.item + 1 };
    }
    const other = items.findIndex(
      ({ stage, item }) => stage !== entry || this.#reader.whyWithdrawn(item) !== undefined,
    );
    const together = items.slice(0, Math.min(most, other < 0 ? items.length : other));
    const loaded = await loadRetried(this.#context, together, ordinal, LIMITS.batchBytes);
    return { entry, ...loaded, next: (together[loaded.rows.count - 1]?.item ?? -1) + 1 };
  }

  take(count: number): void {
    this.#reader.take(count);
  }
}

/** Where a stage is not in the segment any more, what `retries` was to bring in there stays in quarantine. */
export function stillQuarantined(
  engine: SegmentEngine,
  { entry, quarantined, rows, withdrawn }: ComingBack,
  retries: string,
  first: number,
): readonly QuarantinedRecord[] {
  if (engine.entryAt(entry).stage !== undefined) return [];
  return quarantined.map(({ where: _where, stack: _stack, ...record }, row) => ({
    ...record,
    input: {
      parent: `${retries}@${rows.parents[row]}`,
      ...(rows.times[row] !== undefined && { time: rows.times[row] }),
    },
    n: first + row,
    row,
    k: 0,
    code: withdrawn === undefined ? "UnknownStage" : "Withdrawn",
    message: withdrawn ?? `the stage ${entry} is not in this segment of the pipeline any more`,
  }));
}
